package ui

import (
	"bytes"
	"crypto/rand"
	"embed"
	"html/template"
	"io/fs"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/tidegatehq/tidegate/services/kit/run"
)

//go:embed templates
var files embed.FS

// Head is what a handler says about its page besides the view.
type Head struct {
	// Title is the page's heading and, before the name of the product, its title.
	Title string
	// Sub is a sentence under the title, or empty.
	Sub string
	// Badges stand beside the title.
	Badges []Badge
	// Crumbs lead to what the page is part of; the page itself is not among them.
	Crumbs []Link
	// Here names the page at the end of the crumbs, where that is not the title.
	Here string
	// Tabs are the pages of one thing.
	Tabs []Tab
	// TabsOf says what the tabs are of, for those who hear the page.
	TabsOf string
	// Alone leaves out the heading: the page is one card in the middle, with an h1.
	Alone bool
	// Secret keeps the page out of every cache, because it shows a secret.
	Secret bool
	// Status is the HTTP status; 0 means 200.
	Status int
}

// Link leads to a page.
type Link struct{ Text, To string }

// Tab is a link to one of the pages of a thing.
type Tab struct {
	Text, To string
	// Count is shown beside the text if it is not empty.
	Count string
	// Current says that it is this page.
	Current bool
}

// Badge is a word about a thing, such as its state.
type Badge struct {
	// Kind is "ok", "warn", "danger", "tag" or empty.
	Kind, Text string
}

// Frame is what all pages have.
type Frame struct {
	Head
	// Viewer is nil where nobody has signed in.
	Viewer *Viewer
	// Portals are those that the viewer may use.
	Portals []Portal
	// Notice is what happened before, or nil.
	Notice *Notice
	// Theme is "light", "dark" or empty for the device's own.
	Theme string
	// Nonce is the one of the page's scripts, and of what htmx may act on.
	Nonce string
	// Path is that of the page, with its query.
	Path string
	// Version is that of the program.
	Version string
}

// HTMLTitle is the title of the window.
func (f Frame) HTMLTitle() string {
	parts := []string{f.Here, f.Title}
	if f.Here == "" || f.Here == f.Title {
		parts = parts[1:]
	}
	for i := len(f.Crumbs) - 1; i > 0; i-- {
		parts = append(parts, f.Crumbs[i].Text)
	}
	return strings.Join(append(parts, "Tidegate"), " · ")
}

// Portal is one of the three.
type Portal struct {
	Text, To string
	// Current says that the page is one of its pages.
	Current bool
	roles   []Role
}

// portalAt returns the portal whose first page has this pattern, if one has.
func portalAt(pattern string) []Portal {
	all := []Portal{
		{Text: "Publisher", To: "/publisher", roles: []Role{Creator, Publisher}},
		{Text: "Developer portal", To: "/devportal", roles: []Role{Subscriber, Publisher}},
		{Text: "Admin", To: "/admin", roles: []Role{Admin}},
	}
	return slices.DeleteFunc(all, func(p Portal) bool { return p.To != pattern })
}

// Data is what a template is executed with.
type Data[V any] struct {
	Frame
	// View is the page's own.
	View V
}

// Template shows the views of one page.
type Template[V any] struct {
	name string
	t    *template.Template
}

// Checked is a template whose fields a test can check, whatever its view is.
type Checked interface {
	// Parsed returns the template, and the zero of what it is executed with.
	Parsed() (*template.Template, any)
}

// Parse returns the template of a page: the file defines "main". The file is embedded, so
// a mistake in it is a panic at the start.
func Parse[V any](fsys fs.FS, name string) *Template[V] {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		panic(err)
	}
	t := template.Must(layout().Clone())
	return &Template[V]{name: name, t: template.Must(t.New(name).Parse(string(text)))}
}

// layout is what all pages have, parsed once.
var layout = sync.OnceValue(func() *template.Template {
	t := template.New("page").Funcs(functions())
	return template.Must(t.ParseFS(files, "templates/layout.html", "templates/components.html"))
})

// Parsed returns the template of the whole page.
func (t *Template[V]) Parsed() (*template.Template, any) {
	return t.t.Lookup("layout.html"), Data[V]{}
}

// Page is the answer that shows a view.
func (t *Template[V]) Page(h Head, v V) Answer { return shown[V]{t, h, v} }

// shown is a page.
type shown[V any] struct {
	t    *Template[V]
	head Head
	view V
}

// write executes the template, and sends the page when that was done.
func (a shown[V]) write(s *Site, w http.ResponseWriter, r *Request) error {
	d := Data[V]{Frame: s.frame(w, r, a.head), View: a.view}
	var out bytes.Buffer
	if err := a.t.t.ExecuteTemplate(&out, "layout.html", d); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Security-Policy", policy(d.Nonce))
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "private, no-cache")
	if a.head.Secret || r.Submitted() {
		h.Set("Cache-Control", "no-store")
	}
	h.Add("Vary", "Cookie")
	status := a.head.Status
	if status == 0 {
		status = http.StatusOK
	}
	send(w, r.Request, status, &out)
	return nil
}

// policy is the Content-Security-Policy of a page: it runs what the portal serves, shows
// what the portal serves, and asks nobody else. Only htmx may write HTML into it.
func policy(nonce string) string {
	return "default-src 'none'; script-src 'self' 'nonce-" + nonce + "'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types htmx"
}

// frame returns what a page has besides its view.
func (s *Site) frame(w http.ResponseWriter, r *Request, h Head) Frame {
	f := Frame{Head: h, Viewer: r.Viewer, Notice: s.told(w, r.Request), Theme: Theme(r.Request), Nonce: rand.Text(), Version: run.Version()}
	f.Path = r.URL.RequestURI()
	for _, p := range s.portals {
		p.Current = r.URL.Path == p.To || strings.HasPrefix(r.URL.Path, p.To+"/")
		if r.Viewer != nil && r.Viewer.May(p.roles...) {
			f.Portals = append(f.Portals, p)
		}
	}
	return f
}
