package webtest

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// Mark is in every payload, and in what runs, loads or appears where one gets into a page.
// As a global name, scripts of payloads set it.
const Mark = "x55"

// Payloads are texts that become elements, attributes, addresses or scripts where a page
// does not escape them. Display names can have all of them.
func Payloads() []string {
	return []string{
		// Elements.
		`<script>x55=1</script>`, `<ScRiPt>x55=1</sCrIpT>`, `<script src=//x55.test></script>`, `<script src="data:,x55=1"></script>`,
		`<img src=x55 onerror=x55=1>`, `<img/src=x55/onerror=x55=1>`, `<<img src=x55 onerror=x55=1>`, `<svg onload=x55=1>`, `<svg/onload=x55=1//`,
		`<svg><script>x55=1</script></svg>`, `<svg><animate onbegin=x55=1 attributeName=x>`, `<svg><use href="data:image/svg+xml,x55#x">`,
		`<math href=javascript:x55=1>x55</math>`, `<body onload=x55=1>`, `<iframe src=javascript:x55=1>`,
		`<iframe srcdoc="<script>parent.x55=1</script>">`, `<object data=javascript:x55=1>`, `<embed src=javascript:x55=1>`,
		`<a href=javascript:x55=1>x55</a>`, `<form action=javascript:x55=1><button>x55`, `<button formaction=javascript:x55=1>x55`,
		`<input autofocus onfocus=x55=1>`, `<details open ontoggle=x55=1>`, `<video src=x55 onerror=x55=1>`, `<marquee onstart=x55=1>`,
		`<style>@import"//x55.test"</style>`, `<link rel=stylesheet href=//x55.test>`,
		`<meta http-equiv=refresh content="0;url=//x55.test">`, `<base href=//x55.test/>`, `<x55>`,
		// Ends of what the text may be in.
		`--><b id=x55>`, `<!--x55`, `]]><b id=x55>`, `</script><script>x55=1</script>`, `</style><b id=x55>`, `</textarea><b id=x55>`,
		`</title><b id=x55>`, `</select><b id=x55>`, `</noscript><b id=x55>`, `</svg><b id=x55>`,
		// Attributes.
		`"><b id=x55>`, `'><b id=x55>`, `" onmouseover="x55=1`, `' onmouseover='x55=1`, `" autofocus onfocus="x55=1`, "` onmouseover=`x55=1",
		`x55 autofocus onfocus=x55=1`, `" style="background:url(//x55.test)`,
		// Addresses.
		`javascript:x55=1`, `JaVaScRiPt:x55=1//`, `java&#9;script:x55=1`, `data:text/html,<b id=x55>`, `//x55.test/`,
		// What is decoded once too often.
		`&lt;b id=x55&gt;`, `&#60;b id=x55&#62;`, `%3Cb id=x55%3E`, `+ADw-b id=x55+AD4-`,
		// Scripts and templates.
		`';x55=1;//`, `\";x55=1;//`, `${x55=1}`, `{{.x55}}`, `{{constructor.constructor('x55=1')()}}`,
		// What htmx acts on.
		`<b hx-on:click=x55=1>`, `<b hx-get=/x55 hx-trigger=load>`, `" hx-get="/x55" hx-trigger="load`, `<div data-hx-on::load="x55=1">`,
	}
}

// Injected returns what payloads have become in the page where that is not text, or the
// value of an entry: nothing, if the page is right. It also finds what no page of the portal
// has.
func (p *Page) Injected() []string {
	var found []string
	for n := range p.root.Descendants() {
		switch {
		case n.Type == html.CommentNode && strings.Contains(n.Data, Mark):
			found = append(found, "comment "+n.Data)
		case n.Type == html.TextNode && strings.Contains(n.Data, Mark) && slices.Contains([]string{"script", "style", "noscript", "iframe", "xmp"}, n.Parent.Data):
			found = append(found, "text in "+n.Parent.Data+": "+n.Data)
		case n.Type == html.ElementNode && (strings.Contains(n.Data, Mark) || slices.Contains([]string{"iframe", "object", "embed", "base", "style", "template"}, n.Data)):
			found = append(found, "element "+n.Data)
		}
		for _, a := range n.Attr {
			if !harmless(a) {
				found = append(found, "attribute "+n.Data+" "+a.Key+"="+a.Val)
			}
		}
	}
	return found
}

// harmless reports whether no payload has become the attribute, or only its value where
// that is text for users, or one in an address of the portal.
func harmless(a html.Attribute) bool {
	switch key := a.Key; {
	case strings.HasPrefix(key, "on") || strings.Contains(key, "hx-on") || strings.Contains(key, Mark) || key == "style" || key == "srcdoc" || key == "http-equiv":
		return false
	case slices.Contains([]string{"href", "src", "action", "formaction", "data", "poster", "data-base", "hx-get", "hx-post"}, key):
		return ownAddress(a.Val)
	case slices.Contains([]string{"value", "placeholder", "aria-label", "title"}, key):
		return true
	}
	return !strings.Contains(a.Val, Mark)
}

// ownAddress reports whether an address is a path of the portal, whatever is in its query.
func ownAddress(to string) bool {
	u, err := url.Parse(to)
	return err == nil && u.Scheme == "" && u.Host == "" && u.User == nil && !strings.ContainsAny(to, "<>\"'` \t\r\n\\") &&
		(strings.HasPrefix(to, "#") || strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//"))
}

// Shows reports whether a text is in the page, as text or as the value of an entry.
func (p *Page) Shows(text string) bool {
	var all strings.Builder
	for n := range p.root.Descendants() {
		if n.Type == html.TextNode {
			all.WriteString(n.Data)
		}
		if value := attr(n, "value"); value == text {
			return true
		}
	}
	return strings.Contains(all.String(), text)
}

// Entries returns the names of what can be entered on the page, and of the parameters of
// its links.
func (p *Page) Entries() []string {
	names := map[string]bool{}
	for n := range p.root.Descendants() {
		if isControl(n) || n.Type == html.ElementNode && n.Data == "button" {
			names[attr(n, "name")] = true
		}
		if u, err := url.Parse(attr(n, "href")); err == nil {
			for name := range u.Query() {
				names[name] = true
			}
		}
	}
	delete(names, "")
	return slices.Sorted(maps.Keys(names))
}
