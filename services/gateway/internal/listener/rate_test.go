package listener

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
)

func network(addr string) netip.Prefix { return clientaddr.Network(netip.MustParseAddr(addr)) }

// TestAddressRate: an address has its burst and then its rate, an IPv6 /64 together, others
// their own; one that may send a burst again is forgotten, and of more than may be kept
// some are.
func TestAddressRate(t *testing.T) {
	now := int64(0)
	a := newAddressRate(10)
	a.now, a.most, a.sweepAt = func() int64 { return now }, 8, 4
	pass := func(addr string, n int) (passed int) {
		for range n {
			if a.refusal(network(addr)) == nil {
				passed++
			}
		}
		return passed
	}
	if got := pass("192.0.2.1", 200); got != 100 {
		t.Errorf("%d handshakes pass at once, want the burst of 100", got)
	}
	if x, y := pass("2001:db8::1", 60), pass("2001:db8::2", 60); x+y != 100 {
		t.Errorf("%d of one /64 pass, want 100", x+y)
	}
	if got := pass("192.0.2.2", 50); got != 50 {
		t.Errorf("%d of another address pass, want 50", got)
	}
	now += int64(time.Second)
	if got := pass("192.0.2.1", 20); got != 10 {
		t.Errorf("a second later %d pass, want 10", got)
	}
	p := a.refusal(network("192.0.2.1"))
	if p == nil || p.Status != http.StatusTooManyRequests || p.Code.String() != "ADDRESS_RATE" || p.Header[0].Value != "1" {
		t.Errorf("the answer is %+v, want 429 ADDRESS_RATE and to come back in a second", p)
	}
	now += int64(10 * time.Second)
	pass("192.0.2.3", 1)
	pass("192.0.2.4", 1) // makes room
	if _, kept := a.buckets[network("192.0.2.1")]; kept || len(a.buckets) != 2 {
		t.Errorf("%d addresses are kept, want the two that sent just now", len(a.buckets))
	}
	for i := range 50 {
		pass(fmt.Sprintf("198.51.100.%d", i), 1)
	}
	if len(a.buckets) > 8 {
		t.Errorf("%d addresses are kept, want at most 8", len(a.buckets))
	}
	if a.refusal(netip.Prefix{}) != nil || newAddressRate(0).refusal(network("192.0.2.1")) != nil {
		t.Error("a trusted proxy, or an address without a rate, is refused")
	}
}

// TestAddressSendsTooMany over real sockets: by the client that a trusted proxy names, and
// the gateway's own endpoints are no handshakes.
func TestAddressSendsTooMany(t *testing.T) {
	h := handlerFunc(func(_ context.Context, r *Request) {
		_ = problem.Send(r.Conn, problem.Response(http.StatusNoContent, "text/plain", nil, false))
	})
	l := serve(t, h, func(c *Config) {
		c.MaxRate = 1
		if err := c.Proxies.Trusted.Set("127.0.0.1"); err != nil {
			t.Fatal(err)
		}
	})
	ask := func(target, client string) answer {
		conn := dial(t, l.Addr())
		send(t, conn, "GET "+target+" HTTP/1.1\r\n"+sound+client+"\r\n")
		return receive(t, conn, "GET")
	}
	const client = "X-Forwarded-For: 192.0.2.1\r\n"
	passed := 0
	for {
		a := ask("/a", client)
		if a.StatusCode == http.StatusTooManyRequests {
			if a.code != "ADDRESS_RATE" || a.Header.Get("Retry-After") != "1" {
				t.Errorf("429 %s, Retry-After %s, want ADDRESS_RATE and 1", a.code, a.Header.Get("Retry-After"))
			}
			break
		}
		if a.StatusCode != http.StatusNoContent {
			t.Fatalf("%d %s, want 204 or 429", a.StatusCode, a.code)
		}
		passed++
	}
	if passed < 10 {
		t.Errorf("%d passed, want the burst of 10", passed)
	}
	for range passed + 10 { // the proxy's own
		if a := ask("/a", ""); a.StatusCode != http.StatusNoContent {
			t.Fatalf("the proxy got %d %s, want 204", a.StatusCode, a.code)
		}
	}
	for range 20 {
		if a := ask("/-/healthz", client); a.StatusCode != http.StatusOK {
			t.Fatalf("the gateway's own endpoint: %d, want 200", a.StatusCode)
		}
	}
	if a := ask("/a", "X-Forwarded-For: 192.0.2.2\r\n"); a.StatusCode != http.StatusNoContent {
		t.Errorf("another client got %d %s, want 204", a.StatusCode, a.code)
	}
}
