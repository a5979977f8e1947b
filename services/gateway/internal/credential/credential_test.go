package credential

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

var (
	both      = []Place{AuthorizationHeader, AccessTokenQuery}
	queryOnly = []Place{AccessTokenQuery}
	reversed  = []Place{AccessTokenQuery, AuthorizationHeader}
)

func TestExtract(t *testing.T) {
	long := strings.Repeat("a", maxToken)
	tests := []struct {
		name   string
		places []Place
		header []string
		query  string
		want   string
		err    error
	}{
		{"header", both, []string{"Bearer abc.def-_~+/=="}, "", "abc.def-_~+/==", nil},
		{"scheme in any case", both, []string{"bEARER abc"}, "", "abc", nil},
		{"several spaces", both, []string{"Bearer   abc  "}, "", "abc", nil},
		{"query", both, nil, "access_token=abc", "abc", nil},
		{"query among others", both, nil, "a=1&access_token=abc&b", "abc", nil},
		{"header before query", both, []string{"Bearer h"}, "access_token=q", "h", nil},
		{"query before header", reversed, []string{"Bearer h"}, "access_token=q", "q", nil},
		{"query last", reversed, []string{"Bearer h"}, "a=q", "h", nil},
		{"place not listed", queryOnly, []string{"Bearer h"}, "", "", ErrNone},
		{"no place", nil, []string{"Bearer h"}, "access_token=q", "", ErrNone},
		{"nothing", both, nil, "", "", ErrNone},
		{"longest", both, []string{"Bearer " + long}, "", long, nil},
		{"too long", both, []string{"Bearer " + long + "a"}, "", "", ErrMalformed},

		{"another scheme holds none", both, []string{"Basic YTpi"}, "access_token=q", "q", nil},
		{"empty header holds none", both, []string{""}, "access_token=q", "q", nil},
		{"empty parameter holds none", reversed, []string{"Bearer h"}, "access_token=", "h", nil},
		{"parameter without value holds none", reversed, []string{"Bearer h"}, "access_token", "h", nil},
		{"empty parameters hold none", both, nil, "access_token&access_token=", "", ErrNone},

		{"header without token", both, []string{"Bearer"}, "access_token=q", "", ErrMalformed},
		{"header with spaces only", both, []string{"Bearer   "}, "access_token=q", "", ErrMalformed},
		{"two tokens", both, []string{"Bearer a b"}, "", "", ErrMalformed},
		{"two tokens with a comma", both, []string{"Bearer a, Bearer b"}, "", "", ErrMalformed},
		{"header twice", both, []string{"Bearer a", "Bearer a"}, "", "", ErrMalformed},
		{"header twice, other scheme", both, []string{"Basic a", "Bearer a"}, "access_token=q", "", ErrMalformed},
		{"padding only", both, []string{"Bearer =="}, "", "", ErrMalformed},
		{"padding inside", both, []string{"Bearer a=b"}, "", "", ErrMalformed},
		{"outside ASCII", both, []string{"Bearer äöü"}, "", "", ErrMalformed},
		{"parameter twice", both, nil, "access_token=a&access_token=b", "", ErrMalformed},
		{"parameter twice, same value", both, nil, "access_token=a&access_token=a", "", ErrMalformed},
		{"parameter twice, once empty", both, nil, "access_token=&access_token=a", "", ErrMalformed},
		{"bad escape in the value", both, nil, "access_token=a%zz", "", ErrMalformed},
		{"cut escape in the value", both, nil, "access_token=a%2", "", ErrMalformed},
		{"space in the value", both, nil, "access_token=a%20b", "", ErrMalformed},
		{"NUL in the value", both, nil, "access_token=a%00b", "", ErrMalformed},
		{"second equals sign", both, nil, "access_token=a=b", "", ErrMalformed},

		{"escaped value", both, nil, "access_token=%61%2Bb%2f%3D", "a+b/=", nil},
		{"a plus is a plus", both, nil, "access_token=a+b", "a+b", nil},
		{"escaped name", both, nil, "access%5Ftoken=abc", "abc", nil},
		{"escaped and plain name", both, nil, "access%5Ftoken=abc&access_token=d", "", ErrMalformed},
		{"longer name", both, nil, "access_token2=abc", "", ErrNone},
		{"name in capitals", both, nil, "ACCESS_TOKEN=abc", "", ErrNone},
		{"bad escape in a name", both, nil, "access_token%=abc", "", ErrNone},
		{"behind a semicolon", both, nil, "a=1;access_token=abc", "", ErrNone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			if tt.header != nil {
				h["Authorization"] = tt.header
			}
			got, err := Extract(tt.places, h, tt.query)
			if got != tt.want || !errors.Is(err, tt.err) {
				t.Errorf("Extract(%v, %q, %q) = %q, %v, want %q, %v", tt.places, tt.header, tt.query, got, err, tt.want, tt.err)
			}
		})
	}
}

func TestStripQuery(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"first", "access_token=x&a=1&b=2", "a=1&b=2"},
		{"middle", "a=1&access_token=x&b=2", "a=1&b=2"},
		{"last", "a=1&b=2&access_token=x", "a=1&b=2"},
		{"alone", "access_token=x", ""},
		{"without value", "a&access_token&b", "a&b"},
		{"repeated", "access_token=x&a&access_token=y&access_token", "a"},
		{"escaped name", "a=1&access%5ftoken=x", "a=1"},
		{"encodings kept", "q=%2B+%20%2F%3D&access_token=x&z=%zz", "q=%2B+%20%2F%3D&z=%zz"},
		{"repeats and value-less forms kept", "b&a=1&access_token=x&a=2&b=&a=1", "b&a=1&a=2&b=&a=1"},
		{"empty pieces kept", "&&access_token=x&&b&", "&&&b&"},
		{"longer name kept", "access_token2=x&xaccess_token=y", "access_token2=x&xaccess_token=y"},
		{"none", "a=1", "a=1"},
		{"empty", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := StripQuery(both, tt.in); got != tt.want {
				t.Errorf("StripQuery(%q) = %q, want %q", tt.in, got, tt.want)
			}
			if got := StripQuery([]Place{AuthorizationHeader}, tt.in); got != tt.in {
				t.Errorf("StripQuery of a place not listed (%q) = %q, want it unchanged", tt.in, got)
			}
		})
	}
}

func TestStripHeader(t *testing.T) {
	h := http.Header{"Authorization": {"Bearer x"}, "Cookie": {"a=b"}}
	StripHeader(queryOnly, h)
	if h.Get("Authorization") == "" {
		t.Errorf("StripHeader(%v) removed a header that is no place of the API", queryOnly)
	}
	StripHeader(both, h)
	if len(h) != 1 || h.Get("Cookie") == "" {
		t.Errorf("StripHeader(%v) left %v, want the cookie alone", both, h)
	}
}

func TestPlaceString(t *testing.T) {
	for p, want := range map[Place]string{
		AuthorizationHeader: "the header Authorization: Bearer",
		AccessTokenQuery:    "the query parameter access_token",
		0:                   "an unknown place",
	} {
		if got := p.String(); got != want {
			t.Errorf("Place(%d).String() = %q, want %q", p, got, want)
		}
	}
}

// FuzzExtract: what is stripped is exactly what a backend could read as the
// credential, and the rest stays byte for byte, in its order.
func FuzzExtract(f *testing.F) {
	for _, q := range []string{
		"", "access_token=x", "a=1&access_token=x&b", "access%5Ftoken=%61", "&&=&access_token",
		"access_token2=x&access_token=%2B%2b+", "%zz=1&access_token=%", "access_token=a&access_token=b",
	} {
		f.Add("Bearer abc", q)
		f.Add("", q)
	}
	f.Fuzz(func(t *testing.T, authorization, query string) {
		h := http.Header{"Authorization": {authorization}}
		for _, places := range [][]Place{both, reversed, queryOnly} {
			token, err := Extract(places, h, query)
			if (token == "") == (err == nil) {
				t.Fatalf("Extract(%q, %q) = %q, %v: not exactly one of both", authorization, query, token, err)
			}
			stripped := StripQuery(places, query)
			if got, want := strings.Split(stripped, "&"), otherPieces(query); !slices.Equal(got, want) {
				t.Fatalf("StripQuery(%q) has the pieces %q, want %q", query, got, want)
			}
			if again, err := Extract(queryOnly, nil, stripped); !errors.Is(err, ErrNone) {
				t.Fatalf("Extract after StripQuery(%q) = %q, %v, want no credential", query, again, err)
			}
		}
	})
}

// otherPieces is what is left of a query, found in another way: by decoding.
func otherPieces(query string) []string {
	var kept []string
	for piece := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(piece, "=")
		if decoded, err := url.PathUnescape(name); err != nil || decoded != "access_token" {
			kept = append(kept, piece)
		}
	}
	if kept == nil {
		return []string{""}
	}
	return kept
}

func BenchmarkExtract(b *testing.B) {
	h := http.Header{"Authorization": {"Bearer " + strings.Repeat("abcdefgh", 100)}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Extract(both, h, "a=1&b=2"); err != nil {
			b.Fatal(err)
		}
		StripQuery(both, "a=1&b=2")
	}
}
