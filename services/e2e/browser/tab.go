package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/inspector"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// Tab is a tab of a browser that a test leads. What it says of elements is about those
// that can be seen. It is for one goroutine.
type Tab struct {
	t      testing.TB
	ctx    context.Context
	origin *url.URL
	also   []string

	mu         sync.Mutex
	documents  map[network.RequestID]bool // requests for pages
	asked      []string                   // URLs
	complaints []string
	excused    bool // what the browser complains of is what the test is about
}

// Tab opens an empty tab in which nobody has signed in, for pages of an origin. It ends
// with the test, and fails it then if the browser complained: of an error or a warning in
// its console, an exception, what a Content-Security-Policy refuses, or a request to
// anywhere but the origin and those in also.
func (b *Chromium) Tab(t testing.TB, origin string, also ...string) *Tab {
	t.Helper()
	return newTab(t, b.ctx, origin, also, chromedp.WithNewBrowserContext())
}

// Another opens another tab with the same cookies, for a test that ends before the tab's.
func (tab *Tab) Another(t testing.TB) *Tab {
	t.Helper()
	return newTab(t, tab.ctx, tab.origin.String(), tab.also)
}

// Opened does what makes the page open another tab, such as a click on a link that says so,
// and returns that tab, for a test that ends before the first one's.
func (tab *Tab) Opened(t testing.TB, act func()) *Tab {
	t.Helper()
	ctx, cancel := tab.within()
	defer cancel()
	opened := chromedp.WaitNewTarget(ctx, func(*target.Info) bool { return true })
	act()
	select {
	case id := <-opened:
		return newTab(t, tab.ctx, tab.origin.String(), tab.also, chromedp.WithTargetID(id))
	case <-ctx.Done():
		tab.t.Fatalf("after %v no tab was opened", patience)
		return nil
	}
}

func newTab(t testing.TB, parent context.Context, origin string, also []string, options ...chromedp.ContextOption) *Tab {
	t.Helper()
	tab := &Tab{t: t, also: also, documents: map[network.RequestID]bool{}}
	var err error
	if tab.origin, err = url.Parse(origin); err != nil {
		t.Fatal(err)
	}
	ctx, stop := chromedp.NewContext(parent, append(options, chromedp.WithListener(tab.note))...)
	tab.ctx = ctx
	t.Cleanup(func() {
		if t.Failed() {
			tab.tell()
		}
		stop()
		tab.judge()
	})
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 900)); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	// Tabs beside each other all believe to be the one that the user looks at.
	Call(tab, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
	// A browser with a screen lets pages copy where the user clicks.
	_, err = chromedp.CallBrowser(ctx, browser.SetPermission, browser.SetPermissionParams{
		Permission: &browser.PermissionDescriptor{Name: "clipboard-write"}, Setting: browser.PermissionSettingGranted,
		BrowserContextID: chromedp.FromContext(ctx).BrowserContextID,
	})
	if err != nil {
		t.Fatalf("let pages copy: %v", err)
	}
	return tab
}

// note remembers what an event says.
func (tab *Tab) note(event any) {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		tab.asked = append(tab.asked, e.Request.URL)
		tab.documents[e.RequestID] = e.Type == network.ResourceTypeDocument
	case *network.EventWebSocketCreated:
		tab.asked = append(tab.asked, e.URL)
	case *runtime.EventExceptionThrown:
		tab.complaints = append(tab.complaints, "exception: "+asJSON(e.ExceptionDetails))
	case *runtime.EventConsoleAPICalled:
		if slices.Contains([]runtime.ConsoleAPICalledType{"error", "warning", "assert"}, e.Type) {
			tab.complaints = append(tab.complaints, "console: "+asJSON(e.Args))
		}
	case *log.EventEntryAdded:
		// An answer such as 422 is said in the page.
		if e.Entry.Source == log.EntrySourceNetwork && tab.documents[e.Entry.NetworkRequestID] {
			return
		}
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			tab.complaints = append(tab.complaints, fmt.Sprintf("%s: %s (%s)", e.Entry.Source, e.Entry.Text, e.Entry.URL))
		}
	case *inspector.EventTargetCrashed:
		tab.complaints = append(tab.complaints, "the page crashed")
	}
}

func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Complains waits until the browser has complained of what has a text in it. That it
// complains does not fail the test from then on.
func (tab *Tab) Complains(text string) {
	tab.t.Helper()
	ctx, cancel := tab.within()
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !slices.ContainsFunc(tab.complained(), func(c string) bool { return strings.Contains(c, text) }) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tab.t.Fatalf("after %v the browser has complained of %q, want %q", patience, tab.complained(), text)
		}
	}
	tab.mu.Lock()
	defer tab.mu.Unlock()
	tab.excused = true
}

// complained returns what the browser has complained of, and where requests went that
// should not.
func (tab *Tab) complained() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	all := slices.Clone(tab.complaints)
	for _, to := range tab.asked {
		if !tab.own(to) {
			all = append(all, "a request to "+to)
		}
	}
	return all
}

// own reports whether a request is to the tab's own origins, or to nowhere.
func (tab *Tab) own(to string) bool {
	u, err := url.Parse(strings.TrimPrefix(to, "blob:"))
	if err != nil {
		return false
	}
	socket := strings.Replace(tab.origin.Scheme, "http", "ws", 1)
	return u.Scheme == "data" || u.Scheme == "about" || u.Host == tab.origin.Host && (u.Scheme == tab.origin.Scheme || u.Scheme == socket) ||
		slices.Contains(tab.also, u.Scheme+"://"+u.Host)
}

// judge fails the test if the browser complained.
func (tab *Tab) judge() {
	for _, c := range tab.complained() {
		if !tab.excused {
			tab.t.Errorf("the browser complains: %s", c)
		}
	}
}

// tell logs what a tab shows when its test has failed.
func (tab *Tab) tell() {
	ctx, cancel := context.WithTimeout(tab.ctx, patience)
	defer cancel()
	shown, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText.slice(0, 3000)`))
	tab.t.Logf("the tab shows %s %v", shown, err)
}

// within returns a context that ends when something has been waited for long enough.
func (tab *Tab) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(tab.ctx, patience)
}

// do runs actions, or fails the test.
func (tab *Tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	ctx, cancel := tab.within()
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		tab.t.Fatalf("%s: %v", what, err)
	}
}

// Call calls a method of the browser's protocol on a tab.
func Call[P, R any](tab *Tab, command cdp.Command[P, R], params P) R {
	tab.t.Helper()
	ctx, cancel := tab.within()
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		tab.t.Fatalf("%s: %v", command.Method, err)
	}
	return result
}

// Read returns what an expression is in the page; promises are waited for. It is for
// looking, never for acting: what a page may not do, an expression may.
func Read[T any](tab *Tab, expression string) T {
	tab.t.Helper()
	ctx, cancel := tab.within()
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		tab.t.Fatalf("read %.300s: %v", expression, err)
	}
	return value
}

// Until waits until an expression is true in the page, over pages that come meanwhile.
func (tab *Tab) Until(expression string) {
	tab.t.Helper()
	tab.until(expression, expression)
}

// until waits until an expression is true in the page, which a failure calls as what says.
func (tab *Tab) until(what, expression string) {
	tab.t.Helper()
	ctx, cancel := tab.within()
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		is, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		if err == nil && is {
			return
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tab.t.Fatalf("after %v the page has not: %s (%v)", patience, what, last)
		}
	}
}

// WithoutScripts lets pages from now on run no script.
func (tab *Tab) WithoutScripts() {
	tab.t.Helper()
	Call(tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// Before runs a script in every page from now on, before the page's own.
func (tab *Tab) Before(script string) {
	tab.t.Helper()
	Call(tab, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
}

// SetCookie sets a cookie of the origin.
func (tab *Tab) SetCookie(name, value string) {
	tab.t.Helper()
	secure := tab.origin.Scheme == "https"
	Call(tab, network.SetCookie, network.SetCookieParams{Name: name, Value: value, URL: tab.origin.String() + "/", Path: "/", Secure: &secure})
}

// Cookies returns the values of the origin's cookies, those that no script reads included.
func (tab *Tab) Cookies() map[string]string {
	tab.t.Helper()
	all := map[string]string{}
	for _, c := range Call(tab, network.GetCookies, network.GetCookiesParams{URLs: []string{tab.origin.String() + "/"}}).Cookies {
		all[c.Name] = c.Value
	}
	return all
}

// Size makes the window as large as this, in pixels.
func (tab *Tab) Size(width, height int64) {
	tab.t.Helper()
	tab.do("size", chromedp.EmulateViewport(width, height))
}

// Asked returns the URLs that were asked for.
func (tab *Tab) Asked() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	return slices.Clone(tab.asked)
}

// Picture returns what the window shows, as PNG.
func (tab *Tab) Picture() []byte {
	tab.t.Helper()
	ctx, cancel := tab.within()
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		tab.t.Fatalf("take a picture: %v", err)
	}
	return picture
}
