package credential

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegatehq/tidegate/services/kit/apikey"
	"github.com/tidegatehq/tidegate/services/kit/madesecret"
)

const ourIssuer = "https://issuer.test"

// jwt returns a token with this header and these claims, which need no signature to
// be recognized.
func jwt(header, claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(header)) + "." + encode([]byte(claims)) + "." + encode([]byte(strings.Repeat("signature", 7)))
}

var (
	application = jwt(`{"alg":"ES256","kid":"k","typ":"at+jwt"}`, `{"aud":["x"],"iss":"https://issuer.test","sub":"a"}`)
	user        = jwt(`{"alg":"ES256","kid":"k","typ":"tidegate-user+jwt"}`, `{"iss":"https://issuer.test","sub":"users/a"}`)
	foreign     = jwt(`{"alg":"ES256","kid":"k","typ":"at+jwt"}`, `{"iss":"https://another.test","sub":"a"}`)
	secret      = madesecret.Make(madesecret.ClientSecret, "0123456789abcdefABCDEF-_0123456789abcdefABC")
	refresh     = madesecret.Make(madesecret.RefreshToken, "0123456789abcdefABCDEF-_")
	ours        = []string{application, user, secret, refresh}
)

// escaped percent-encodes every byte.
func escaped(s string) string {
	const hex = "0123456789aBcDeF"
	var b strings.Builder
	for i := range len(s) {
		b.Write([]byte{'%', hex[s[i]>>4], hex[s[i]&15]})
	}
	return b.String()
}

// dots percent-encodes what no encoder has to.
func dots(s string) string { return strings.NewReplacer(".", "%2E", "_", "%5f").Replace(s) }

// encodings are the ways in which a credential may come.
var encodings = map[string]func(string) string{
	"plain":             func(s string) string { return s },
	"percent":           escaped,
	"partly percent":    dots,
	"base64":            func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"raw base64":        func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) },
	"base64url":         func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
	"raw base64url":     func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base64 of a line":  func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s + "\n")) },
	"base64 in percent": func(s string) string { return escaped(base64.StdEncoding.EncodeToString([]byte(s))) },
	"base64 of Bearer":  func(s string) string { return base64.StdEncoding.EncodeToString([]byte("Bearer " + s)) },
	"Bearer":            func(s string) string { return "Bearer " + s },
	"bearer":            func(s string) string { return "bEARER   " + s },
	"Bearer in percent": func(s string) string { return "Bearer%20" + s },
	"Bearer of base64":  func(s string) string { return "Bearer " + base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"Token":             func(s string) string { return "Token " + s },
	"Basic, password":   func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte("tgci_X:"+s)) },
	"Basic, user":       func(s string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(s+":")) },
	"quoted":            func(s string) string { return `"` + s + `"` },
	"quotes in percent": func(s string) string { return "%22" + s + "%22" },
	"a line in percent": func(s string) string { return s + "%0a" },
	"Kubernetes":        func(s string) string { return kubernetes + base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"a form's Bearer":   func(s string) string { return "Bearer+" + s },
}

func TestRecognizer(t *testing.T) {
	for name, encode := range encodings {
		for _, credential := range ours {
			if r := NewRecognizer(ourIssuer, apikey.Declared()); !r.Holds(encode(credential)) {
				t.Errorf("%s: Holds(%q) = false", name, encode(credential))
			}
		}
		if r := NewRecognizer(ourIssuer, apikey.Declared()); r.Holds(encode(foreign)) {
			t.Errorf("%s: Holds(%q) = true for a token of another issuer", name, encode(foreign))
		}
	}
}

func TestRecognizerLeavesWhatIsNotOurs(t *testing.T) {
	r := NewRecognizer(ourIssuer, apikey.Declared())
	for _, value := range []string{
		"", "a", "Bearer", "Bearer ", strings.Repeat("a", 100), strings.Repeat("%", 100), strings.Repeat(" ", 100), strings.Repeat("=", 100),
		foreign, secret[:len(secret)-1] + "x", secret + "x", "tgci_ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
		application + ".x", application + "!", application[:strings.LastIndexByte(application, '.')], "eyJ..", "eyJ" + strings.Repeat("a", 100),
		jwt(`{}`, `[]`), jwt(`{}`, `{"iss":["https://issuer.test"]}`), jwt(`{}`, `{"iss":"https://issuer.test/"}`), jwt(`{}`, "x"),
		"Basic " + base64.StdEncoding.EncodeToString([]byte("user:a password that is nobody's concern")),
		"permessage-deflate; client_max_window_bits; server_no_context_takeover", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
		base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte(application)))), // twice is not searched
	} {
		if r.Holds(value) {
			t.Errorf("Holds(%q) = true", value)
		}
	}
}

// While the issuer is not known, a token that may be ours does not go to a backend.
func TestRecognizerWithoutIssuerTakesEveryTokenOfOurTypes(t *testing.T) {
	r := NewRecognizer("", apikey.Declared())
	other := jwt(`{"alg":"RS256","typ":"JWT"}`, `{"iss":"https://issuer.test"}`)
	for token, want := range map[string]bool{application: true, user: true, foreign: true, other: false} {
		if got := r.Holds(token); got != want {
			t.Errorf("Holds(%q) = %v, want %v", token, got, want)
		}
	}
	r.Learn(ourIssuer)
	if !r.Holds(application) || r.Holds(foreign) || r.Issuer() != ourIssuer {
		t.Error("once the issuer is known, its tokens alone are ours")
	}
}

func TestRemoveFromHeaders(t *testing.T) {
	r := NewRecognizer(ourIssuer, apikey.Declared())
	h := http.Header{
		"Authorization": {"Bearer " + application}, "X-Api-Key": {secret}, "X-Two": {"a", user, "b"}, "X-List": {"a, Bearer " + user},
		"X-Foreign": {"Bearer " + foreign}, "X-Forged": {application + "xx, y"}, "User-Agent": {"a"},
	}
	want := http.Header{"X-Two": {"a", "b"}, "X-Foreign": {"Bearer " + foreign}, "User-Agent": {"a"}}
	two := h["X-Two"]
	r.Remove(h, nil, "")
	if !maps.EqualFunc(h, want, slices.Equal) {
		t.Errorf("Remove left %q, want %q", h, want)
	}
	if two[1] != user {
		t.Error("Remove changed the lines of the request that is logged elsewhere")
	}
}

func TestRemoveFromCookies(t *testing.T) {
	r := NewRecognizer(ourIssuer, apikey.Declared())
	for _, tt := range []struct {
		name     string
		in, want []string
	}{
		{"nothing of ours", []string{"a=1; b=2;c; =;"}, []string{"a=1; b=2;c; =;"}},
		{"first", []string{"t=" + application + "; a=1; b=2"}, []string{"a=1; b=2"}},
		{"middle", []string{"a=1; t=" + user + "; b=2"}, []string{"a=1; b=2"}},
		{"last", []string{"a=1; b=2; t=" + secret}, []string{"a=1; b=2"}},
		{"alone", []string{"t=" + secret}, nil},
		{"quoted", []string{`a=1; t="` + secret + `"; b="x"`}, []string{`a=1; b="x"`}},
		{"without a name", []string{"a=1; " + secret}, []string{"a=1"}},
		{"one of two lines", []string{"t=" + secret, "a=1"}, []string{"a=1"}},
		{"foreign", []string{"t=" + foreign}, []string{"t=" + foreign}},
		{"of the pages", []string{"__Host-tidegate=x; a=1; tidegate-theme=dark; __SECURE-TideGate_x=y"}, []string{"a=1"}},
		{"of the pages, without a value", []string{"a=1;tidegate"}, []string{"a=1"}},
		{"not of the pages", []string{"my-tidegate=x; __Host-a=1"}, []string{"my-tidegate=x; __Host-a=1"}},
	} {
		h := http.Header{"Cookie": slices.Clone(tt.in)}
		r.Remove(h, nil, "")
		if got := h["Cookie"]; !slices.Equal(got, tt.want) {
			t.Errorf("%s: Remove left %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestRemoveFromProtocols(t *testing.T) {
	r := NewRecognizer(ourIssuer, apikey.Declared())
	offered := []string{"bearer", application, "mqtt", kubernetes + base64.RawURLEncoding.EncodeToString([]byte(user)), foreign}
	before := slices.Clone(offered)
	got, _ := r.Remove(nil, offered, "")
	if want := []string{"bearer", "mqtt", foreign}; !slices.Equal(got, want) {
		t.Errorf("Remove left %q, want %q", got, want)
	}
	if !slices.Equal(offered, before) {
		t.Error("Remove changed the list that it was given")
	}
}

func TestRemoveFromQueries(t *testing.T) {
	r := NewRecognizer(ourIssuer, apikey.Declared())
	for _, tt := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"nothing of ours", "a=%2B+%zz&&b&=;c=", "a=%2B+%zz&&b&=;c="},
		{"first", "t=" + application + "&a=%2b+1&b", "a=%2b+1&b"},
		{"middle", "&a&t=" + secret + "&&b=", "&a&&b="},
		{"last", "a=1&t=" + escaped(user), "a=1"},
		{"alone", "t=" + refresh, ""},
		{"without a name", "a=1&" + secret, "a=1"},
		{"as a name", "a=1&" + secret + "=", "a=1"},
		{"padding that is not encoded", "t=" + encodings["base64"](refresh), ""},
		{"behind a semicolon", "a=1;t=" + secret + "&b=2", "a=1&b=2"},
		{"before a semicolon", "a=1&t=" + secret + ";b=2", "a=1&b=2"},
		{"between semicolons", "a=1;t=" + secret + ";b=2", "a=1;b=2"},
		{"foreign", "t=" + foreign, "t=" + foreign},
	} {
		if _, got := r.Remove(nil, nil, tt.in); got != tt.want {
			t.Errorf("%s: Remove(%q) left %q, want %q", tt.name, tt.in, got, tt.want)
		}
	}
}

// TestRemoveLeavesTheRest has values of all kinds beside a credential, and wants them
// back as they were.
func TestRemoveLeavesTheRest(t *testing.T) {
	r := NewRecognizer(ourIssuer, apikey.Declared())
	names := slices.Sorted(maps.Keys(encodings))
	rapid.Check(t, func(t *rapid.T) {
		rest := rapid.SliceOfN(rapid.StringMatching(`[a-z%+=;.0-9-]{0,80}`), 1, 5).Draw(t, "pieces")
		credential := encodings[rapid.SampledFrom(names).Draw(t, "encoding")](rapid.SampledFrom(ours).Draw(t, "credential"))
		at := rapid.IntRange(0, len(rest)).Draw(t, "at")
		query := strings.Join(slices.Insert(slices.Clone(rest), at, "x="+credential), "&")
		if _, got := r.Remove(nil, nil, query); got != strings.Join(rest, "&") {
			t.Errorf("Remove(%q) left %q, want %q", query, got, strings.Join(rest, "&"))
		}
	})
}

// FuzzHolds looks for values that make the recognizer fail, or that hold a credential
// in an encoding that it must know and does not.
func FuzzHolds(f *testing.F) {
	for _, encode := range encodings {
		f.Add(encode(application))
		f.Add(encode(secret))
		f.Add(encode(foreign))
	}
	r := NewRecognizer(ourIssuer, apikey.Declared())
	f.Fuzz(func(t *testing.T, value string) {
		if !r.Holds(value) {
			return
		}
		for name, encode := range encodings {
			if r.is(value) && !r.Holds(encode(value)) {
				t.Errorf("Holds(%q) = true, but not of it in %s, %q", value, name, encode(value))
			}
		}
		if _, rest := r.Remove(http.Header{"X": {value}}, []string{value}, "a&"+strings.NewReplacer("&", "%26", ";", "%3b").Replace(value)); rest != "a" {
			t.Errorf("Remove left %q of %q", rest, value)
		}
	})
}

// A handshake as browsers send it costs nothing to look through.
func TestRemoveDoesNotAllocateForWhatIsNotOurs(t *testing.T) {
	r, h := NewRecognizer(ourIssuer, apikey.Declared()), browser()
	protocols := []string{"graphql-transport-ws"}
	if n := testing.AllocsPerRun(100, func() { r.Remove(h, protocols, "room=12&since=2026-01-01T00%3A00%3A00Z") }); n > 2 {
		t.Errorf("Remove allocates %v times, want 2, for the escaped values", n)
	}
}

func browser() http.Header {
	return http.Header{
		"User-Agent":               {"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"},
		"Accept-Encoding":          {"gzip, deflate, br, zstd"},
		"Accept-Language":          {"en-GB,en;q=0.9,de-DE;q=0.8,de;q=0.7,en-US;q=0.6"},
		"Cache-Control":            {"no-cache"},
		"Connection":               {"Upgrade"},
		"Cookie":                   {"sid=s%3A8f2c1d7e-5b6a-4c3d-9e8f-7a6b5c4d3e2f.2Zr0bq1; _ga=GA1.1.1234567890.1700000000; theme=dark"},
		"Origin":                   {"https://app.example"},
		"Pragma":                   {"no-cache"},
		"Sec-Websocket-Extensions": {"permessage-deflate; client_max_window_bits"},
		"Sec-Websocket-Key":        {"dGhlIHNhbXBsZSBub25jZQ=="},
		"Sec-Websocket-Version":    {"13"},
		"Traceparent":              {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		"Upgrade":                  {"websocket"},
	}
}

func BenchmarkRemove(b *testing.B) {
	r, h := NewRecognizer(ourIssuer, apikey.Declared()), browser()
	b.ReportAllocs()
	for b.Loop() {
		r.Remove(h, nil, "room=12&since=2026-01-01T00%3A00%3A00Z")
	}
}

// TestHide: of what is shown to users, the pieces that are credentials of ours are cut out,
// in every encoding that is recognized.
func TestHide(t *testing.T) {
	r := NewRecognizer("https://issuer.test", apikey.Declared())
	secret := madesecret.Make(madesecret.ClientSecret, strings.Repeat("Ab-_", 10))
	for text, want := range map[string]string{
		"":                             "",
		"/echo/1.0.0/rooms/9":          "/echo/1.0.0/rooms/9",
		"/echo/1.0.0/" + secret + "/x": "/echo/1.0.0/…/x",
		"/echo/1.0.0/token=" + secret:  "/echo/1.0.0/token=…",
		"/" + base64.RawURLEncoding.EncodeToString([]byte(secret)) + "/": "/…/",
		"/%" + fmt.Sprintf("%02X", secret[0]) + secret[1:]:               "/…",
		"curl/8 (Bearer " + secret + ")":                                 "curl/8 (Bearer …)",
		strings.Repeat("/a-path-of-others", 9):                           strings.Repeat("/a-path-of-others", 9),
	} {
		if got := r.Hide(text); got != want {
			t.Errorf("Hide(%q) = %q, want %q", text, got, want)
		}
	}
}
