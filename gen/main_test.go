package gen_test

import (
	"flag"
	"os"
	"testing"
)

// TestMain leaves the examples out, as they need a server, unless TIDEGATE_EXAMPLES
// is set: services/e2e runs them against one, which it names in the variables that
// they read.
func TestMain(m *testing.M) {
	if os.Getenv("TIDEGATE_EXAMPLES") == "" {
		if err := flag.Set("test.skip", "^Example"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
