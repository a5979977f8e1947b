package credential

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// key is a type of credential that is sent as it is.
const key Type = 98

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func k8s(s string) string { return kubernetes + base64.RawURLEncoding.EncodeToString([]byte(s)) }

// TestTakeFromEveryPlace has each kind of place alone: what is found, and what is left.
func TestTakeFromEveryPlace(t *testing.T) {
	type left struct {
		header    http.Header
		query     string
		protocols []string
	}
	header := func(lines ...string) http.Header { return http.Header{"X-Api-Key": lines, "A": {"1"}} }
	cookies := func(lines ...string) http.Header { return http.Header{"Cookie": lines} }
	raw, bearer := InHeader("x-API-key", Raw), InHeader("x-api-key", Bearer)
	plain, encoded := InQuery("auth", Raw), InQuery("auth", Base64)
	cookie, protocol := InCookie("sid"), InSubprotocol()
	rest := http.Header{"A": {"1"}}
	for _, tt := range []struct {
		name   string
		place  Place
		typ    Type
		in     left
		want   string
		err    error
		left   left
		answer string
	}{
		{"a raw header", raw, key, left{header: header("k:1")}, "k:1", nil, left{header: rest}, ""},
		{"spaces around it", raw, key, left{header: header("  k ")}, "k", nil, left{header: rest}, ""},
		{"a space in it", raw, key, left{header: header("Bearer k")}, "", errMalformed, left{header: rest}, ""},
		{"beyond ASCII", raw, key, left{header: header("kä")}, "", errMalformed, left{header: rest}, ""},
		{"empty", raw, key, left{header: header("")}, "", ErrMissing, left{header: rest}, ""},
		{"twice", raw, key, left{header: header("k", "k")}, "", errMalformed, left{header: rest}, ""},
		{"no token in a raw header", raw, OAuth2, left{header: header("k:1")}, "", errMalformed, left{header: rest}, ""},
		{"Bearer in another header", bearer, OAuth2, left{header: header("bearer t")}, "t", nil, left{header: rest}, ""},
		{"no Bearer there", bearer, OAuth2, left{header: header("t")}, "", ErrMissing, left{header: rest}, ""},

		{"a parameter", plain, key, left{query: "a=1&auth=k%3A1&b"}, "k:1", nil, left{query: "a=1&b"}, ""},
		{"a longer name", plain, key, left{query: "auth2=k"}, "", ErrMissing, left{query: "auth2=k"}, ""},
		{"base64", encoded, key, left{query: "a=+&auth=" + b64("k:1")}, "k:1", nil, left{query: "a=+"}, ""},
		{"base64 with a plus and a slash", encoded, OAuth2, left{query: "auth=" + b64("~~~>>>???")}, "", errMalformed, left{}, ""},
		{"a plus is a plus", encoded, key, left{query: "auth=" + b64("cli?>~~key~~~")}, "cli?>~~key~~~", nil, left{}, ""},
		{"base64 without padding", encoded, key, left{query: "auth=" + strings.TrimRight(b64("abcd"), "=")}, "abcd", nil, left{}, ""},
		{"base64, percent-encoded", encoded, key, left{query: "auth=" + url.QueryEscape(b64("cli?>~~key"))}, "cli?>~~key", nil, left{}, ""},
		{"base64url", encoded, key, left{query: "auth=" + base64.URLEncoding.EncodeToString([]byte("cli?>~~key"))}, "cli?>~~key", nil, left{}, ""},
		{"no base64", encoded, key, left{query: "auth=k:1"}, "", errMalformed, left{}, ""},
		{"no credential in base64", encoded, key, left{query: "auth=" + b64("a b")}, "", errMalformed, left{}, ""},

		{"a cookie alone", cookie, OAuth2, left{header: cookies("sid=t")}, "t", nil, left{header: http.Header{}}, ""},
		{"a cookie first", cookie, OAuth2, left{header: cookies("sid=t; a=%20;b=+ ;c")}, "t", nil, left{header: cookies("a=%20;b=+ ;c")}, ""},
		{"a cookie between", cookie, OAuth2, left{header: cookies("a=1;  sid=t; b=2")}, "t", nil, left{header: cookies("a=1; b=2")}, ""},
		{"a cookie last", cookie, OAuth2, left{header: cookies("a=1; sid=t")}, "t", nil, left{header: cookies("a=1")}, ""},
		{"in quotes", cookie, OAuth2, left{header: cookies(`a="1"; sid="t"`)}, "t", nil, left{header: cookies(`a="1"`)}, ""},
		{"on the second line", cookie, OAuth2, left{header: cookies("a=1", "sid=t")}, "t", nil, left{header: cookies("a=1")}, ""},
		{"in another case", cookie, OAuth2, left{header: cookies("SID=t; xsid=t; sid2=t")}, "", ErrMissing, left{header: cookies("SID=t; xsid=t; sid2=t")}, ""},
		{"without a value", cookie, OAuth2, left{header: cookies("sid=; a=1; sid")}, "", ErrMissing, left{header: cookies("a=1")}, ""},
		{"two of the name", cookie, OAuth2, left{header: cookies("sid=t; a=1; sid=t")}, "", errMalformed, left{header: cookies("a=1")}, ""},
		{"no token in the cookie", cookie, OAuth2, left{header: cookies("sid=a%20b")}, "", errMalformed, left{header: http.Header{}}, ""},

		{"a pair", protocol, OAuth2, left{protocols: []string{"bearer", "t"}}, "t", nil, left{}, "bearer"},
		{"a pair among others", protocol, OAuth2, left{protocols: []string{"mqtt", "bearer", "t", "v2"}}, "t", nil, left{protocols: []string{"mqtt", "v2"}}, "bearer"},
		{"bearer alone", protocol, OAuth2, left{protocols: []string{"bearer"}}, "", ErrMissing, left{protocols: []string{"bearer"}}, ""},
		{"bearer last", protocol, OAuth2, left{protocols: []string{"t", "bearer"}}, "", ErrMissing, left{protocols: []string{"t", "bearer"}}, ""},
		{"Kubernetes' form", protocol, key, left{protocols: []string{k8s("k:1"), "mqtt"}}, "k:1", nil, left{protocols: []string{"mqtt"}}, ""},
		{"Kubernetes' form behind bearer", protocol, OAuth2, left{protocols: []string{"bearer", k8s("t")}}, "t", nil, left{protocols: []string{"bearer"}}, ""},
		{"Kubernetes' form alone", protocol, OAuth2, left{protocols: []string{k8s("t")}}, "", ErrAlone, left{}, ""},
		{"Kubernetes' form of nothing", protocol, OAuth2, left{protocols: []string{kubernetes, "a"}}, "", errMalformed, left{protocols: []string{"a"}}, ""},
		{"no base64url there", protocol, OAuth2, left{protocols: []string{kubernetes + "!", "a"}}, "", errMalformed, left{protocols: []string{"a"}}, ""},
		{"both forms", protocol, OAuth2, left{protocols: []string{"bearer", "t", "a", k8s("t")}}, "", errMalformed, left{protocols: []string{"a"}}, "bearer"},
		{"none", protocol, OAuth2, left{protocols: []string{"a", "b"}}, "", ErrMissing, left{protocols: []string{"a", "b"}}, ""},

		{"a first message", Place{Part: FirstMessage, Message: &Message{}}, OAuth2, left{}, "", ErrMissing, left{}, ""},
	} {
		h := Handshake{Header: tt.in.header, Query: tt.in.query, Protocols: slices.Clone(tt.in.protocols)}
		got, err := Take([]Scheme{{Type: tt.typ, Places: []Place{tt.place}}}, &h)
		if got.Value != tt.want || !errors.Is(err, tt.err) || got.Answer != tt.answer || err == nil && (got.Type != tt.typ || got.Part != tt.place.Part) {
			t.Errorf("%s: Take = %+v, %v, want %q, %v and the answer %q", tt.name, got, err, tt.want, tt.err, tt.answer)
		}
		if !sameHeader(h.Header, tt.left.header) || h.Query != tt.left.query || !slices.Equal(h.Protocols, tt.left.protocols) {
			t.Errorf("%s: Take left %v, %q, %q, want %v, %q, %q", tt.name, h.Header, h.Query, h.Protocols, tt.left.header, tt.left.query, tt.left.protocols)
		}
	}
}

func sameHeader(a, b http.Header) bool {
	for name := range a {
		if !slices.Equal(a[name], b[name]) {
			return false
		}
	}
	return len(a) == len(b)
}

// everyPlace lists one place of each kind.
func everyPlace() []Scheme {
	return []Scheme{
		{Type: OAuth2, Places: append(OAuth2Places(), InCookie("sid"), InSubprotocol())},
		{Type: key, Places: []Place{InHeader("apikey", Raw), InQuery("apikey", Raw), InQuery("auth", Base64), {Part: FirstMessage, Message: &Message{}}}},
	}
}

// TestTakeInOrder: the first place that holds a credential decides, and all are emptied,
// used or not.
func TestTakeInOrder(t *testing.T) {
	whole := func() *Handshake {
		return &Handshake{
			Header: http.Header{"Authorization": {"Bearer t1"}, "Cookie": {"a=1; sid=t3"}, "Apikey": {"k5"}, "B": {"1"}},
			Query:  "access_token=t2&apikey=k6&c=1&auth=" + b64("k7"), Protocols: []string{"bearer", "t4", "mqtt"},
		}
	}
	remove := []func(h *Handshake){
		func(h *Handshake) { delete(h.Header, "Authorization") },
		func(h *Handshake) { h.Query = strings.Replace(h.Query, "access_token=t2", "d", 1) },
		func(h *Handshake) { h.Header["Cookie"] = []string{"a=1"} },
		func(h *Handshake) { h.Protocols = []string{"mqtt"} },
		func(h *Handshake) { delete(h.Header, "Apikey") },
		func(h *Handshake) { h.Query = strings.Replace(h.Query, "apikey=k6&", "", 1) },
		func(h *Handshake) { h.Query, _, _ = strings.Cut(h.Query, "&auth") },
	}
	for i, want := range []string{"t1", "t2", "t3", "t4", "k5", "k6", "k7", ""} {
		h := whole()
		for _, f := range remove[:i] {
			f(h)
		}
		got, err := Take(everyPlace(), h)
		if got.Value != want || (err == nil) != (want != "") || want != "" && (got.Type == OAuth2) != (want[0] == 't') {
			t.Errorf("without %d places: Take = %+v, %v, want %q", i, got, err, want)
		}
		if query := strings.TrimPrefix(h.Query, "d&"); len(h.Header) != 2 || h.Header.Get("Cookie") != "a=1" || query != "c=1" || !slices.Equal(h.Protocols, []string{"mqtt"}) {
			t.Errorf("without %d places: Take left %v, %q, %q, want what is no place", i, h.Header, h.Query, h.Protocols)
		}
	}
}

// A credential that is malformed decides, too: no other place is tried.
func TestTakeDoesNotFallBack(t *testing.T) {
	for name, h := range map[string]Handshake{
		"header":   {Header: http.Header{"Authorization": {"Bearer a b"}, "Cookie": {"sid=t"}}},
		"query":    {Header: http.Header{"Cookie": {"sid=t"}}, Query: "access_token=a&access_token=b"},
		"cookie":   {Header: http.Header{"Cookie": {"sid=t; sid=u"}}, Protocols: []string{"bearer", "t"}},
		"protocol": {Header: http.Header{"Apikey": {"k"}}, Protocols: []string{kubernetes + "!", "a"}},
	} {
		if got, err := Take(everyPlace(), &h); !errors.Is(err, errMalformed) {
			t.Errorf("%s: Take = %+v, %v, want that it is malformed", name, got, err)
		}
	}
}

// FuzzTake checks that exactly what a backend could take for the credential is removed
// from a query and from cookies, and that the rest stays as it is, byte for byte and in
// order.
func FuzzTake(f *testing.F) {
	for _, q := range []string{
		"", "access_token=x", "a=1&access_token=x&b", "access%5Ftoken=%61", "&&=&access_token",
		"access_token2=x&access_token=%2B%2b+", "%zz=1&access_token=%", "access_token=a&access_token=b", "auth=YQ&apikey=a&access_token=",
	} {
		f.Add("Bearer abc", q, "sid=x; a=1", "bearer,x,mqtt")
		f.Add("", q, ";;sid;a=\"sid=x\"; sid=\"", "")
	}
	f.Fuzz(func(t *testing.T, authorization, query, cookies, offered string) {
		named := func(name string) bool { return name == "access_token" || name == "apikey" || name == "auth" }
		protocols := strings.Split(offered, ",")
		h := Handshake{Header: http.Header{"Authorization": {authorization}, "Cookie": {cookies}}, Query: query, Protocols: slices.Clone(protocols)}
		c, err := Take(everyPlace(), &h)
		if (c.Value == "") == (err == nil) {
			t.Fatalf("Take(%q, %q, %q, %q) = %+v, %v, want either a credential or an error", authorization, query, cookies, offered, c, err)
		}
		if got, want := strings.Split(h.Query, "&"), otherPieces(query, named); !slices.Equal(got, want) {
			t.Fatalf("Take(%q) left the pieces %q, want %q", query, got, want)
		}
		left, want := strings.Join(h.Header["Cookie"], ""), otherCookies(cookies)
		if left != want {
			t.Fatalf("Take of the cookies %q left %q, want %q", cookies, left, want)
		}
		for _, name := range h.Protocols {
			if !slices.Contains(protocols, name) || strings.HasPrefix(name, kubernetes) {
				t.Fatalf("Take of the protocols %q left %q", protocols, name)
			}
		}
		if again, err := Take(everyPlace()[:1], &Handshake{Header: h.Header, Query: h.Query}); !errors.Is(err, ErrMissing) {
			t.Fatalf("Take of what Take(%q, %q) left = %+v, %v, want no credential", query, cookies, again, err)
		}
	})
}

// otherPieces returns what must be left of a query, found by decoding names.
func otherPieces(query string, named func(string) bool) []string {
	var kept []string
	for piece := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(piece, "=")
		if decoded, err := url.PathUnescape(name); err != nil || !named(decoded) {
			kept = append(kept, piece)
		}
	}
	if kept == nil {
		return []string{""}
	}
	return kept
}

// otherCookies returns what must be left of a Cookie line.
func otherCookies(line string) string {
	var kept []string
	all := strings.Split(line, ";")
	for _, cookie := range all {
		name, _, _ := strings.Cut(cookie, "=")
		if strings.Trim(name, " \t") != "sid" {
			kept = append(kept, cookie)
		}
	}
	if len(kept) == len(all) {
		return line
	}
	return strings.TrimLeft(strings.Join(kept, ";"), " \t")
}
