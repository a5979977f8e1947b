// Package gen is the root of Tidegate's SDK for Go. It holds what the clients share:
// the OpenAPI document, and names that no proto can define. The messages and the
// clients of the gRPC services are in the packages below it:
//
//   - [github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1]: users, and how to sign in
//   - [github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1]: APIs, versions, plans
//   - [github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1]: who changed what, and whether gateways know
//   - [github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1]: applications, OAuth clients, subscriptions
//   - [github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1]: the tokens of applications
//   - [github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1]: live sessions
//   - [github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1]: usage, and the records of ended sessions
//
// A client dials the portal, or a Tidegate that is one process, with TLS. It signs in
// with [SignInService], and sends the access token of the answer as the metadata
// "authorization" with every call, as the example shows. A token lasts 15 minutes at
// most; Refresh of the same service renews it.
//
// A write is answered once it is stored. Its answer has the header [ChangeHeader], and
// WaitChange of the change service waits until gateways have applied that change.
//
// The packages below backplane are what services serve to each other. They are no part
// of the SDK: they may change in any release.
//
// [SignInService]: https://pkg.go.dev/github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1#SignInServiceClient
package gen

import _ "embed"

// ChangeHeader is the response header, in gRPC and in HTTP, that names the
// change that a write has made.
const ChangeHeader = "tidegate-change"

//go:embed openapi/tidegate.json
var openAPI string

// OpenAPI returns the OpenAPI 3.0 document of the REST interface and the OAuth2
// endpoints, JSON.
func OpenAPI() string { return openAPI }
