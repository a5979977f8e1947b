// Package gen holds Tidegate's OpenAPI document. The messages and clients of
// the gRPC services stand in the folders below go/.
package gen

import _ "embed"

//go:embed openapi/tidegate.swagger.json
var openAPI string

// OpenAPI returns the OpenAPI 2.0 document of the REST interface, JSON. It has
// what stands in the protos; the OAuth2 endpoints are not in it.
func OpenAPI() string { return openAPI }
