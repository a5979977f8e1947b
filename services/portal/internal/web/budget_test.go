package web_test

import (
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tidegatehq/tidegate/services/e2e/webtest"
)

// Budgets of pages besides those of what they are made of.
const (
	mostCalls    = 6        // of services, for a page
	mostRequests = 7        // of a browser that has nothing yet
	mostBytes    = 90 << 10 // of all these answers, compressed
	fullPage     = 50       // rows
)

// words answers texts such as users write: names of two or three words, descriptions of
// 100, no two the same.
func words(field protoreflect.FieldDescriptor, row int) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(field.FullName()))
	r := rand.New(rand.NewPCG(h.Sum64(), uint64(row))) //nolint:gosec // nothing is secret
	n := 2 + r.IntN(2)
	if strings.Contains(string(field.Name()), "description") {
		n = 100
	}
	var text []string
	for range n {
		word := make([]byte, 3+r.IntN(7))
		for i := range word {
			word[i] = "aeiourstnlmdpbgkh"[r.IntN(17)]
		}
		text = append(text, string(word))
	}
	return strings.Join(text, " ")
}

// TestCallsOfPages counts the calls of services that each page makes: few, and no more
// where there are more rows. Of OAuth clients an application has one or two.
func TestCallsOfPages(t *testing.T) {
	t.Parallel()
	a := &answers{text: words}
	v := visit(t, a)
	for _, route := range routesOf(http.MethodGet) {
		calls := map[int][]string{} // by rows
		for _, a.rows = range []int{0, 1, 2, fullPage} {
			a.calls = nil
			v.open(pagePath(route))
			if len(a.calls) > mostCalls {
				t.Errorf("%s with %d rows makes %d calls, want at most %d: %v", route.Pattern, a.rows, len(a.calls), mostCalls, a.calls)
			}
			calls[a.rows] = slices.Sorted(slices.Values(a.calls))
		}
		one := calls[1]
		if strings.Contains(route.Pattern, "/keys") {
			one = calls[2]
		}
		if !slices.Equal(one, calls[fullPage]) {
			t.Errorf("%s makes the calls %v, and with %d rows %v", route.Pattern, one, fullPage, calls[fullPage])
		}
	}
}

// TestBudgetsOfPages weighs every page with full lists, and what a browser asks for with it.
func TestBudgetsOfPages(t *testing.T) {
	t.Parallel()
	a := &answers{rows: fullPage, text: words}
	v := visit(t, a)
	weights := map[string]int{} // of assets
	for _, route := range routesOf(http.MethodGet) {
		p := v.open(pagePath(route))
		html := compressed(t, p.Body)
		if html > mostHTML {
			t.Errorf("%s has %d bytes compressed, want at most %d", route.Pattern, html, mostHTML)
		}
		requests, bytes := 1, html
		for _, asset := range assetsOf(t, p) {
			if weights[asset] == 0 {
				weights[asset] = v.weigh(asset)
			}
			requests, bytes = requests+1, bytes+weights[asset]
		}
		if requests > mostRequests || bytes > mostBytes {
			t.Errorf("the first visit to %s is %d bytes in %d requests, want at most %d in %d", route.Pattern, bytes, requests, mostBytes, mostRequests)
		}
	}
}

// assetsOf are the files that a browser asks for with a page. A page asks for nothing else:
// its policy has no other kinds, and its scripts ask for nothing at first.
func assetsOf(t *testing.T, p *webtest.Page) []string {
	t.Helper()
	files := map[string]bool{}
	for _, to := range append(p.Loads(), p.Attributes("data-icons")...) {
		to, _, _ = strings.Cut(to, "#")
		if !strings.HasPrefix(to, "/assets/") {
			t.Errorf("%s asks for %s, want nothing but files of /assets/", p.URL, to)
		}
		files[to] = true
	}
	return slices.Sorted(maps.Keys(files))
}

// weigh returns how many bytes a file has as it is sent. A browser must keep it, so that
// the next page is one request.
func (v *visitor) weigh(path string) int {
	v.t.Helper()
	p := v.do(http.MethodGet, path, nil, "Accept-Encoding", "gzip")
	if p.Status != http.StatusOK || !strings.Contains(p.Header.Get("Cache-Control"), "immutable") {
		v.t.Errorf("%s = %d, %q, want a file to keep", path, p.Status, p.Header.Get("Cache-Control"))
	}
	return len(p.Body)
}
