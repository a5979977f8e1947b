package page_test

import (
	"encoding/base64"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
)

// key is what the lists of these tests are ordered by.
type key struct {
	Number int64
	ID     string
}

func TestNew(t *testing.T) {
	req := &catalogv1.ListVersionsRequest{Parent: "apis/1", Filter: `state = "X"`, PageSize: 7}
	first, err := page.New[key](req)
	if err != nil || first.Size != 7 || first.After != (key{}) {
		t.Errorf("New of the first page = %+v, %v, want 7 after the zero key", first, err)
	}
	want := key{17, "ä\""}
	token := first.Token(want)
	req.PageToken, req.PageSize = token, 9000
	next, err := page.New[key](req)
	if err != nil || next.Size != 1000 || next.After != want {
		t.Errorf("New of the next page = %+v, %v, want 1000 after %v", next, err, want)
	}
	for asked, want := range map[int32]int{0: 50, 1: 1, 1000: 1000, 1001: 1000} {
		if p, err := page.New[key](&catalogv1.ListApisRequest{PageSize: asked}); p.Size != want || err != nil {
			t.Errorf("New of a page of %d = %d, %v, want %d", asked, p.Size, err, want)
		}
	}
	// Allowing a partial answer does not change which list it is.
	partial, err := page.New[key](&gatewayv1.ListSessionsRequest{Parent: "gateways/-", ReturnPartialSuccess: true})
	if err != nil {
		t.Fatal(err)
	}
	whole := &gatewayv1.ListSessionsRequest{Parent: "gateways/-", PageToken: partial.Token(want)}
	if p, err := page.New[key](whole); err != nil || p.After != want {
		t.Errorf("New without return_partial_success = %+v, %v, want the page after %v", p, err, want)
	}
	nul := first.Token(key{1, "a\x00"})
	number, err := page.New[int64](&catalogv1.ListVersionsRequest{Parent: "apis/1", Filter: `state = "X"`})
	if err != nil {
		t.Fatal(err)
	}
	const (
		other = "page_token: belongs to another list or filter"
		bad   = "page_token: is not a token that a list has returned"
	)
	for name, tt := range map[string]struct {
		req  page.ListRequest
		want string
	}{
		"other filter":    {&catalogv1.ListVersionsRequest{Parent: "apis/1", PageToken: token}, other},
		"other parent":    {&catalogv1.ListVersionsRequest{Parent: "apis/2", Filter: `state = "X"`, PageToken: token}, other},
		"other list":      {&catalogv1.ListApisRequest{PageToken: token}, other},
		"other key":       {&catalogv1.ListVersionsRequest{Parent: "apis/1", Filter: `state = "X"`, PageToken: number.Token(3)}, bad},
		"no base64":       {&catalogv1.ListVersionsRequest{PageToken: "!"}, bad},
		"padded":          {&catalogv1.ListVersionsRequest{Parent: "apis/1", Filter: `state = "X"`, PageToken: token + "="}, bad},
		"no JSON":         {&catalogv1.ListVersionsRequest{PageToken: base64.RawURLEncoding.EncodeToString([]byte("x"))}, bad},
		"an empty token":  {&catalogv1.ListVersionsRequest{PageToken: base64.RawURLEncoding.EncodeToString([]byte("{}"))}, bad},
		"far too long":    {&catalogv1.ListVersionsRequest{PageToken: strings.Repeat("A", 5000)}, bad},
		"NUL in a key":    {&catalogv1.ListVersionsRequest{Parent: "apis/1", Filter: `state = "X"`, PageToken: nul}, bad},
		"cut in the half": {&catalogv1.ListVersionsRequest{PageToken: token[:len(token)/2]}, bad},
		"a negative size": {&catalogv1.ListVersionsRequest{PageSize: -1}, "page_size: must not be negative"},
	} {
		if _, err := page.New[key](tt.req); !fault.Is(err, codes.InvalidArgument) || err.Error() != tt.want {
			t.Errorf("%s: New = %v, want %q", name, err, tt.want)
		}
	}
}

func FuzzNew(f *testing.F) {
	p, err := page.New[key](&catalogv1.ListApisRequest{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(p.Token(key{1, "a"}))
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := page.New[key](&catalogv1.ListApisRequest{PageToken: text}); err != nil && !fault.Is(err, codes.InvalidArgument) {
			t.Errorf("New(%q) = %v, want nil or INVALID_ARGUMENT", text, err)
		}
	})
}

// rows are the numbers after a number, up to 250.
func rows(after int64) iter.Seq2[int64, error] {
	return func(yield func(int64, error) bool) {
		for n := after + 1; n <= 250 && yield(n, nil); n++ {
		}
	}
}

// A page has as many items as fit.
func TestCollect(t *testing.T) {
	const maxBytes = 2 << 20
	for _, tt := range []struct {
		name  string
		size  int32
		bytes int // of each item
		pages []int
	}{
		{"one page", 1000, 10, []int{250}},
		{"just one page", 250, 10, []int{250}},
		{"three pages", 120, 10, []int{120, 120, 10}},
		{"small pages", 1, 10, slices.Repeat([]int{1}, 250)},
		{"large items", 1000, maxBytes / 60, []int{59, 59, 59, 59, 14}},
		{"items larger than a page", 1000, maxBytes + 1, slices.Repeat([]int{1}, 250)},
	} {
		text := strings.Repeat("x", tt.bytes)
		var pages []int
		req := &catalogv1.ListPlansRequest{PageSize: tt.size}
		for {
			p, err := page.New[int64](req)
			if err != nil {
				t.Fatal(err)
			}
			plans, next, err := page.Collect(p, rows(p.After), func(n int64) int64 { return n },
				func(int64) *catalogv1.Plan { return &catalogv1.Plan{Description: text} })
			if err != nil {
				t.Fatal(err)
			}
			pages = append(pages, len(plans))
			if req.PageToken = next; next == "" {
				break
			}
		}
		if !slices.Equal(pages, tt.pages) {
			t.Errorf("%s: pages of %v, want %v", tt.name, pages, tt.pages)
		}
	}
}

func TestReadFails(t *testing.T) {
	broken := errors.New("broken")
	p, err := page.New[int64](&catalogv1.ListPlansRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = page.Collect(p, func(yield func(int64, error) bool) { yield(0, broken) },
		func(n int64) int64 { return n }, func(int64) *catalogv1.Plan { return &catalogv1.Plan{} })
	if !errors.Is(err, broken) {
		t.Errorf("Collect = %v, want %v", err, broken)
	}
}
