// Package gen holds what Tidegate's clients share: the OpenAPI document, and
// names that no proto can define. The messages and clients of the gRPC services
// are in the folders below go/.
package gen

import _ "embed"

// ChangeHeader is the response header, in gRPC and in HTTP, that names the
// change that a write has made.
const ChangeHeader = "tidegate-change"

//go:embed openapi/tidegate.swagger.json
var openAPI string

// OpenAPI returns the OpenAPI 2.0 document of the REST interface, JSON. It has
// what stands in the protos; the OAuth2 endpoints are not in it.
func OpenAPI() string { return openAPI }
