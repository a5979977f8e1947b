package permit_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/permit"
)

func TestAddresses(t *testing.T) {
	for _, tt := range []struct {
		text, client string
		want         bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"::ffff:192.0.2.1", "192.0.2.1", true},
		{"192.0.2.0/24", "192.0.2.255", true},
		{"192.0.2.0/24", "192.0.3.0", false},
		{"::ffff:192.0.2.0/120", "192.0.2.7", true},
		{"2001:db8::1", "2001:DB8:0::1", true},
		{"2001:db8::/48", "2001:db8:0:ffff::1", true},
		{"2001:db8::/48", "2001:db8:1::1", false},
		{"fe80::1", "fe80::1%eth0", true},
		{"0.0.0.0/0", "198.51.100.1", true},
		{"0.0.0.0/0", "2001:db8::1", false},
		{"::/0", "198.51.100.1", false},
	} {
		p, err := netaddr.ParseNetwork(tt.text)
		if err != nil {
			t.Errorf("ParseNetwork(%q): %v", tt.text, err)
			continue
		}
		if got := permit.Address([]netip.Prefix{p}, netip.MustParseAddr(tt.client)); got != tt.want {
			t.Errorf("%s permits %s: %v, want %v", tt.text, tt.client, got, tt.want)
		}
	}
	if !permit.Address(nil, netip.Addr{}) {
		t.Error("an empty list refuses an address that is not known")
	}
	if permit.Address([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}, netip.Addr{}) {
		t.Error("a list permits an address that is not known")
	}
}

func TestReferers(t *testing.T) {
	for _, tt := range []struct {
		pattern, referer string
		want             bool
	}{
		// A host alone.
		{"shop.example.com", "https://shop.example.com", true},
		{"shop.example.com", "http://shop.example.com/any/page?q=1#f", true},
		{"shop.example.com", "https://SHOP.Example.com:443/", true},
		{"shop.example.com", "https://shop.example.com:8443/", false},
		{"shop.example.com", "https://a.shop.example.com/", false},
		{"shop.example.com", "https://shop.example.com.evil.test/", false},
		{"shop.example.com", "https://evil.test/shop.example.com", false},
		{"shop.example.com", "https://shop.example.com@evil.test/", false},
		{"https://shop.example.com", "https://shop.example.com/", true},
		{"https://shop.example.com", "http://shop.example.com/", false},
		{"https://shop.example.com:443", "https://shop.example.com/", true},
		{"localhost:3000", "http://localhost:3000/", true},
		{"localhost:3000", "http://localhost/", false},
		{"[::1]:3000", "http://[::1]:3000/", true},
		// One page.
		{"example.com/app", "https://example.com/app", true},
		{"example.com/app", "https://example.com/app?x=/other", true},
		{"example.com/app", "https://example.com/app/", false},
		{"example.com/app", "https://example.com/application", false},
		{"example.com/", "https://example.com", true},
		{"example.com/", "https://example.com/other", false},
		// A path and what is below it.
		{"example.com/app/*", "https://example.com/app/", true},
		{"example.com/app/*", "https://example.com/app/deep/page", true},
		{"example.com/app/*", "https://example.com/app", false},
		{"example.com/app/*", "https://example.com/application/", false},
		{"example.com/app/*", "https://example.com/app/../admin", false},
		{"example.com/app/*", "https://example.com/app/%2e%2E/admin", false},
		{"example.com/app/*", "https://a.example.com/app/", false},
		{"example.com/*", "https://example.com/any", true},
		// All hosts below one.
		{"*.example.com", "https://a.example.com/any", true},
		{"*.example.com/*", "https://a.b.example.com/any", true},
		{"*.example.com", "https://example.com/", false},
		{"*.example.com", "https://badexample.com/", false},
		{"*.example.com/app/*", "https://a.example.com/app/x", true},
		{"*.example.com/app/*", "https://a.example.com/x", false},
		// What is no page.
		{"example.com", "", false},
		{"example.com", "null", false},
		{"example.com", "example.com", false},
		{"example.com", "file:///example.com", false},
		{"example.com", "https://example.com:port/", false},
		{"example.com", "https:///example.com", false},
	} {
		r, err := permit.ParseReferer(tt.pattern)
		if err != nil {
			t.Errorf("ParseReferer(%q): %v", tt.pattern, err)
			continue
		}
		if got := permit.Pages([]permit.Referer{r}, permit.PageOf([]string{tt.referer}, nil)); got != tt.want {
			t.Errorf("%s permits %q: %v, want %v", tt.pattern, tt.referer, got, tt.want)
		}
	}
}

// Browsers send no Referer with the handshake of a WebSocket.
func TestWhereThereIsNoRefererTheOriginDecides(t *testing.T) {
	for _, tt := range []struct {
		pattern         string
		referer, origin []string
		want            bool
	}{
		{"example.com", nil, []string{"https://example.com"}, true},
		{"*.example.com/*", nil, []string{"https://a.example.com"}, true},
		{"example.com", nil, []string{"https://other.test"}, false},
		{"example.com", nil, []string{"null"}, false},
		{"example.com/app/*", nil, []string{"https://example.com"}, false},
		{"example.com", nil, nil, false},
		{"example.com", nil, []string{"https://example.com", "https://example.com"}, false},
		{"example.com", []string{"https://other.test/"}, []string{"https://example.com"}, false},
		{"example.com", []string{""}, []string{"https://example.com"}, false},
		{"example.com", []string{"https://example.com/", "https://example.com/"}, []string{"https://example.com"}, false},
	} {
		r, err := permit.ParseReferer(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := permit.Pages([]permit.Referer{r}, permit.PageOf(tt.referer, tt.origin)); got != tt.want {
			t.Errorf("%s permits Referer %q, Origin %q: %v, want %v", tt.pattern, tt.referer, tt.origin, got, tt.want)
		}
	}
	if !permit.Pages(nil, permit.Page{}) {
		t.Error("an empty list refuses a handshake of no page")
	}
}

func TestReferersThatAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "must be a host",
		"*":                       "leave the list empty",
		"*/*":                     "leave the list empty",
		"ftp://example.com":       "must be a host",
		"https://":                "must be a host",
		"example..com":            "must be a host",
		"exa mple.com":            "must be a host",
		"bücher.example":          "must be a host",
		"example.com:0":           "must be a host",
		"example.com:99999":       "must be a host",
		"*.192.0.2.1":             "must be a host",
		"[::1":                    "must be a host",
		"user@example.com":        "no query, fragment or user",
		"example.com/?q":          "no query, fragment or user",
		"example.com/#f":          "no query, fragment or user",
		"a.*.example.com":         "* only as",
		"*example.com":            "* only as",
		"example.com/*/x":         "* only as",
		"example.com/app*":        "* only as",
		"example.com/../x":        ". or ..",
		"example.com/%2E%2e/x":    ". or ..",
		"example.com/caf\u00e9":   "must be a host",
		"example.com/with space/": "must be a host",
	} {
		if r, err := permit.ParseReferer(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseReferer(%q) = %v, %v, want an error with %q", text, r, err, want)
		}
	}
}

func TestRefererIsShownAsItIsRead(t *testing.T) {
	for text, want := range map[string]string{
		"Example.COM": "example.com", "HTTPS://example.com:443/App": "https://example.com/App", "*.example.com/*": "*.example.com",
		"example.com/app/*": "example.com/app/*", "example.com/": "example.com/", "http://[::1]:80/a": "http://[::1]/a",
	} {
		r, err := permit.ParseReferer(text)
		if err != nil || r.String() != want {
			t.Errorf("ParseReferer(%q) = %s, %v, want %s", text, r, err, want)
			continue
		}
		if again, err := permit.ParseReferer(r.String()); err != nil || again != r {
			t.Errorf("ParseReferer(%q) = %s, %v, want %s", r, again, err, r)
		}
	}
}

// What anybody sends as a Referer is read without a panic, and what is permitted has the
// host of the pattern.
func FuzzPage(f *testing.F) {
	for _, s := range []string{"https://a.example.com/app/x?q#f", "http://[::1]:80/", "://", "https://a.example.com:/", "https://x@a.example.com/"} {
		f.Add(s)
	}
	patterns := make([]permit.Referer, 0, 2)
	for _, text := range []string{"*.example.com/app/*", "https://example.com"} {
		r, err := permit.ParseReferer(text)
		if err != nil {
			f.Fatal(err)
		}
		patterns = append(patterns, r)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if permit.Pages(patterns, permit.PageOf([]string{s}, nil)) && !strings.Contains(strings.ToLower(s), "example.com") {
			t.Errorf("%q is permitted", s)
		}
	})
}
