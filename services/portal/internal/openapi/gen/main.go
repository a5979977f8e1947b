// Command gen writes the OpenAPI document of the REST interface, gen/openapi/tidegate.json,
// in place of what protoc-gen-openapiv2 has written beside it. `make gen` runs it in the
// repository's folder.
package main

import (
	"fmt"
	"os"

	"github.com/tidegatehq/tidegate/services/portal/internal/openapi"
)

// What is read, and what is written.
const (
	swaggerFile  = "gen/openapi/tidegate.swagger.json"
	documentFile = "gen/openapi/tidegate.json"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "openapi:", err)
		os.Exit(1)
	}
}

func run() error {
	swagger, err := os.ReadFile(swaggerFile)
	if err != nil {
		return err
	}
	document, err := openapi.Generate(swagger)
	if err != nil {
		return err
	}
	if err := os.WriteFile(documentFile, document, 0o644); err != nil {
		return err
	}
	return os.Remove(swaggerFile)
}
