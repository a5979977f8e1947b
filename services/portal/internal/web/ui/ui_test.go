package ui

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// TestHtmx compares the files with what refresh has noted of them.
func TestHtmx(t *testing.T) {
	sums, err := assetFiles.ReadFile("htmx/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(sums)), "\n")
	if len(lines) != 2 {
		t.Errorf("there are %d sums, want those of htmx and its extension", len(lines))
	}
	for _, line := range lines {
		want, name, _ := strings.Cut(line, "  ./")
		text, err := assetFiles.ReadFile("htmx/" + name)
		if sum := sha256.Sum256(text); err != nil || hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s is not what refresh has written: %v", name, err)
		}
	}
}

// TestProblems has a page for every kind of error, which says what to do and nothing of
// the cause of an internal one.
func TestProblems(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
		says   string
	}{
		{fault.NotFound("api %q", "x"), http.StatusNotFound, `Api "x" not found.`},
		{fault.Denied("not yours"), http.StatusForbidden, "Not yours."},
		{fault.Unavailable("the catalog cannot be reached"), http.StatusServiceUnavailable, "The catalog cannot be reached."},
		{fault.Precondition("it is published"), http.StatusConflict, "It is published."},
		{fault.Aborted("changed meanwhile"), http.StatusConflict, "Changed meanwhile."},
		{fault.Exhausted("too many"), http.StatusTooManyRequests, "Too many."},
		{fault.Invalid("a", "must be b"), http.StatusBadRequest, "A: must be b."},
		{errors.New("secret cause"), http.StatusInternalServerError, "It is not your fault. The log of the portal has the cause."},
	} {
		p := problemOf(test.err)
		if p.Status != test.status || p.Text != test.says || p.Title == "" || p.Advice == "" {
			t.Errorf("problemOf(%v) = %+v, want %d and %q", test.err, p, test.status, test.says)
		}
	}
}

// conflictForm is a form that was sent.
func conflictForm() *Form {
	r := &Request{Request: &http.Request{Method: http.MethodPost, PostForm: url.Values{"name": {" mine "}, "plans": {"b"}, "etag": {"old"}, "same": {"s"}}}}
	return NewForm(r,
		Field{Name: "name", Paths: []string{"api.display_name"}}, Field{Name: "same"}, Field{Name: "etag", Kind: "hidden"},
		Field{Name: "plans", Kind: "choices", Options: []Option{{Value: "a", Text: "Gold"}, {Value: "b", Text: "Silver"}}, Paths: []string{"version.plans"}})
}

// TestConflict keeps the entries, shows what is stored beside those that differ, and can
// be sent again.
func TestConflict(t *testing.T) {
	f := conflictForm()
	if err := f.Explain(fault.Aborted("changed meanwhile")); err != nil {
		t.Fatal(err)
	}
	f.Compare("new", url.Values{"name": {"theirs"}, "plans": {"a", "b"}, "same": {"s"}})
	if !f.Conflict || f.Status() != http.StatusConflict || f.Get("name") != "mine" || f.Get("etag") != "new" {
		t.Errorf("after a conflict the form is %+v with status %d", f, f.Status())
	}
	for name, want := range map[string]string{"name": "theirs", "plans": "Gold, Silver"} {
		if got := f.Field(name).Stored; got == nil || *got != want {
			t.Errorf("beside %s stands %v, want %q", name, got, want)
		}
	}
	if f.Field("same").Stored != nil {
		t.Error("beside an entry that is the same stands what is stored")
	}
}

// TestExplain says what is wrong at the field, above the form where it has no such field,
// and not at all where the form can do nothing.
func TestExplain(t *testing.T) {
	f := conflictForm()
	err := f.Explain(fault.InvalidAll(fault.Violation{Field: "version.plans[1]", Message: "is not there"}, fault.Violation{Field: "version.plansx", Message: "is odd"}))
	if err != nil || f.Field("plans").Error != "Is not there." || f.Problem != "Version.plansx: is odd." || f.Status() != http.StatusUnprocessableEntity {
		t.Errorf("Explain = %v, the form is %+v, plans %+v", err, f, f.Field("plans"))
	}
	f = conflictForm()
	if err := f.Explain(fault.Precondition("api.display_name: is in use")); err != nil || f.Field("name").Error != "Is in use." || f.Problem != "" {
		t.Errorf("Explain of a message with a field = %v, %+v", err, f)
	}
	for _, err := range []error{fault.Unauthenticated("sign in"), fault.NotFound("api"), errors.New("internal")} {
		if got := conflictForm().Explain(err); got == nil {
			t.Errorf("Explain(%v) = nil, want the error", err)
		}
	}
}

// TestChart is well-formed whatever it shows, and has no style of its own.
func TestChart(t *testing.T) {
	for _, c := range []Chart{
		{ID: "a", Title: "A & B", Desc: "<none>"},
		{ID: "b", Title: "T", Desc: "D", Labels: []string{"1", "<2>"}, First: []int64{0, 64_000}, Second: []int64{1, 2}},
		{ID: "c", Title: "T", Desc: "D", First: []int64{1 << 62}},
	} {
		svg := string(c.SVG()) + string(Spark(c.First))
		d := xml.NewDecoder(strings.NewReader("<x>" + svg + "</x>"))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s is not well-formed: %v\n%s", c.ID, err, svg)
			}
		}
		if strings.Contains(svg, "style") || strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("%s has what it must not: %s", c.ID, svg)
		}
	}
}

// TestNumbers writes numbers as they are read.
// TestBrief cuts a text at a word, and none in the middle of a letter.
func TestBrief(t *testing.T) {
	long := strings.Repeat("ä", 200)
	for text, want := range map[string]string{
		"": "", "short": "short", long[:320]: long[:320], long: long[:320] + "…",
		strings.Repeat("word ", 40): strings.TrimSpace(strings.Repeat("word ", 32)) + "…",
	} {
		if got := Brief(text); got != want {
			t.Errorf("Brief(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	var got bytes.Buffer
	for _, n := range []int64{0, 999, 1000, 1_920_000, 38_400_000, 604_000, 999_950} {
		got.WriteString(Short(n) + ", " + Number(n) + "; ")
	}
	const want = "0, 0; 999, 999; 1 k, 1,000; 1.92 M, 1,920,000; 38.4 M, 38,400,000; 604 k, 604,000; 1 M, 999,950; "
	if got.String() != want {
		t.Errorf("numbers are %q, want %q", got.String(), want)
	}
	if got := Plural(1, "live session") + Plural(2, "live session") + Plural(1204, "history", "histories"); got != "1 live session2 live sessions1,204 histories" {
		t.Errorf("Plural = %q", got)
	}
}
