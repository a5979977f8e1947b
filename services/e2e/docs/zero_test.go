package docs

import (
	"bytes"
	"context"
	"flag"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/catalog"
	"github.com/tidegatehq/tidegate/services/gateway"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/portal"
	"github.com/tidegatehq/tidegate/services/standalone"
	"github.com/tidegatehq/tidegate/services/subscription"
)

// check starts a program with flags, as far as its configuration is checked, and
// returns what is wrong with that.
func check(program string, args ...string) string {
	var stderr bytes.Buffer
	p := run.Program{Name: program, Args: args, Stdout: io.Discard, Stderr: &stderr}
	start := func(flags func(*flag.FlagSet), check func() error) {
		run.Exec(context.Background(), p, flags, check, func(context.Context, *slog.Logger) error { return run.Misconfigured(check()) })
	}
	plain := func(flags func(*flag.FlagSet, string)) func(*flag.FlagSet) {
		return func(fs *flag.FlagSet) { flags(fs, "") }
	}
	switch program {
	case "catalog":
		c := catalog.Default()
		start(plain(c.Flags), c.Check)
	case "subscription":
		c := subscription.Default()
		start(plain(c.Flags), c.Check)
	case "gateway":
		c := gateway.Default()
		start(plain(c.Flags), c.Check)
	case "portal":
		c := portal.Default()
		start(plain(c.Flags), c.Check)
	case "tidegate":
		c := standalone.Default()
		start(c.Flags, c.Check)
	}
	return stderr.String()
}

// TestZero gives every number and duration of every program 0 and -1. Where the help
// says what 0 means, such as off or unlimited, it is taken; elsewhere it is refused with
// a sentence, as -1 always is.
func TestZero(t *testing.T) {
	saysZero := regexp.MustCompile(`\b0\b`)
	for _, program := range append(Services(), "tidegate") {
		found := 0
		Flags(program).VisitAll(func(f *flag.Flag) {
			getter, ok := f.Value.(flag.Getter)
			if !ok {
				return
			}
			switch getter.Get().(type) {
			case bool, string, *slog.Level:
				return
			}
			found++
			refused := func(value string) string {
				for line := range strings.Lines(check(program, "-"+f.Name+"="+value)) {
					if strings.HasPrefix(line, program+": -"+f.Name+": ") {
						return line
					}
				}
				return ""
			}
			zero, negative := "0", "-1"
			if strings.HasSuffix(f.DefValue, "s") { // a duration
				negative = "-1s"
			}
			switch line := refused(zero); {
			case saysZero.MatchString(f.Usage) && line != "":
				t.Errorf("%s -%s says what 0 means, and refuses it: %s", program, f.Name, line)
			case !saysZero.MatchString(f.Usage) && line == "":
				t.Errorf("%s -%s takes 0, and %q does not say what that means", program, f.Name, f.Usage)
			}
			if refused(negative) == "" {
				t.Errorf("%s -%s takes %s, want a refusal that names the flag", program, f.Name, negative)
			}
		})
		if found == 0 {
			t.Errorf("%s has no number and no duration", program)
		}
	}
}
