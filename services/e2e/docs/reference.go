// Package docs makes docs/configuration.md, and holds the tests of everything
// that is written for users: each command of a document is run, and what a
// document says about flags, addresses, metrics and files is compared with the
// programs. The documents themselves stand in docs, deploy and the root.
package docs

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/tidegatehq/tidegate/services/catalog"
	"github.com/tidegatehq/tidegate/services/gateway"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/portal"
	"github.com/tidegatehq/tidegate/services/standalone"
	"github.com/tidegatehq/tidegate/services/subscription"
)

// Services returns the services that run by themselves.
func Services() []string { return []string{"catalog", "subscription", "gateway", "portal"} }

// Flags returns the flags of a service, or of tidegate serve for "tidegate", as
// the program registers them.
func Flags(program string) *flag.FlagSet {
	var all *flag.FlagSet
	register := func(fs *flag.FlagSet) {
		all = fs
		switch program {
		case "catalog":
			new(catalog.Default()).Flags(fs, "")
		case "subscription":
			new(subscription.Default()).Flags(fs, "")
		case "gateway":
			new(gateway.Default()).Flags(fs, "")
		case "portal":
			new(portal.Default()).Flags(fs, "")
		case "tidegate":
			new(standalone.Default()).Flags(fs)
		}
	}
	run.Exec(context.Background(), run.Program{Name: program, Args: []string{"-h"}, Stdout: io.Discard, Stderr: io.Discard}, register, nil, nil)
	return all
}

const preface = `# Configuration

<!-- Made by services/e2e/docs/gen; a test compares it with the programs. -->

Every option is a flag, a key of the configuration file and an environment variable. The
file is YAML ('-config FILE'), and its keys are the names of flags: '-audit-keep 8760h' is
'audit-keep: 8760h' there. The variable is in upper case and begins with TIDEGATE and the
name of the program: 'catalog -audit-keep' is 'TIDEGATE_CATALOG_AUDIT_KEEP'; 'tidegate
serve -drain' is 'TIDEGATE_DRAIN'. The environment takes precedence over the file, and the
command line over both. All mistakes are reported at once, each with the line, variable or
flag that made it, and the program exits with 2. Secrets are given as files, or in the
environment. Each program prints these tables with '-h', and with '-print-config' what it
runs with. [deployment.md](deployment.md#configuration) says more.

0 is off or unlimited where the table says so, and refused elsewhere. Durations are
written like '300ms', '10s', '5m' or '24h'. A database is
'postgres://USER:PASSWORD@HOST:PORT/DATABASE' or 'sqlite:PATH'. For settings that belong
together see [deployment.md](deployment.md).
`

// Reference returns docs/configuration.md.
func Reference() string {
	var text strings.Builder
	text.WriteString(strings.ReplaceAll(preface, "'", "`"))
	section(&text, "tidegate", "tidegate serve",
		"All four services in one process. A service's flag has the service's name and a dot\nbefore it; `tidegate serve` sets those that are missing here itself.")
	section(&text, "catalog", "catalog", "")
	section(&text, "subscription", "subscription", "")
	section(&text, "gateway", "gateway", "")
	section(&text, "portal", "portal", "")
	return text.String()
}

// section writes the table of a program.
func section(text *strings.Builder, program, title, about string) {
	fmt.Fprintf(text, "\n## %s\n\n", title)
	if about != "" {
		fmt.Fprintf(text, "%s\n\n", about)
	}
	text.WriteString("| flag | default | |\n|---|---|---|\n")
	Flags(program).VisitAll(func(f *flag.Flag) {
		_, usage := flag.UnquoteUsage(f)
		value := f.DefValue
		if value != "" {
			value = "`" + value + "`"
		}
		fmt.Fprintf(text, "| `-%s` | %s | %s |\n", f.Name, value, usage)
	})
}
