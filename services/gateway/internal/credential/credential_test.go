package credential

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

var (
	both       = OAuth2Places()
	headerOnly = both[:1]
	queryOnly  = both[1:]
	reversed   = []Place{both[1], both[0]}
)

func oauth2(places []Place) []Scheme { return []Scheme{{Type: OAuth2, Places: places}} }

// take is Take of a handshake without sub-protocols. It returns the query that is left.
func take(schemes []Scheme, h http.Header, query string) (Credential, string, error) {
	shown := Handshake{Header: h, Query: query}
	t, err := Take(schemes, &shown)
	return t.Credential, shown.Query, err
}

func TestTake(t *testing.T) {
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
		{"place not listed", queryOnly, []string{"Bearer h"}, "", "", ErrMissing},
		{"no place", nil, []string{"Bearer h"}, "access_token=q", "", ErrMissing},
		{"nothing", both, nil, "", "", ErrMissing},
		{"longest", both, []string{"Bearer " + long}, "", long, nil},
		{"too long", both, []string{"Bearer " + long + "a"}, "", "", errMalformed},

		{"another scheme holds none", both, []string{"Basic YTpi"}, "access_token=q", "q", nil},
		{"empty header holds none", both, []string{""}, "access_token=q", "q", nil},
		{"empty parameter holds none", reversed, []string{"Bearer h"}, "access_token=", "h", nil},
		{"parameter without value holds none", reversed, []string{"Bearer h"}, "access_token", "h", nil},
		{"empty parameters hold none", both, nil, "access_token&access_token=", "", ErrMissing},

		{"header without token", both, []string{"Bearer"}, "access_token=q", "", errMalformed},
		{"header with spaces only", both, []string{"Bearer   "}, "access_token=q", "", errMalformed},
		{"two tokens", both, []string{"Bearer a b"}, "", "", errMalformed},
		{"two tokens with a comma", both, []string{"Bearer a, Bearer b"}, "", "", errMalformed},
		{"header twice", both, []string{"Bearer a", "Bearer a"}, "", "", errMalformed},
		{"header twice, other scheme", both, []string{"Basic a", "Bearer a"}, "access_token=q", "", errMalformed},
		{"padding only", both, []string{"Bearer =="}, "", "", errMalformed},
		{"padding inside", both, []string{"Bearer a=b"}, "", "", errMalformed},
		{"outside ASCII", both, []string{"Bearer äöü"}, "", "", errMalformed},
		{"parameter twice", both, nil, "access_token=a&access_token=b", "", errMalformed},
		{"parameter twice, same value", both, nil, "access_token=a&access_token=a", "", errMalformed},
		{"parameter twice, once empty", both, nil, "access_token=&access_token=a", "", errMalformed},
		{"bad escape in the value", both, nil, "access_token=a%zz", "", errMalformed},
		{"cut escape in the value", both, nil, "access_token=a%2", "", errMalformed},
		{"space in the value", both, nil, "access_token=a%20b", "", errMalformed},
		{"NUL in the value", both, nil, "access_token=a%00b", "", errMalformed},
		{"second equals sign", both, nil, "access_token=a=b", "", errMalformed},

		{"escaped value", both, nil, "access_token=%61%2Bb%2f%3D", "a+b/=", nil},
		{"a plus is a plus", both, nil, "access_token=a+b", "a+b", nil},
		{"escaped name", both, nil, "access%5Ftoken=abc", "abc", nil},
		{"escaped and plain name", both, nil, "access%5Ftoken=abc&access_token=d", "", errMalformed},
		{"longer name", both, nil, "access_token2=abc", "", ErrMissing},
		{"name in capitals", both, nil, "ACCESS_TOKEN=abc", "", ErrMissing},
		{"bad escape in a name", both, nil, "access_token%=abc", "", ErrMissing},
		{"behind a semicolon", both, nil, "a=1;access_token=abc", "", ErrMissing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			if tt.header != nil {
				h["Authorization"] = tt.header
			}
			got, _, err := take(oauth2(tt.places), h, tt.query)
			if got.Value != tt.want || !errors.Is(err, tt.err) || err == nil && got.Type != OAuth2 {
				t.Errorf("Take(%v, %q, %q) = %+v, %v, want %q, %v", tt.places, tt.header, tt.query, got, err, tt.want, tt.err)
			}
		})
	}
}

// otherType stands for a type of credential that does not exist yet.
const otherType Type = 99

func TestTakeNamesTheScheme(t *testing.T) {
	header, query := Scheme{Type: OAuth2, Places: headerOnly}, Scheme{Type: otherType, Places: queryOnly}
	for _, tt := range []struct {
		name    string
		schemes []Scheme
		header  string
		query   string
		want    Credential
		rest    string
		err     error
	}{
		{"first scheme", []Scheme{header, query}, "Bearer h", "access_token=q&a", Credential{Type: OAuth2, Value: "h"}, "a", nil},
		{"second scheme", []Scheme{header, query}, "", "access_token=q&a", Credential{Type: otherType, Value: "q"}, "a", nil},
		{"other order", []Scheme{query, header}, "Bearer h", "a&access_token=q", Credential{Type: otherType, Value: "q"}, "a", nil},
		{"malformed in the first", []Scheme{header, query}, "Bearer a b", "access_token=q", Credential{}, "", errMalformed},
		{"in neither", []Scheme{header, query}, "Basic x", "a", Credential{}, "a", ErrMissing},
		{"none", []Scheme{{Type: None}}, "", "access_token=q", Credential{Type: None}, "access_token=q", nil},
		{"no scheme", nil, "", "access_token=q", Credential{}, "access_token=q", ErrMissing},
	} {
		h := http.Header{}
		if tt.header != "" {
			h.Set("Authorization", tt.header)
		}
		got, rest, err := take(tt.schemes, h, tt.query)
		if got != tt.want || rest != tt.rest || !errors.Is(err, tt.err) || len(h) > 0 {
			t.Errorf("%s: Take = %+v, %q, %v, %v left, want %+v, %q, %v, no header", tt.name, got, rest, err, h, tt.want, tt.rest, tt.err)
		}
	}
}

func TestTakeStripsTheQuery(t *testing.T) {
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
		{"more pieces than most have", strings.Repeat("a&", 50) + "access_token=x&b", strings.Repeat("a&", 50) + "b"},
		{"none", "a=1", "a=1"},
		{"empty", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, header := range []http.Header{nil, {"Authorization": {"Bearer used"}}} {
				if _, got, _ := take(oauth2(both), header, tt.in); got != tt.want {
					t.Errorf("Take(%q) left %q, want %q", tt.in, got, tt.want)
				}
			}
			if _, got, _ := take(oauth2(headerOnly), nil, tt.in); got != tt.in {
				t.Errorf("Take of a place not listed (%q) left %q, want it unchanged", tt.in, got)
			}
		})
	}
}

func TestTakeStripsTheHeader(t *testing.T) {
	for _, query := range []string{"", "access_token=x"} {
		h := http.Header{"Authorization": {"Bearer x"}, "Cookie": {"a=b"}}
		_, _, _ = take(oauth2(queryOnly), h, query)
		if h.Get("Authorization") == "" {
			t.Errorf("Take(%v) removed a header that is not a place of the API", queryOnly)
		}
		_, _, _ = take(oauth2(reversed), h, query)
		if len(h) != 1 || h.Get("Cookie") == "" {
			t.Errorf("Take(%v) left %v, want the cookie alone", reversed, h)
		}
	}
}

func TestPlaceString(t *testing.T) {
	pointer, _ := ParsePointer("/a/t")
	for want, p := range map[string]Place{
		"the header Authorization: Bearer":                     both[0],
		"the query parameter access_token":                     both[1],
		"the header X-Api-Key":                                 InHeader("x-api-key", Raw),
		"the query parameter auth, in base64":                  InQuery("auth", Base64),
		"the cookie session":                                   InCookie("session"),
		"the sub-protocol after bearer":                        InSubprotocol(),
		"the first message":                                    {Part: FirstMessage, Message: &Message{}},
		"the first message, in JSON at /a/t":                   {Part: FirstMessage, Message: &Message{Pointer: pointer}},
		`the first message, in JSON at /a/t where /a/t is "x"`: {Part: FirstMessage, Message: &Message{Pointer: pointer, If: &Condition{pointer, "x"}}},
		"an unknown place":                                     {},
	} {
		if got := p.String(); got != want {
			t.Errorf("%+v.String() = %q, want %q", p, got, want)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	lines, schemes := []string{"Bearer " + strings.Repeat("abcdefgh", 100)}, oauth2(both)
	h := http.Header{}
	b.ReportAllocs()
	for b.Loop() {
		h["Authorization"] = lines
		shown := Handshake{Header: h, Query: "a=1&b=2"}
		if _, err := Take(schemes, &shown); err != nil {
			b.Fatal(err)
		}
	}
}

// The places that versions have unless they say otherwise cost no allocation.
func TestTakeDoesNotAllocate(t *testing.T) {
	lines, schemes, h := []string{"Bearer abc"}, oauth2(both), http.Header{}
	if n := testing.AllocsPerRun(100, func() {
		h["Authorization"] = lines
		shown := Handshake{Header: h, Query: "a=1&b=2"}
		if _, err := Take(schemes, &shown); err != nil {
			t.Error(err)
		}
	}); n > 0 {
		t.Errorf("Take allocates %v times, want 0", n)
	}
}
