package docs

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/tidegatehq/tidegate/services/e2e/webtest"
)

// steps finds what docs/portal.md has its reader do, in the numbered items of its lists, and
// what is to be seen then:
//
//	Open `/path`. Choose **a link**, **another**. _Label_: `what is filled in or chosen`,
//	`more`. Press **a button**. Copy **what a button copies**. “What the page says.”
var (
	item = regexp.MustCompile(`(?m)^\d+\. .*(?:\n   .*)*`)
	step = regexp.MustCompile(`(Open|open) ` + "`(/[^`]*)`" + `|(Choose|choose|Press|press|Copy|then|and) \*\*([^*]+)\*\*|_([^_]+)_:\s+(` + "`[^`]+`(?:,\\s+`[^`]+`)*" + `)|“([^”]+)”`)
	word = regexp.MustCompile("`([^`]+)`")
)

// TestPortalDocument follows docs/portal.md in a browser without scripts, each part in one
// in which nobody has signed in.
func TestPortalDocument(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err == nil {
			_ = conn.CloseNow()
		}
	}))
	t.Cleanup(backend.Close)
	s := webtest.Start(t)
	text := strings.ReplaceAll(file(t, "docs/portal.md"), "ws://localhost:9098", "ws"+strings.TrimPrefix(backend.URL, "http"))
	people := 0
	for part := range strings.SplitSeq(text, "\n## ") {
		title, _, _ := strings.Cut(part, "\n")
		b := s.Browser(t)
		f := &follower{t: t, b: b, password: s.Password}
		for _, text := range item.FindAllString(part, -1) {
			f.item = strings.Join(strings.Fields(text), " ")
			for _, m := range step.FindAllStringSubmatch(f.item, -1) {
				f.do(m)
			}
		}
		if f.done > 10 {
			people++
		}
		if len(f.entries) > 0 {
			t.Errorf("%s: the entries %q are not sent", title, f.entries)
		}
	}
	if people != 3 {
		t.Errorf("there are steps for %d people, want 3", people)
	}
}

// follower does what the steps say.
type follower struct {
	t        *testing.T
	b        *webtest.Browser
	password string // the first administrator's
	item     string // of the list
	verb     string // of what is done to the bold words
	entries  []string
	done     int
}

// do does a step.
func (f *follower) do(m []string) {
	f.t.Helper()
	f.done++
	if m[3] != "" && m[3] != "and" && m[3] != "then" {
		f.verb = strings.ToLower(m[3])
	}
	switch path, bold, label, quoted := m[2], m[4], m[5], m[7]; {
	case path != "":
		f.b.Open(path)
		f.verb = "open"
	case label != "":
		for _, w := range word.FindAllStringSubmatch(m[6], -1) {
			name, value := f.b.Page.Entry(label, w[1])
			if name == "" || value == "" {
				f.t.Fatalf("%s: %s has no entry %s for %s:\n%s", f.item, f.b.Page.URL, label, w[1], f.b.Page.Text())
			}
			f.entries = append(f.entries, name, value)
		}
		if label == "Username" && strings.Contains(f.item, "admin-password") {
			f.entries = append(f.entries, "password", f.password)
		}
	case quoted != "":
		if !f.b.Page.Has(quoted) {
			f.t.Errorf("%s: %s does not say %q:\n%s", f.item, f.b.Page.URL, quoted, f.b.Page.Text())
		}
		return
	case f.verb == "press":
		f.b.Submit(bold, f.entries...)
		f.entries = nil
	case f.verb == "copy":
		if f.b.Page.Copied(bold) == "" {
			f.t.Errorf("%s: %s has no button that copies %s:\n%s", f.item, f.b.Page.URL, bold, f.b.Page.Text())
		}
	case f.verb == "choose" || f.verb == "open":
		f.b.Click(bold)
	}
	if status := f.b.Page.Status; status != http.StatusOK {
		f.t.Fatalf("%s: %s is answered %d:\n%s", f.item, f.b.Page.URL, status, f.b.Page.Text())
	}
}
