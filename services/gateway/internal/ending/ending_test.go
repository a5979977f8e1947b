package ending

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// TestNumbers holds the numbers, which leave the gateway.
func TestNumbers(t *testing.T) {
	want := map[Reason]string{
		0: "UNSPECIFIED", 1: "PEER_CLOSE", 2: "CLIENT_GONE", 3: "BACKEND_GONE", 4: "CLOSE_TIMEOUT", 5: "IDLE", 6: "MAX_AGE",
		7: "TOO_BIG", 8: "SLOW", 9: "FLOOD", 10: "PROTOCOL", 12: "EXPIRED", 13: "REVOKED", 14: "BLOCKED", 15: "OPERATOR_CLOSE",
		16: "DRAIN", 17: "BACKEND_REFUSED", 18: "REFUSED", 19: "THROTTLED", 20: "REPLACED", 21: "ANSWERED",
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
		if e := New(r, "why"); e != (Ending{By: row.by, Reason: r, ClientCode: row.client, BackendCode: row.backend, Detail: "why"}) {
			t.Errorf("New(%v) = %+v, want the row's party and codes", r, e)
		}
		if (row.by == Nobody) != (r == Unspecified || r == PeerClose) {
			t.Errorf("%v is by %q", r, row.by)
		}
		for _, c := range []uint16{row.client, row.backend} {
			if c != 0 && (c < 1001 || c > 1014 && c < 4000 || c > 4999) {
				t.Errorf("%v has the code %d, which is no close code", r, c)
			}
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
		want = append(want, fmt.Sprintf("| `%s` | %s | %s | %s |", row.word, codeText(row.client), codeText(row.backend), row.doc))
	}
	got := regexp.MustCompile("(?m)^\\| `[A-Z_]+` \\|.*$").FindAllString(string(document), -1)
	if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
		t.Errorf("docs/gateway.md has the rows\n%s\nwant\n%s", a, b)
	}
}

func codeText(code uint16) string {
	if code == 0 {
		return "–"
	}
	return fmt.Sprint(code)
}

// TestAtFault has either peer be at fault.
func TestAtFault(t *testing.T) {
	tests := map[string]struct{ got, want Ending }{
		"client":  {AtFault(Client, TooBig, 0, "why"), Ending{By: Gateway, Reason: TooBig, ClientCode: 1009, BackendCode: 1001, Detail: "client: why"}},
		"backend": {AtFault(Backend, TooBig, 0, "why"), Ending{By: Gateway, Reason: TooBig, ClientCode: 1011, BackendCode: 1009, Detail: "backend: why"}},
		"code":    {AtFault(Client, Protocol, 1007, "why"), Ending{By: Gateway, Reason: Protocol, ClientCode: 1007, BackendCode: 1001, Detail: "client: why"}},
		"both":    {AtFault(Backend, Protocol, 1007, "why"), Ending{By: Gateway, Reason: Protocol, ClientCode: 1011, BackendCode: 1007, Detail: "backend: why"}},
	}
	for name, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, tt.got, tt.want)
		}
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

// TestEnum holds the numbers and words of reasons, and the numbers of parties, to
// those that session records have.
func TestEnum(t *testing.T) {
	for number, name := range usagev1.EndReason_name {
		if r := Reason(number); "END_REASON_"+r.String() != name || r.row().word == "" {
			t.Errorf("the enum has %s = %d, the table %v", name, number, r)
		}
	}
	for i, row := range reasons {
		if _, ok := usagev1.EndReason_name[int32(i)]; ok != (row.word != "") {
			t.Errorf("the table has %q at %d, the enum %q", row.word, i, usagev1.EndReason_name[int32(i)])
		}
	}
	for number, name := range usagev1.SessionRecord_Party_name {
		word := strings.ToUpper(Party(number).String())
		if word == "" {
			word = "UNSPECIFIED"
		}
		if name != "PARTY_"+word {
			t.Errorf("the enum has %s = %d, which here is %s", name, number, word)
		}
	}
}

// TestAddLimits adds what limits did, by place, plan and name, and not more than there may
// be at once.
func TestAddLimits(t *testing.T) {
	named := func(place limits.Place, plan, name string) *limits.Limit {
		return limits.NewNamed(limits.KindRate, limits.Terms{Place: place, Plan: plan, Name: name})
	}
	a, again := named(limits.Application, "plans/gold", "a"), named(limits.Application, "plans/gold", "a")
	others := []*limits.Limit{named(limits.Version, "plans/gold", "a"), named(limits.Application, "plans/silver", "a"), named(limits.Application, "plans/gold", "b")}
	from := []LimitCount{{Limit: a, Pauses: 1, Paused: 2, Dropped: 3, Closed: 4, Hits: 5}}
	sums := AddLimits(nil, from)
	sums = AddLimits(sums, []LimitCount{{Limit: again, Pauses: 10, Paused: 20, Dropped: 30, Closed: 40, Hits: 50}})
	for _, l := range others {
		sums = AddLimits(sums, []LimitCount{{Limit: l, Hits: 1}})
	}
	if want := (LimitCount{Limit: a, Pauses: 11, Paused: 22, Dropped: 33, Closed: 44, Hits: 55}); len(sums) != 4 || sums[0] != want || from[0].Hits != 5 {
		t.Errorf("the sums are %+v, want %+v and three others", sums, want)
	}
	for i := range 100 {
		sums = AddLimits(sums, []LimitCount{{Limit: named(limits.Version, "plans/gold", fmt.Sprint("edited", i)), Hits: 1}})
	}
	if len(sums) != limits.MostLimits {
		t.Errorf("%d limits are kept, want at most %d", len(sums), limits.MostLimits)
	}
}

// TestEndedBy names the limit that who ended the session did not know.
func TestEndedBy(t *testing.T) {
	l := limits.NewNamed(limits.KindMessageSize, limits.Terms{Plan: "plans/gold", Name: "message-size"})
	o := Outcome{Ending: AtFault(Client, TooBig, 0, "why"), Minute: 60}
	o.EndedBy(l)
	did := LimitCount{Limit: l, Closed: 1}
	if len(o.Limits) != 1 || o.Limits[0] != did || len(o.Uncollected) != 1 || o.Uncollected[0].Minute != 60 || o.Uncollected[0].Limits[0] != did ||
		o.Ending.Limit != l || o.Ending.Detail != "client: why, by a limit of the subscription" {
		t.Errorf("the outcome is %+v", o)
	}
	o = Outcome{Ending: New(MaxAge, "")}
	if o.EndedBy(l); o.Ending.Detail != "by a limit of the subscription" {
		t.Errorf("the detail is %q", o.Ending.Detail)
	}
}
