// Shows the portal's own document. Nothing is asked of another server: without
// validatorUrl, Swagger UI would send the document to one.
SwaggerUIBundle({
  url: '/openapi.json',
  dom_id: '#docs',
  validatorUrl: 'none',
  deepLinking: true,
  filter: true,
  defaultModelsExpandDepth: 0,
  presets: [SwaggerUIBundle.presets.apis],
})
