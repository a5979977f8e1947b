package browser

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
)

// find is a function of the page: it returns what can be clicked on and seen, by the words
// that are on it, without its hint, or that screen readers say. Entries of forms are found
// by their labels.
const find = `(words, kind) => {
	const normal = (s) => (s || "").replace(/\s+/g, " ").trim();
	const seen = (e) => e.checkVisibility({ visibilityProperty: true }) && e.getClientRects().length > 0;
	const text = (e) => normal([...e.childNodes].filter((n) => !n.classList?.contains("hint")).map((n) => n.textContent).join(""));
	const name = (e) => normal(e.getAttribute("aria-label")) || text(e);
	const all = kind === "entry" ? "input:not([type=hidden]), select, textarea" : "a, button, summary, label, [role=button]";
	const names = (e) => kind === "entry" ? [normal(e.getAttribute("aria-label")), ...[...e.labels].map(text)] : [name(e)];
	return [...document.querySelectorAll(all)].filter((e) => seen(e) && names(e).includes(normal(words)));
}`

// Location returns the path and query of the page.
func (tab *Tab) Location() string {
	tab.t.Helper()
	return Read[string](tab, "location.pathname + location.search")
}

// Text returns the words of the page's main part as they are seen.
func (tab *Tab) Text() string {
	tab.t.Helper()
	return Read[string](tab, `(document.querySelector("main") || document.body).innerText`)
}

// Has waits until the main part of the page says this.
func (tab *Tab) Has(text string) {
	tab.t.Helper()
	tab.Until(fmt.Sprintf(`(document.querySelector("main") || document.body)?.innerText.replace(/\s+/g, " ").includes(%s)`, quoted(text)))
}

// Open shows the page at a path.
func (tab *Tab) Open(path string) {
	tab.t.Helper()
	to, err := tab.origin.Parse(path)
	if err != nil {
		tab.t.Fatal(err)
	}
	tab.do("open "+path, chromedp.Navigate(to.String()))
}

// Back goes back by one page. Where that is the answer to a form that nothing keeps, the
// browser shows a page of its own, which would send the form again.
func (tab *Tab) Back() {
	tab.t.Helper()
	tab.next("back", func() {
		ctx, cancel := tab.within()
		defer cancel()
		if err := chromedp.Do(ctx, chromedp.NavigateBack()); err != nil && !strings.Contains(err.Error(), "ERR_CACHE_MISS") {
			tab.t.Fatalf("back: %v", err)
		}
	})
}

// Follow clicks on what has these words, and waits for the page that comes.
func (tab *Tab) Follow(words string) {
	tab.t.Helper()
	tab.next(words, func() { tab.Click(words) })
}

// Next does something that makes a page come, and waits for the page.
func (tab *Tab) Next(act func()) {
	tab.t.Helper()
	tab.next("the next page", act)
}

func (tab *Tab) next(what string, act func()) {
	tab.t.Helper()
	before := Read[float64](tab, "performance.timeOrigin")
	act()
	tab.until("another page after "+what, fmt.Sprintf(`performance.timeOrigin !== %v && document.readyState === "complete"`, before))
}

// Click clicks with the mouse on the first thing with these words: a link, a button, a
// label. It waits until there is one.
func (tab *Tab) Click(words string) {
	tab.t.Helper()
	tab.press(words, named(words), 1)
}

// DoubleClick clicks twice, as fast as a mouse does.
func (tab *Tab) DoubleClick(words string) {
	tab.t.Helper()
	tab.press(words, named(words), 2)
}

// ClickOn clicks with the mouse on an element that an expression finds in the page, once
// there is one. It is for what has no words.
func (tab *Tab) ClickOn(element string) {
	tab.t.Helper()
	tab.press(element, element, 1)
}

// Aim returns what clicks on the first thing with these words, where it is now.
func (tab *Tab) Aim(words string) func() {
	tab.t.Helper()
	x, y := tab.middle(words, named(words))
	return func() { tab.do("click on "+words, chromedp.MouseClickXY(x, y)) }
}

// press clicks on an element so many times.
func (tab *Tab) press(what, element string, times int) {
	tab.t.Helper()
	x, y := tab.middle(what, element)
	for n := 1; n <= times; n++ {
		tab.do("click on "+what, chromedp.MouseClickXY(x, y, chromedp.ClickCount(n)))
	}
}

// middle scrolls to an element and returns where its middle is, where it must be on top.
func (tab *Tab) middle(what, element string) (x, y float64) {
	tab.t.Helper()
	tab.until(what, element)
	at := Read[struct {
		X, Y float64
		Over string
	}](tab, fmt.Sprintf(`(() => {
		const e = %s;
		e.scrollIntoView({ block: "nearest", behavior: "instant" });
		const r = e.getClientRects()[0], x = r.x + r.width / 2, y = r.y + r.height / 2, top = document.elementFromPoint(x, y);
		return { x, y, over: top && (e.contains(top) || top.contains(e)) ? "" : top ? top.outerHTML.slice(0, 200) : "nothing" };
	})()`, element))
	if at.Over != "" {
		tab.t.Fatalf("%s cannot be clicked on, over it is %s", what, at.Over)
	}
	return at.X, at.Y
}

// named is an expression for what has these words on it, and entry for the entry of a form
// with a label.
func named(words string) string { return fmt.Sprintf(`(%s)(%s)[0]`, find, quoted(words)) }

func entry(label string) string { return fmt.Sprintf(`(%s)(%s, "entry")[0]`, find, quoted(label)) }

// Fill puts a text into the entry with a label, in place of what is in it, as pasting does.
// Keys one by one, as Type sends them, would take most of the time of tests.
func (tab *Tab) Fill(label, text string) {
	tab.t.Helper()
	tab.press(label, entry(label), 1)
	if tab.Entry(label) != "" {
		tab.do("select "+label, chromedp.KeyEvent("a", chromedp.KeyModifiers(chromedp.ModifierCtrl)))
	}
	if text == "" {
		tab.Type("\b")
	} else {
		Call(tab, input.InsertText, input.InsertTextParams{Text: text})
	}
	if got := tab.Entry(label); got != text {
		tab.t.Fatalf("%s has %q after %q was put into it", label, got, text)
	}
}

// Type types keys where the focus is.
func (tab *Tab) Type(keys string) {
	tab.t.Helper()
	tab.do("type", chromedp.KeyEvent(keys))
}

// Choose chooses what is called so in the list with a label, by keys.
func (tab *Tab) Choose(label, text string) {
	tab.t.Helper()
	element := entry(label)
	tab.until(label, element)
	tab.do("choose "+text, chromedp.Focus(chromedp.JSPath(element)))
	tab.Type(text)
	if got := Read[string](tab, element+".selectedOptions[0].textContent.trim()"); got != text {
		tab.t.Fatalf("%s has %q, want %q", label, got, text)
	}
}

// Entry returns what is in the entry with a label.
func (tab *Tab) Entry(label string) string {
	tab.t.Helper()
	return Read[string](tab, entry(label)+`?.value ?? ""`)
}

// SignIn signs a user in.
func (tab *Tab) SignIn(username, password string) {
	tab.t.Helper()
	tab.Open("/signin")
	tab.Fill("Username", username)
	tab.Fill("Password", password)
	tab.Follow("Sign in")
	if path, _ := url.Parse(tab.Location()); path.Path == "/signin" {
		tab.t.Fatalf("%s does not get in:\n%s", username, tab.Text())
	}
}

// quoted writes a text as it is written in a script.
func quoted(text string) string {
	out, err := json.Marshal(text)
	if err != nil {
		return `""`
	}
	return string(out)
}
