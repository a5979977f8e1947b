package ending

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestNumbers holds the numbers, which leave the gateway.
func TestNumbers(t *testing.T) {
	want := map[Reason]string{
		0: "UNSPECIFIED", 1: "PEER_CLOSE", 2: "CLIENT_GONE", 3: "BACKEND_GONE", 4: "CLOSE_TIMEOUT", 5: "IDLE", 6: "MAX_AGE",
		7: "TOO_BIG", 8: "SLOW", 9: "FLOOD", 10: "PROTOCOL", 12: "EXPIRED", 13: "REVOKED", 14: "BLOCKED", 15: "OPERATOR_CLOSE",
		16: "DRAIN",
	}
	for i := range 256 {
		r, word := Reason(i), want[Reason(i)]
		label := word
		if word == "" {
			word, label = fmt.Sprintf("REASON_%d", i), "other"
		}
		if r.String() != word || r.Label() != label {
			t.Errorf("Reason(%d) = %v with the label %q, want %s and %q", i, r, r.Label(), word, label)
		}
	}
}

// TestTable checks each row by itself and against the others.
func TestTable(t *testing.T) {
	words := map[string]Reason{}
	for i, row := range reasons {
		r := Reason(i)
		if row == (entry{}) {
			continue
		}
		if !regexp.MustCompile(`^[A-Z]+(_[A-Z]+)*$`).MatchString(row.word) {
			t.Errorf("the word of %d is %q, want upper case and _", i, row.word)
		}
		if other, twice := words[row.word]; twice {
			t.Errorf("%d and %d are both %s", other, i, row.word)
		}
		words[row.word] = r
		if e := New(r, "why"); e != (Ending{By: row.by, Reason: r, Code: row.code, Detail: "why"}) || r.Code() != row.code {
			t.Errorf("New(%v) = %+v, want the row's party and code", r, e)
		}
		if (row.by == Nobody) != (r == Unspecified || r == PeerClose) {
			t.Errorf("%v is by %q", r, row.by)
		}
		if c := row.code; c != 0 && (c < 1001 || c > 1014 && c < 4000 || c > 4999) {
			t.Errorf("%v has the code %d, which is no close code", r, c)
		}
	}
}

// TestDocument compares the table with that of docs/gateway.md, row by row.
func TestDocument(t *testing.T) {
	document, err := os.ReadFile("../../../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, row := range reasons[PeerClose:] {
		if row == (entry{}) {
			continue
		}
		code := "–"
		if row.code != 0 {
			code = fmt.Sprint(row.code)
		}
		want = append(want, fmt.Sprintf("| `%s` | %s | %s |", row.word, code, row.doc))
	}
	got := regexp.MustCompile("(?m)^\\| `[A-Z_]+` \\|.*$").FindAllString(string(document), -1)
	if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
		t.Errorf("docs/gateway.md has the rows\n%s\nwant\n%s", a, b)
	}
}

// TestCounts adds and subtracts what was relayed.
func TestCounts(t *testing.T) {
	a := Totals{Count{1, 2, 3, 4}, Count{5, 6, 7, 8}}
	b := Totals{Count{10, 20, 30, 40}, Count{50, 60, 70, 80}}
	sum := a
	if sum.Add(&b); sum != (Totals{Count{11, 22, 33, 44}, Count{55, 66, 77, 88}}) {
		t.Errorf("%+v and %+v are %+v", a, b, sum)
	}
	if got := sum.Minus(b); got != a {
		t.Errorf("%+v less %+v is %+v, want %+v", sum, b, got, a)
	}
}
