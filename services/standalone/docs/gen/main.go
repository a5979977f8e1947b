// Command gen prints docs/configuration.md.
package main

import (
	"fmt"

	"github.com/tidegatehq/tidegate/services/standalone/docs"
)

func main() { fmt.Print(docs.Reference()) }
