package run

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Variable returns the environment variable of a program's flag, TIDEGATE_NAME_FLAG
// in upper case and with "_" for "-" and ".". NAME_ is left out where the program
// is "tidegate".
func Variable(name, flagName string) string {
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(prefix(name) + flagName))
}

// prefix returns what the names of a program's variables begin with, in any case.
func prefix(name string) string {
	if name == "tidegate" {
		return "TIDEGATE_"
	}
	return "TIDEGATE_" + strings.ToUpper(name) + "_"
}

// environment returns what the environment gives. A variable that begins as the
// program's own do and is not known is a mistake; all mistakes are joined.
func environment(p *Program, fs *flag.FlagSet) ([]given, error) {
	values := map[string]string{}
	for _, kv := range p.Env {
		if name, text, _ := strings.Cut(kv, "="); strings.HasPrefix(name, prefix(p.Name)) {
			values[name] = text
		}
	}
	var all []given
	var known []string // flags
	fs.VisitAll(func(f *flag.Flag) {
		if onlyCommandLine(f.Name) {
			return
		}
		name := Variable(p.Name, f.Name)
		known = append(known, f.Name)
		if text, ok := values[name]; ok {
			all = append(all, given{flag: f.Name, text: text, by: name})
		}
	})
	isFlag := func(name string) bool {
		return slices.ContainsFunc(known, func(f string) bool { return Variable(p.Name, f) == name })
	}
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if isFlag(name) || slices.Contains(p.OtherVariables, name) || ofTests(name) || isServiceLink(name, values[name]) {
			continue
		}
		near := meant(strings.TrimPrefix(name, prefix(p.Name)), known, func(f string) string { return Variable(p.Name, f) })
		wrong = append(wrong, fmt.Errorf("%s: unknown variable%s", name, near))
	}
	return all, errors.Join(wrong...)
}

// ofTests reports whether a variable is one of the tests', which run programs with
// their own environment.
func ofTests(name string) bool {
	return strings.HasPrefix(name, "TIDEGATE_REQUIRE_") || strings.HasPrefix(name, "TIDEGATE_TEST_") || name == "TIDEGATE_SEED"
}

// isServiceLink reports whether a variable has the form of those by which Kubernetes
// tells containers of a Service: of one that is called tidegate-gateway they are
// TIDEGATE_GATEWAY_SERVICE_HOST, TIDEGATE_GATEWAY_PORT=tcp://10.0.0.1:9099 and so on.
// The form of the value counts too, so that a mistyped variable is no link.
func isServiceLink(name, value string) bool {
	const address, port, protocol = `[0-9a-fA-F.:]+`, `[0-9]+`, `(tcp|udp|sctp)`
	const one = `_PORT_[0-9]+_(TCP|UDP|SCTP)`
	for ending, form := range map[string]string{
		`_SERVICE_HOST`:               address,
		`_SERVICE_PORT(_[A-Z0-9_]+)?`: port,
		`(_PORT|` + one + `)`:         protocol + `://` + `[][0-9a-fA-F.:]+:` + port,
		one + `_PROTO`:                protocol,
		one + `_PORT`:                 port,
		one + `_ADDR`:                 address,
	} {
		if regexp.MustCompile(`^[A-Z][A-Z0-9_]*`+ending+`$`).MatchString(name) && regexp.MustCompile(`^`+form+`$`).MatchString(value) {
			return true
		}
	}
	return false
}
