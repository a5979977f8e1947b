package handshake

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/kit/apikey"
	"github.com/tidegatehq/tidegate/services/kit/permit"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
)

// keyed are the schemes of a version that takes API keys alone, and tokened those of one
// that takes tokens too.
var (
	keyed   = []credential.Scheme{{Type: credential.APIKey, Places: credential.APIKeyPlaces()}}
	tokened = append([]credential.Scheme{{Type: credential.OAuth2, Places: credential.OAuth2Places()}}, keyed...)
)

// key adds an API key whose grant edit changes, and returns its value.
func (w *world) key(edit func(*grant.Grant)) string {
	w.t.Helper()
	g := &grant.Grant{
		Name: "grants/k", APIKey: "applications/1/apiKeys/k", Application: "applications/1", Stage: grant.Production,
		RestsOn: []string{"grants/k", "applications/1/apiKeys/k"},
	}
	if edit != nil {
		edit(g)
	}
	value := apikey.Declared()[0].Make()
	w.grants.mu.Lock()
	defer w.grants.mu.Unlock()
	w.grants.byToken[value] = g
	return value
}

// count is how many credentials were looked up.
func (g *grants) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.asked)
}

// status sends a handshake and returns the status and the code of its answer.
func (w *world) status(target, lines string) string {
	w.t.Helper()
	a := w.ask(target, lines)
	return strings.TrimSpace(fmt.Sprint(a.StatusCode, " ", a.Code))
}

// TestAPIKeys: where a key may be, what is no key, and what another scheme takes.
func TestAPIKeys(t *testing.T) {
	w := newWorld(t, nil)
	dialled := make(chan string, 100)
	url := recording(t, dialled)
	value := w.key(nil)
	for _, tt := range []struct {
		name          string
		schemes       []credential.Scheme
		target, lines string
		want          string
		asked         bool
	}{
		{"in the header", keyed, "/echo/1.0.0", "apikey: " + value + "\r\n", "101", true},
		{"in the query", keyed, "/echo/1.0.0?a=1&apikey=" + value, "", "101", true},
		{"beside tokens", tokened, "/echo/1.0.0", "apikey: " + value + "\r\n", "101", true},
		{"the first place decides", tokened, "/echo/1.0.0", "Authorization: Bearer bad\r\napikey: " + value + "\r\n", "401 CREDENTIAL_INVALID", true},
		{"where the scheme is off", tokened[:1], "/echo/1.0.0", "apikey: " + value + "\r\n", "401 CREDENTIAL_MISSING", false},
		{"in the query where the scheme is off", tokened[:1], "/echo/1.0.0?apikey=" + value, "", "401 CREDENTIAL_MISSING", false},
		{"as a token", tokened, "/echo/1.0.0", "Authorization: Bearer " + value + "x\r\n", "401 CREDENTIAL_INVALID", true},
		{"a token at a key-only API", keyed, "/echo/1.0.0", good, "401 CREDENTIAL_MISSING", false},
		{"a token as a key", keyed, "/echo/1.0.0", "apikey: good\r\n", "401 CREDENTIAL_INVALID", false},
		{"nonsense as a key", keyed, "/echo/1.0.0", "apikey: " + value[:len(value)-1] + "!\r\n", "401 CREDENTIAL_INVALID", false},
		{"a key that nobody has", keyed, "/echo/1.0.0", "apikey: " + apikey.Declared()[0].Make() + "\r\n", "401 CREDENTIAL_INVALID", true},
		{"twice", keyed, "/echo/1.0.0", "apikey: " + value + "\r\napikey: " + value + "\r\n", "401 CREDENTIAL_INVALID", false},
	} {
		w.serve(url, func(r *routes.Route) { r.Schemes = tt.schemes })
		before := w.grants.count()
		if got := w.status(tt.target, tt.lines); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
		if asked := w.grants.count() > before; asked != tt.asked {
			t.Errorf("%s: it was looked up: %v, want %v", tt.name, asked, tt.asked)
		}
		if tt.want == "101" {
			if head := <-dialled; strings.Contains(head, value) || strings.Contains(strings.ToLower(head), "apikey") {
				t.Errorf("%s: the backend got the key:\n%s", tt.name, head)
			}
		}
	}
}

// TestAPIKeyAddresses: a key that is limited to addresses is judged at every handshake with
// the address that the gateway knows, whatever an untrusted client says of itself.
func TestAPIKeyAddresses(t *testing.T) {
	forwarded := "X-Forwarded-For: 192.0.2.7\r\nForwarded: for=192.0.2.7\r\n"
	for _, tt := range []struct {
		name, permitted, lines string
		trusted                bool
		want                   string
	}{
		{"the caller's", "127.0.0.1/32", "", false, "101"},
		{"its network", "127.0.0.0/8", "", false, "101"},
		{"another", "192.0.2.7/32", "", false, "403 ADDRESS_REFUSED"},
		{"another of IPv6", "2001:db8::/32", "", false, "403 ADDRESS_REFUSED"},
		{"what an untrusted client says", "192.0.2.7/32", forwarded, false, "403 ADDRESS_REFUSED"},
		{"what a trusted proxy says", "192.0.2.7/32", forwarded, true, "101"},
		{"a trusted proxy's own", "127.0.0.1/32", forwarded, true, "403 ADDRESS_REFUSED"},
	} {
		w := newWorld(t, func(c *listener.Config) {
			if tt.trusted {
				c.Proxies.Trusted = proxies.Networks{netip.MustParsePrefix("127.0.0.0/8")}
			}
		})
		url := recording(t, make(chan string, 10))
		w.serve(url, func(r *routes.Route) { r.Schemes = keyed })
		value := w.key(func(g *grant.Grant) { g.Addresses = []netip.Prefix{netip.MustParsePrefix(tt.permitted)} })
		for range 2 { // a verdict is not kept
			if got := w.status("/echo/1.0.0", "apikey: "+value+"\r\n"+tt.lines); got != tt.want {
				t.Errorf("permitted is %s, %s: %s, want %s", tt.permitted, tt.name, got, tt.want)
			}
		}
	}
}

// TestAPIKeyReferers: a key that is limited to pages needs a page that is permitted.
func TestAPIKeyReferers(t *testing.T) {
	w := newWorld(t, nil)
	url := recording(t, make(chan string, 100))
	w.serve(url, func(r *routes.Route) { r.Schemes = keyed })
	for _, tt := range []struct{ permitted, lines, want string }{
		{"https://shop.example.com/app/page", "Referer: https://shop.example.com/app/page?q=1\r\n", "101"},
		{"https://shop.example.com/app/page", "Referer: https://shop.example.com/app/other\r\n", "403 REFERER_REFUSED"},
		{"shop.example.com/app/*", "Referer: https://shop.example.com/app/deep/page\r\n", "101"},
		{"shop.example.com/app/*", "Referer: https://shop.example.com/admin\r\n", "403 REFERER_REFUSED"},
		{"*.example.com", "Referer: https://a.b.example.com/\r\n", "101"},
		{"*.example.com", "Referer: https://example.org/\r\n", "403 REFERER_REFUSED"},
		{"*.example.com", "", "403 REFERER_REFUSED"},
		{"*.example.com", "Origin: https://a.example.com\r\n", "101"},
		{"*.example.com", "Origin: https://a.example.org\r\n", "403 REFERER_REFUSED"},
		{"*.example.com", "Referer: https://a.example.org/\r\nOrigin: https://a.example.com\r\n", "403 REFERER_REFUSED"},
	} {
		pattern, err := permit.ParseReferer(tt.permitted)
		if err != nil {
			t.Fatal(err)
		}
		value := w.key(func(g *grant.Grant) { g.Referers = []permit.Referer{pattern} })
		if got := w.status("/echo/1.0.0", "apikey: "+value+"\r\n"+tt.lines); got != tt.want {
			t.Errorf("permitted is %s, sent %q: %s, want %s", tt.permitted, tt.lines, got, tt.want)
		}
	}
}
