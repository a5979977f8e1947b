package clientaddr_test

import (
	"net/netip"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
)

// TestFrom returns what With put in, in one form for each address.
func TestFrom(t *testing.T) {
	if got := clientaddr.From(t.Context()); got.IsValid() {
		t.Errorf("From without an address = %v, want an invalid one", got)
	}
	ctx := clientaddr.With(t.Context(), netip.MustParseAddr("::ffff:192.0.2.1"))
	if got, want := clientaddr.From(ctx), netip.MustParseAddr("192.0.2.1"); got != want {
		t.Errorf("From = %v, want %v", got, want)
	}
}

// TestNetwork takes an IPv6 host's whole /64 for one client.
func TestNetwork(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1/32",
		"::ffff:192.0.2.1":     "192.0.2.1/32",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"fe80::1%eth0":         "fe80::/64",
		"2001:db8:1:2::":       "2001:db8:1:2::/64",
	} {
		if got := clientaddr.Network(netip.MustParseAddr(addr)); got.String() != want {
			t.Errorf("Network(%s) = %v, want %s", addr, got, want)
		}
	}
	if got := clientaddr.Network(netip.Addr{}); got.IsValid() {
		t.Errorf("Network of no address = %v, want an invalid one", got)
	}
}
