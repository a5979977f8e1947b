// Package routefeature names what a route may ask for that not every gateway has: the catalog
// writes it into Route.requires where serving the route without it would be wrong or unsafe,
// and a gateway that lacks it answers 503.
package routefeature

// Connections are those of Endpoints: TLS, credentials and proxies of backends.
const Connections = "backend-connections"

// Templates are variables in the URLs of endpoints.
const Templates = "endpoint-templates"
