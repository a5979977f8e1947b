package webtest

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// Page is a page as a browser has parsed it.
type Page struct {
	// Status is the answer's, URL where redirects have led.
	Status int
	URL    *url.URL
	Header http.Header
	// Body is the HTML.
	Body string

	root *html.Node
}

// ParsePage returns a page as it was answered to a request for an address.
func ParsePage(resp *http.Response, to *url.URL) (*Page, error) {
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	root, err := html.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	return &Page{Status: resp.StatusCode, URL: to, Header: resp.Header, Body: string(text), root: root}, nil
}

// Text returns the words of the page's main part.
func (p *Page) Text() string {
	if main := p.find(func(n *html.Node) bool { return n.Data == "main" }); main != nil {
		return words(main)
	}
	return words(p.root)
}

// Has reports whether the main part says this.
func (p *Page) Has(text string) bool { return strings.Contains(p.Text(), text) }

// Title returns the title, and H1 the first heading.
func (p *Page) Title() string { return p.First("title") }

// H1 returns the first heading.
func (p *Page) H1() string { return p.First("h1") }

// First returns the words of the first element of a kind, or "".
func (p *Page) First(tag string) string {
	if n := p.find(func(n *html.Node) bool { return n.Data == tag }); n != nil {
		return words(n)
	}
	return ""
}

// Links returns where the links of the page lead, by their words.
func (p *Page) Links() map[string]string {
	links := map[string]string{}
	for _, n := range p.all(func(n *html.Node) bool { return n.Data == "a" }) {
		links[words(n)] = attr(n, "href")
	}
	return links
}

// Loads returns the addresses that a browser asks for with the page.
func (p *Page) Loads() []string {
	var all []string
	for _, n := range p.all(func(*html.Node) bool { return true }) {
		switch n.Data {
		case "link", "use":
			all = append(all, attr(n, "href"))
		default:
			for _, name := range []string{"src", "srcset", "poster", "data", "background"} {
				if has(n, name) {
					all = append(all, attr(n, name))
				}
			}
		}
	}
	return all
}

// Attributes returns the values of an attribute, wherever it is.
func (p *Page) Attributes(name string) []string {
	var values []string
	for n := range p.root.Descendants() {
		for _, a := range n.Attr {
			if a.Key == name {
				values = append(values, a.Val)
			}
		}
	}
	return values
}

// Value returns the value of an entry, "" for none.
func (p *Page) Value(name string) string {
	for _, n := range p.all(func(n *html.Node) bool { return isControl(n) && attr(n, "name") == name }) {
		if values := controlValues(n); values.Has(name) {
			return values.Get(name)
		}
	}
	return ""
}

// Option returns the value of what can be chosen by a text: of a tick, or in a list.
func (p *Page) Option(name, text string) string {
	for _, n := range p.all(func(n *html.Node) bool { return n.Data == "label" || n.Data == "option" }) {
		if n.Data == "option" && words(n) == text {
			return attr(n, "value")
		}
		for c := n.FirstChild; n.Data == "label" && c != nil; c = c.NextSibling {
			if isControl(c) && attr(c, "name") == name && c.NextSibling != nil && strings.TrimSpace(c.NextSibling.Data) == text {
				return attr(c, "value")
			}
		}
	}
	return ""
}

// Error returns what is said to be wrong with an entry, "" for nothing.
func (p *Page) Error(name string) string {
	n := p.find(func(n *html.Node) bool { return attr(n, "id") == "f-"+name+"-error" })
	if n == nil {
		return ""
	}
	return words(n)
}

// Notices returns what the page says has happened.
func (p *Page) Notices() []string {
	var all []string
	for _, n := range p.all(func(n *html.Node) bool { return slices.Contains(strings.Fields(attr(n, "class")), "notice") }) {
		all = append(all, words(n))
	}
	return all
}

// Forms returns the actions of the page's forms that are sent with POST.
func (p *Page) Forms() []string {
	var all []string
	for _, n := range p.all(func(n *html.Node) bool { return n.Data == "form" && strings.EqualFold(attr(n, "method"), "post") }) {
		all = append(all, attr(n, "action"))
	}
	return all
}

// form returns the form that has a button with these words, and the button.
func (p *Page) form(button string) (form, pressed *html.Node) {
	pressed = p.find(func(n *html.Node) bool { return n.Data == "button" && words(n) == button })
	for n := pressed; n != nil; n = n.Parent {
		if n.Type == html.ElementNode && n.Data == "form" {
			return n, pressed
		}
	}
	return nil, nil
}

func (p *Page) find(is func(*html.Node) bool) *html.Node {
	for _, n := range p.all(is) {
		return n
	}
	return nil
}

func (p *Page) all(is func(*html.Node) bool) []*html.Node {
	var all []*html.Node
	for n := range p.root.Descendants() {
		if n.Type == html.ElementNode && is(n) {
			all = append(all, n)
		}
	}
	return all
}

// isControl reports whether an element is an entry of a form.
func isControl(n *html.Node) bool {
	return n.Type == html.ElementNode && slices.Contains([]string{"input", "select", "textarea"}, n.Data)
}

func hasControl(form *html.Node, name string) bool {
	for n := range form.Descendants() {
		if isControl(n) && attr(n, "name") == name {
			return true
		}
	}
	return false
}

// formValues are what a form sends as it stands.
func formValues(form *html.Node) url.Values {
	values := url.Values{}
	for n := range form.Descendants() {
		if isControl(n) {
			for name, v := range controlValues(n) {
				values[name] = append(values[name], v...)
			}
		}
	}
	return values
}

// controlValues are what one entry sends.
func controlValues(n *html.Node) url.Values {
	name := attr(n, "name")
	switch kind := attr(n, "type"); {
	case name == "" || has(n, "disabled"):
	case n.Data == "textarea":
		var text strings.Builder
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			text.WriteString(c.Data)
		}
		return url.Values{name: {text.String()}}
	case n.Data == "select":
		chosen, first := "", true
		for o := range n.Descendants() {
			if o.Data == "option" && (first || has(o, "selected")) {
				chosen, first = attr(o, "value"), false
			}
		}
		return url.Values{name: {chosen}}
	case kind == "checkbox" || kind == "radio":
		if has(n, "checked") {
			return url.Values{name: {attr(n, "value")}}
		}
	case kind != "submit" && kind != "button":
		return url.Values{name: {attr(n, "value")}}
	}
	return nil
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// words are the text below a node with single spaces; what only some hear is in it.
func words(n *html.Node) string {
	var out strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode && d.Parent.Data != "script" {
			out.WriteString(d.Data)
			if d.NextSibling == nil {
				out.WriteByte(' ')
			}
		}
	}
	return strings.Join(strings.Fields(out.String()), " ")
}

// Copied returns what the button that copies a thing, such as "the access token", copies;
// "" where there is no such button.
func (p *Page) Copied(what string) string {
	button := p.find(func(n *html.Node) bool { return n.Data == "button" && attr(n, "aria-label") == "Copy "+what })
	if button == nil {
		return ""
	}
	from := p.find(func(n *html.Node) bool { return attr(n, "id") == attr(button, "data-copy") })
	if from == nil {
		return ""
	}
	var text strings.Builder
	for n := range from.Descendants() {
		if n.Type == html.TextNode {
			text.WriteString(n.Data)
		}
	}
	return strings.TrimSpace(text.String())
}

// Entry returns the name of the entry of a form with a label, and the value that a text has
// there: in lists and ticks that of what is called so. Both are "" where there is none.
func (p *Page) Entry(label, text string) (name, value string) {
	called := func(n *html.Node) bool {
		var own strings.Builder
		for c := range n.ChildNodes() {
			if c.Type == html.TextNode {
				own.WriteString(c.Data)
			}
		}
		return strings.Join(strings.Fields(own.String()), " ") == label
	}
	n := p.find(func(n *html.Node) bool { return (n.Data == "label" || n.Data == "legend") && called(n) })
	if n == nil {
		return "", ""
	}
	control := p.find(func(c *html.Node) bool {
		return isControl(c) && attr(n, "for") != "" && attr(c, "id") == attr(n, "for")
	})
	if control == nil { // ticks are in the label, or with the legend in a fieldset
		within := n
		if n.Data == "legend" {
			within = n.Parent
		}
		control = p.find(func(c *html.Node) bool {
			for up := c.Parent; isControl(c) && up != nil; up = up.Parent {
				if up == within {
					return true
				}
			}
			return false
		})
	}
	if control == nil {
		return "", ""
	}
	name = attr(control, "name")
	if kind := attr(control, "type"); control.Data == "select" || kind == "checkbox" || kind == "radio" {
		return name, p.Option(name, text)
	}
	return name, text
}
