package addresstemplate

import (
	"fmt"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for _, good := range []string{
		"ws://h", "ws://h/a?b=1", "wss://h:1/rooms/{uri.path.1}/x", "ws://h/{uri.path.20}{uri.query.a-b_c.~1}", "ws://h?x={uri.query.x}&y=1-{uri.path.2}-",
		"ws://h/" + strings.Repeat("{uri.path.1}", MaxVariables),
	} {
		if err := Check(good); err != nil {
			t.Errorf("Check(%q) = %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		"ws://{uri.path.1}/":      "must have variables in its path and query only",
		"ws://h:{uri.path.1}/":    "must have variables in its path and query only",
		"{uri.path.1}://h/":       "must have variables in its path and query only",
		"ws://h/{uri.path.0}":     errSyntax.Error(),
		"ws://h/{uri.path.01}":    errSyntax.Error(),
		"ws://h/{uri.path.+1}":    errSyntax.Error(),
		"ws://h/{uri.path.21}":    errSyntax.Error(),
		"ws://h/{uri.path.x}":     errSyntax.Error(),
		"ws://h/{uri.query.}":     errSyntax.Error(),
		"ws://h/{uri.query.a b}":  errSyntax.Error(),
		"ws://h/{uri.query.é}":    errSyntax.Error(),
		"ws://h/{uri.var.room}":   errSyntax.Error(),
		"ws://h/{room}":           errSyntax.Error(),
		"ws://h/{}":               errSyntax.Error(),
		"ws://h/{uri.path.1":      errSyntax.Error(),
		"ws://h/uri.path.1}":      errSyntax.Error(),
		"ws://h/{{uri.path.1}}":   errSyntax.Error(),
		"ws://h/{uri.path.1/2}":   errSyntax.Error(),
		"ws://h/?a={uri.query.a?": errSyntax.Error(),
		"ws://h/" + strings.Repeat("{uri.path.1}", MaxVariables+1): fmt.Sprintf("must have at most %d variables", MaxVariables),
		"ws://h/../{uri.path.1}":                                   "must have no . or .. for a segment, beside variables",
		"ws://h/%2E./{uri.path.1}":                                 "must have no . or .. for a segment, beside variables",
		"ws://h/..;v=1/{uri.path.1}":                               "must have no . or .. for a segment, beside variables",
		"ws://h/?{uri.query.a}=1":                                  "must have no variable in the name of a parameter",
		"ws://h/?a=1;b{uri.query.a}&c":                             "must have no variable in the name of a parameter",
	} {
		if err := Check(bad); err == nil || err.Error() != want {
			t.Errorf("Check(%q) = %v, want %s", bad, err, want)
		}
	}
}

// FuzzExpand: whatever a value is, what is around it keeps its meaning.
func FuzzExpand(f *testing.F) {
	f.Add("/rooms/{uri.path.1}/x", "a/../b?c#d&e=f;g%2F\x00 é")
	f.Add("room={uri.query.x}&y={uri.path.2}", "")
	f.Fuzz(func(t *testing.T, text, value string) {
		tpl, err := Parse(text)
		if err != nil {
			return
		}
		var again strings.Builder
		for _, p := range tpl {
			again.WriteString(p.Text)
			if p.Variable != (Variable{}) {
				again.WriteString(p.Variable.String())
			}
		}
		if again.String() != text {
			t.Fatalf("Parse(%q) = %v, which is %q", text, tpl, again.String())
		}
		got, err := tpl.Expand(nil, func(Variable) (string, error) { return value, nil })
		if err != nil {
			t.Fatal(err)
		}
		rest := string(got)
		for _, p := range tpl {
			var ok bool
			if rest, ok = strings.CutPrefix(rest, p.Text); !ok {
				t.Fatalf("%q becomes %q, without %q", text, got, p.Text)
			}
			if p.Variable != (Variable{}) {
				escaped := string(appendEscaped(nil, value))
				if strings.ContainsAny(escaped, "/\\?#&;=+ \x00\r\n") || !strings.HasPrefix(rest, escaped) {
					t.Fatalf("%q becomes %q", text, got)
				}
				rest = rest[len(escaped):]
			}
		}
		if rest != "" {
			t.Fatalf("%q becomes %q, with %q at its end", text, got, rest)
		}
	})
}
