package proxies_test

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegatehq/tidegate/services/kit/proxies"
)

// trusting returns a configuration with these trusted networks.
func trusting(t *testing.T, networks string) *proxies.Config {
	t.Helper()
	c := &proxies.Config{}
	if err := c.Trusted.Set(networks); err != nil {
		t.Fatalf("Set(%q): %v", networks, err)
	}
	return c
}

// TestNetworks reads what an operator writes, and says what is wrong with it.
func TestNetworks(t *testing.T) {
	c := trusting(t, " 10.0.0.0/8, 192.0.2.7,2001:db8::/32,, ::1")
	if got, want := c.Trusted.String(), "10.0.0.0/8,192.0.2.7/32,2001:db8::/32,::1/128"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	for addr, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "11.0.0.1": false, "192.0.2.7": true, "192.0.2.8": false,
		"2001:db8::5": true, "2001:db9::5": false, "::1": true, "fe80::1%eth0": false,
	} {
		if got := c.Trusts(netip.MustParseAddr(addr)); got != want {
			t.Errorf("Trusts(%s) = %v, want %v", addr, got, want)
		}
	}
	for text, want := range map[string]string{
		"10.0.0.0/33": "is not a network", "proxy.example": "is not a network", "10.0.0.1/8": "10.0.0.0/8 is meant",
		"::ffff:0:0/95": "is not a network",
	} {
		if err := new(proxies.Networks).Set(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Set(%q) = %v, want that it %s", text, err, want)
		}
	}
	var none *proxies.Config
	if none.Trusts(netip.MustParseAddr("10.0.0.1")) || new(proxies.Config).Trusts(netip.MustParseAddr("10.0.0.1")) || c.Trusts(netip.Addr{}) {
		t.Error("nobody is trusted unless an operator says so")
	}
}

// TestProtocolNeedsNetworks refuses the PROXY protocol without networks that may send
// it.
func TestProtocolNeedsNetworks(t *testing.T) {
	c := &proxies.Config{Protocol: true}
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), "-trusted-proxies") {
		t.Errorf("Check() = %v, want that -trusted-proxies is needed", err)
	}
}

// TestChain believes trusted proxies from the right, up to the first address that is
// not theirs, and nobody else.
func TestChain(t *testing.T) {
	const proxy = "10.0.0.1:443"
	for _, test := range []struct {
		name, peer       string
		xff, forwarded   []string
		proto, host      string
		want             []string
		wantProto, wantH string
	}{
		{name: "nobody's word but a proxy's", peer: "192.0.2.9:1", xff: []string{"198.51.100.1"}, forwarded: []string{"for=198.51.100.1"},
			proto: "https", host: "h", want: []string{"192.0.2.9:1"}},
		{name: "no header", peer: proxy, want: []string{proxy}},
		{name: "one", peer: proxy, xff: []string{"198.51.100.1"}, proto: "https", host: "A.example:1",
			want: []string{"198.51.100.1:0", proxy}, wantProto: "https", wantH: "a.example:1"},
		{name: "the client's own word stays left", peer: proxy, xff: []string{"1.1.1.1, garbage,, 198.51.100.1"},
			want: []string{"198.51.100.1:0", proxy}},
		{name: "two proxies, two lines", peer: proxy, xff: []string{"6.6.6.6, 198.51.100.1", "10.9.9.9"},
			want: []string{"198.51.100.1:0", "10.9.9.9:0", proxy}},
		{name: "a client in a trusted network", peer: proxy, xff: []string{"10.7.7.7"}, want: []string{"10.7.7.7:0", proxy}},
		{name: "ports and IPv6", peer: proxy, xff: []string{"[2001:db8::1]:99"}, want: []string{"[2001:db8::1]:99", proxy}},
		{name: "IPv6 alone", peer: proxy, xff: []string{"2001:db8::1"}, want: []string{"[2001:db8::1]:0", proxy}},
		{name: "a port", peer: proxy, xff: []string{"198.51.100.1:5"}, want: []string{"198.51.100.1:5", proxy}},
		{name: "hidden", peer: proxy, xff: []string{"198.51.100.1, unknown"}, want: []string{proxy}},
		{name: "forwarded", peer: proxy, forwarded: []string{`for=6.6.6.6, For="198.51.100.1:80" ; Proto=https;host="h.example"`},
			want: []string{"198.51.100.1:80", proxy}, wantProto: "https", wantH: "h.example"},
		{name: "forwarded IPv6", peer: proxy, forwarded: []string{`for="[2001:db8::1]:_x"`}, want: []string{"[2001:db8::1]:0", proxy}},
		{name: "an open quote of the client's", peer: proxy, forwarded: []string{`for="6.6.6.6, for=198.51.100.1`}, want: []string{"198.51.100.1:0", proxy}},
		{name: "hidden in forwarded", peer: proxy, forwarded: []string{"for=198.51.100.1, for=_hidden"}, want: []string{proxy}},
		{name: "forwarded without for", peer: proxy, forwarded: []string{"proto=https"}, want: []string{proxy}, wantProto: "https"},
		{name: "both", peer: proxy, xff: []string{"198.51.100.1"}, forwarded: []string{"for=198.51.100.1;proto=https"}, proto: "http",
			want: []string{"198.51.100.1:0", proxy}, wantProto: "https"},
		{name: "a scheme that is none", peer: proxy, xff: []string{"198.51.100.1"}, proto: "gopher", host: "a b",
			want: []string{"198.51.100.1:0", proxy}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{}
			h["X-Forwarded-For"], h["Forwarded"] = test.xff, test.forwarded
			if test.proto != "" {
				h["X-Forwarded-Proto"] = []string{test.proto}
			}
			if test.host != "" {
				h["X-Forwarded-Host"] = []string{test.host}
			}
			chain, err := trusting(t, "10.0.0.0/8").Chain(netip.MustParseAddrPort(test.peer), h)
			if err != nil {
				t.Fatalf("Chain: %v", err)
			}
			var got []string
			for _, a := range chain.Addrs {
				got = append(got, a.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			if chain.Proto != test.wantProto || chain.Host != test.wantH {
				t.Errorf("proto and host = %q, %q, want %q, %q", chain.Proto, chain.Host, test.wantProto, test.wantH)
			}
		})
	}
}

// TestChainRefuses does not guess what a trusted proxy may have meant.
func TestChainRefuses(t *testing.T) {
	c, peer := trusting(t, "10.0.0.0/8"), netip.MustParseAddrPort("10.0.0.1:1")
	for _, h := range []http.Header{
		{"X-Forwarded-For": {"client.example"}},
		{"X-Forwarded-For": {"198.51.100.1:http"}},
		{"X-Forwarded-For": {"[198.51.100.1"}},
		{"X-Forwarded-For": {"198.51.100.1:99999"}},
		{"X-Forwarded-For": {"garbage, 10.0.0.2"}},
		{"Forwarded": {"198.51.100.1"}},
		{"Forwarded": {"for=2001:db8::1"}},
		{"Forwarded": {"for=198.51.100.1;for=198.51.100.2"}},
		{"Forwarded": {`for="198.51.100.1\""`}},
		{"Forwarded": {"for="}},
	} {
		if chain, err := c.Chain(peer, h); !errors.Is(err, proxies.ErrMalformed) {
			t.Errorf("Chain(%v) = %v, %v, want ErrMalformed", h, chain, err)
		}
	}
	h := http.Header{"X-Forwarded-For": {"198.51.100.1"}, "Forwarded": {"for=198.51.100.2"}}
	if chain, err := c.Chain(peer, h); !errors.Is(err, proxies.ErrContradiction) {
		t.Errorf("Chain(%v) = %v, %v, want ErrContradiction", h, chain, err)
	}
}

// FuzzChain checks that no header makes the reader panic, and that a peer that is not
// trusted is the client.
func FuzzChain(f *testing.F) {
	f.Add("198.51.100.1, 10.0.0.3", `for="[2001:db8::1]:_x";proto=https, for=unknown`)
	f.Fuzz(func(t *testing.T, xff, forwarded string) {
		h := http.Header{"X-Forwarded-For": {xff}, "Forwarded": {forwarded}}
		peer := netip.MustParseAddrPort("192.0.2.1:1")
		c := trusting(t, "10.0.0.0/8")
		if chain, err := c.Chain(peer, h); err != nil || chain.Client() != peer {
			t.Fatalf("Chain of a stranger = %v, %v, want the peer", chain, err)
		}
		if chain, err := c.Chain(netip.MustParseAddrPort("10.0.0.1:1"), h); err == nil && !chain.Client().IsValid() {
			t.Fatalf("Chain = %v, want a client", chain)
		}
	})
}
