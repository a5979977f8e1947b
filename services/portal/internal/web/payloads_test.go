package web_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tidegatehq/tidegate/services/e2e/webtest"
)

// with answers every text with one.
func with(text string) func(protoreflect.FieldDescriptor, int) string {
	return func(protoreflect.FieldDescriptor, int) string { return text }
}

// checkInjected fails the test where a payload is more than text in a page.
func checkInjected(t *testing.T, p *webtest.Page, what string) {
	t.Helper()
	if found := p.Injected(); found != nil {
		t.Errorf("%s with %s has\n%s", p.URL.Path, what, strings.Join(found, "\n"))
	}
}

// atOnce has all payloads in one text, which begins with each that means something else
// at the beginning: where all of an attribute is the text, and it is an address.
func atOnce() []string {
	var texts []string
	all := webtest.Payloads()
	for i, payload := range all {
		if i == 0 || slices.ContainsFunc([]string{"java", "JaVa", "data:", "//", "x55 "}, func(begin string) bool { return strings.HasPrefix(payload, begin) }) {
			texts = append(texts, strings.Join(slices.Concat(all[i:], all[:i]), " "))
		}
	}
	return texts
}

// TestStoredPayloads shows every page with the payloads as every text that services
// answer: what is stored, and what gateways and other services say of themselves.
func TestStoredPayloads(t *testing.T) {
	t.Parallel()
	a := &answers{rows: 2, text: with("a name")}
	v := visit(t, a)
	texts := atOnce()
	if len(texts) < 5 || len(webtest.Payloads()) < 60 {
		t.Errorf("%d payloads in %d texts, want at least 60 in 5", len(webtest.Payloads()), len(texts))
	}
	for _, text := range texts {
		a.text = with(text)
		for _, route := range routesOf(http.MethodGet) {
			a.calls = nil
			p := v.open(pagePath(route))
			if p.Status == http.StatusSeeOther && strings.HasSuffix(route.Pattern, "/delete") {
				continue // what has something in it is not deleted
			}
			if p.Status != http.StatusOK {
				t.Fatalf("%s = %d:\n%s", route.Pattern, p.Status, p.Text())
			}
			checkInjected(t, p, "payloads")
			// Of signing in and up, pages ask nothing but whether one may.
			if len(a.calls) > 0 && !p.Shows(text) && !strings.HasPrefix(route.Pattern, "/sign") {
				t.Errorf("%s shows no text of the services that it asks", route.Pattern)
			}
		}
	}
}

// refusal is an error that says a text wherever it can.
func refusal(t *testing.T, code codes.Code, text string) error {
	t.Helper()
	text = strings.ToValidUTF8(text, "?")
	s, err := status.New(code, text).WithDetails(&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{
		{Field: "api.display_name", Description: text}, {Field: "filter", Description: text}, {Field: text, Description: text},
	}}, &errdetails.ErrorInfo{Reason: text})
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

// TestAnsweredPayloads shows what pages say of errors of every kind, in which services
// repeat what a user has sent.
func TestAnsweredPayloads(t *testing.T) {
	t.Parallel()
	a := &answers{rows: 2, text: with("a name")}
	v := visit(t, a)
	signedIn := v.cookies
	check := func(code codes.Code, text string) {
		a.fails = refusal(t, code, text)
		form := url.Values{"name": {"n"}, "context": {"/c"}, "version": {"1"}, "endpoint": {"ws://b"}, "do": {"create"}}
		for _, path := range []string{"/publisher", "/publisher/apis/new", "/admin/records?version=x", "/account"} { // one of each kind
			v.cookies = maps.Clone(signedIn)
			checkInjected(t, v.open(path), text+" in "+code.String())
			checkInjected(t, v.do(http.MethodPost, path, form), text+" in "+code.String())
		}
	}
	all := strings.Join(webtest.Payloads(), " ")
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		check(code, all)
	}
	for _, payload := range webtest.Payloads() {
		check(codes.InvalidArgument, payload)
	}
}

// TestReflectedPayloads sends the payloads to every page as every parameter of its links
// and forms, one by one and all at once, and as every part of its address; and to every form
// as every entry that any page has. Services take what is sent, or say at the entry that it
// is wrong.
func TestReflectedPayloads(t *testing.T) {
	t.Parallel()
	a := &answers{rows: 1, text: with("a name")}
	v := visit(t, a)
	signedIn := maps.Clone(v.cookies)
	every := url.Values{"page": nil}
	own := map[string][]string{} // by pattern
	for _, route := range routesOf(http.MethodGet) {
		own[route.Pattern] = append(v.open(pagePath(route)).Entries(), "page")
		for _, name := range own[route.Pattern] {
			every[name] = nil
		}
	}
	// Besides, what parsers and decoders have taken for a "<".
	texts := append(atOnce(), "\x00<b id=x55>", "<b\x00 id=x55>", "\xc0\xbcb id=x55>", "＜b id=x55＞")
	gets, posts, shows := routesOf(http.MethodGet), routesOf(http.MethodPost), map[string]bool{}
	for _, text := range texts {
		for name := range every {
			every.Set(name, text)
		}
		for _, route := range gets {
			path, _, _ := strings.Cut(pagePath(route), "?")
			for _, name := range own[route.Pattern] {
				one := path + "?" + name
				if known, tried := shows[one]; tried && !known {
					continue
				}
				p := v.open(path + "?" + url.Values{name: {text}}.Encode())
				checkInjected(t, p, name)
				shows[one] = shows[one] || strings.Contains(p.Body, webtest.Mark)
			}
			checkInjected(t, v.open(path+"?"+every.Encode()), "all parameters")
			checkInjected(t, v.open(variable.ReplaceAllLiteralString(route.Pattern, url.PathEscape(text))), "parts of the address")
		}
		for _, route := range posts {
			for _, fails := range []error{nil, refusal(t, codes.InvalidArgument, text)} {
				a.fails, v.cookies = fails, maps.Clone(signedIn)
				p := v.do(http.MethodPost, pagePath(route), every)
				checkInjected(t, p, "all entries")
				if p.Status == http.StatusSeeOther {
					checkInjected(t, v.open("/account"), "a notice")
				}
			}
		}
		a.fails, v.cookies = nil, maps.Clone(signedIn)
	}
	maps.DeleteFunc(shows, func(_ string, shown bool) bool { return !shown })
	if len(shows) < 20 {
		t.Errorf("pages show the parameters %v, want more", slices.Sorted(maps.Keys(shows)))
	}
}

// TestPayloadsInServices stores the payloads in what users can store, and leaves them in
// records of sessions. Pages are found by their links and forms: all that are in the table.
func TestPayloadsInServices(t *testing.T) {
	t.Parallel()
	s := webtest.Start(t)
	texts := s.Hostile(t)
	b := s.Browser(t)
	b.SignIn("admin", s.Password)
	mux, found := http.NewServeMux(), map[string]bool{}
	for _, route := range routesOf(http.MethodGet) {
		mux.HandleFunc(route.Pattern, func(http.ResponseWriter, *http.Request) { found[route.Pattern] = true })
	}
	check := func(path string) *webtest.Page {
		mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		p := b.Open(path)
		checkInjected(t, p, "stored payloads")
		maps.DeleteFunc(texts, func(_, text string) bool { return p.Shows(text) })
		return p
	}
	for _, path := range b.Crawl(2, "/publisher", "/devportal", "/admin", "/account", "/admin/records") {
		for _, action := range check(path).Forms() {
			check(action)
		}
	}
	for what, text := range texts {
		t.Errorf("no page shows %s: %s", what, text)
	}
	for _, route := range routesOf(http.MethodGet) {
		// A script of the console makes the link to a refusal's record.
		if !found[route.Pattern] && !route.Public && !strings.Contains(route.Pattern, "/console/") {
			t.Errorf("nothing leads to %s", route.Pattern)
		}
	}
}
