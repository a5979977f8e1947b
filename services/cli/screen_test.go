package cli

import (
	"strings"
	"testing"
)

// TestScreen shows what is sent and received on a terminal, with a user who types or
// with another program's lines, and elsewhere.
func TestScreen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		terminal, typed bool
		want            string
	}{
		{true, true, "> > " + wipe + "< one\n  two \ufffd[2J\n> " + wipe},
		{true, false, "> hello\n< one\n  two \ufffd[2J\n"},
		{false, true, "one\ntwo \x1b[2J\n"},
		{false, false, "one\ntwo \x1b[2J\n"},
	} {
		var out strings.Builder
		shown := &screen{out: &out, terminal: c.terminal, typed: c.typed}
		shown.begin()
		shown.sent("hello")
		if err := shown.received("one\ntwo \x1b[2J"); err != nil {
			t.Fatal(err)
		}
		shown.end()
		if out.String() != c.want {
			t.Errorf("terminal %v, typed %v: %q, want %q", c.terminal, c.typed, out.String(), c.want)
		}
	}
}
