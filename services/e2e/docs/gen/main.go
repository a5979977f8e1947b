// Command gen prints docs/configuration.md.
package main

import (
	"fmt"

	"github.com/tidegatehq/tidegate/services/e2e/docs"
)

func main() { fmt.Print(docs.Reference()) }
