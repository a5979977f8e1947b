package problem

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestTable checks each row by itself and against the others, and compares the table with
// that of docs/gateway.md.
func TestTable(t *testing.T) {
	document, err := os.ReadFile("../../../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]Code{}
	var want []string
	for c := Code(1); int(c) < Codes; c++ {
		word := c.String()
		if !regexp.MustCompile(`^[A-Z]+(_[A-Z]+)*$`).MatchString(word) {
			t.Errorf("the word of %d is %q, want upper case and _", c, word)
		}
		if other, twice := words[word]; twice {
			t.Errorf("%d and %d are both %s", other, c, word)
		}
		words[word] = c
		if c.By().String() == "" {
			t.Errorf("nobody refuses with %s", c)
		}
		want = append(want, fmt.Sprintf("| %s | `%s` | %s |", table[c].status, c, table[c].doc))
	}
	got := regexp.MustCompile("(?m)^\\| [0-9, ]+ \\| `[A-Z_]+` \\|.*$").FindAllString(string(document), -1)
	if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
		t.Errorf("docs/gateway.md has the rows\n%s\nwant\n%s", a, b)
	}
}
