package listener

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// answering is a handler that lets every client in.
func answering() handlerFunc {
	return func(_ context.Context, r *Request) {
		_, _ = io.WriteString(r.Conn, "HTTP/1.1 204 No Content\r\n\r\n")
		_ = r.Conn.Close()
	}
}

// holding is a handler that keeps each handshake in progress until the test lets one
// go.
type holding struct {
	caught chan *Request
	free   chan struct{}
}

func newHolding() holding { return holding{make(chan *Request), make(chan struct{})} }

// Handle implements Handler.
func (h holding) Handle(ctx context.Context, r *Request) {
	select {
	case h.caught <- r:
	case <-ctx.Done():
	}
	select {
	case <-h.free:
	case <-ctx.Done():
	}
	_ = r.Conn.Close()
}

const legitimate = "GET /a HTTP/1.1\r\n" + sound + "\r\n"

// TestSilentConnections: one address opens as many connections as it can and says
// nothing. Every handshake from another address is answered, over ws and wss; the
// address itself is told that it has too many, or is hung up on.
func TestSilentConnections(t *testing.T) {
	const share, flood, clients = 16, 200, 20
	l := serve(t, answering(), func(c *Config) { c.MaxHandshakes, c.MaxPerAddress = 64, share })
	for range flood {
		dialFrom(t, "127.0.0.2", l.Addr())
	}
	for range clients {
		conn := dial(t, l.Addr())
		send(t, conn, legitimate)
		if a := receive(t, conn, "GET"); a.StatusCode != http.StatusNoContent {
			t.Fatalf("beside silent connections: %d %s, want that it is let in", a.StatusCode, a.code)
		}
		secure := dialTLS(t, l.TLSAddr())
		send(t, secure, legitimate)
		if got, err := io.ReadAll(secure); !strings.HasPrefix(string(got), "HTTP/1.1 204") {
			t.Fatalf("beside silent connections over TLS: %q, %v, want that it is let in", got, err)
		}
	}
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	if u := l.gate.addresses[netip.MustParsePrefix("127.0.0.2/32")]; u == nil || u.used > share || u.spare > l.cfg.Spare/2 {
		t.Errorf("the silent address has %+v, want at most %d slots and %d spare ones", u, share, l.cfg.Spare/2)
	}
}

// TestAddressHasItsShare: an address that has its share in progress is refused more,
// whatever it sends, and another is not.
func TestAddressHasItsShare(t *testing.T) {
	const share = 3
	h := newHolding()
	l := serve(t, h, func(c *Config) { c.MaxHandshakes, c.MaxPerAddress = 64, share })
	for range share {
		send(t, dial(t, l.Addr()), legitimate)
		<-h.caught
	}
	for i := range share {
		conn := dial(t, l.Addr())
		send(t, conn, legitimate)
		if a := receive(t, conn, "GET"); a.StatusCode != http.StatusTooManyRequests || a.code != "ADDRESS_BUSY" || a.Header.Get("Retry-After") != "1" {
			t.Errorf("%d beyond its share: %d %s, want 429 ADDRESS_BUSY with Retry-After", i, a.StatusCode, a.code)
		}
		send(t, dialFrom(t, "127.0.0.2", l.Addr()), legitimate)
		<-h.caught
	}
	for range 2 * share {
		h.free <- struct{}{}
	}
	if !l.comesTo(0, patience) {
		t.Fatalf("InProgress() = %d after all are over", l.InProgress())
	}
	send(t, dial(t, l.Addr()), legitimate)
	<-h.caught
	h.free <- struct{}{}
}

// TestShareBehindProxies goes by the client that a trusted proxy names; the proxy's
// own address has no share.
func TestShareBehindProxies(t *testing.T) {
	const share = 2
	h := newHolding()
	l := serve(t, h, func(c *Config) {
		c.MaxHandshakes, c.MaxPerAddress = 64, share
		if err := c.Proxies.Trusted.Set("127.0.0.1"); err != nil {
			t.Fatal(err)
		}
	})
	from := func(client string) net.Conn {
		conn := dial(t, l.Addr())
		send(t, conn, "GET /a HTTP/1.1\r\n"+sound+client+"\r\n")
		return conn
	}
	let := 0
	for _, client := range []string{"192.0.2.1", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"} {
		from("X-Forwarded-For: " + client + "\r\n")
		<-h.caught
		let++
	}
	for range 2 * share { // the proxy itself
		from("")
		<-h.caught
		let++
	}
	for _, client := range []string{"192.0.2.1", "2001:db8::3"} {
		if a := receive(t, from("X-Forwarded-For: "+client+"\r\n"), "GET"); a.code != "ADDRESS_BUSY" {
			t.Errorf("%s beyond its share: %d %s, want 429 ADDRESS_BUSY", client, a.StatusCode, a.code)
		}
	}
	for range let {
		h.free <- struct{}{}
	}
	if !l.comesTo(0, patience) {
		t.Fatalf("InProgress() = %d after all are over", l.InProgress())
	}
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	if n := len(l.gate.addresses); n != 0 {
		t.Errorf("%d addresses are remembered, want none", n)
	}
}

// TestSilentBehindProxyProtocol: one client behind a proxy that speaks the PROXY protocol
// opens as many connections as it can and says nothing. Another client of that proxy is
// answered, over ws and wss.
func TestSilentBehindProxyProtocol(t *testing.T) {
	const share, flood = 16, 400
	l := serve(t, answering(), func(c *Config) {
		c.MaxHandshakes, c.MaxPerAddress, c.Proxies.Protocol, c.Timeout = 64, share, true, time.Minute
		if err := c.Proxies.Trusted.Set("127.0.0.1"); err != nil {
			t.Fatal(err)
		}
	})
	// Until its header is read, a connection counts for the proxy, which may have all.
	// All headers are read once so many have been told to go.
	gone := make(chan struct{}, flood)
	for range flood {
		conn := dial(t, l.Addr())
		send(t, conn, "PROXY TCP4 192.0.2.1 192.0.2.9 5000 80\r\n")
		go func() {
			_, _ = conn.Read(make([]byte, 1))
			gone <- struct{}{}
		}()
	}
	for range flood - share - l.cfg.Spare/2 {
		<-gone
	}
	const other = "PROXY TCP4 192.0.2.2 192.0.2.9 5000 80\r\n"
	for range 20 {
		conn := dial(t, l.Addr())
		send(t, conn, other+legitimate)
		if a := receive(t, conn, "GET"); a.StatusCode != http.StatusNoContent {
			t.Fatalf("beside silent connections: %d %s, want that it is let in", a.StatusCode, a.code)
		}
		raw := dial(t, l.TLSAddr())
		send(t, raw, other)
		secure := tls.Client(raw, &tls.Config{InsecureSkipVerify: true})
		send(t, secure, legitimate)
		if got, err := io.ReadAll(secure); !strings.HasPrefix(string(got), "HTTP/1.1 204") {
			t.Fatalf("beside silent connections over TLS: %q, %v, want that it is let in", got, err)
		}
	}
	l.gate.mu.Lock()
	defer l.gate.mu.Unlock()
	if u := l.gate.addresses[netip.MustParsePrefix("192.0.2.1/32")]; u == nil || u.used != share || u.spare > l.cfg.Spare/2 {
		t.Errorf("the silent address has %+v, want %d slots and at most %d spare ones", u, share, l.cfg.Spare/2)
	}
}

// TestFewSlots: where there are few slots, many clients at one address each get in,
// one after another.
func TestFewSlots(t *testing.T) {
	l := serve(t, answering(), func(c *Config) { c.MaxHandshakes, c.Spare = 4, 2 })
	var all sync.WaitGroup
	for range 100 {
		conn := dial(t, l.Addr())
		all.Go(func() {
			if _, err := io.WriteString(conn, legitimate); err != nil {
				t.Errorf("write: %v", err)
			}
			if got, err := io.ReadAll(conn); !strings.HasPrefix(string(got), "HTTP/1.1 204") {
				t.Errorf("one of many clients got %q, %v, want to be let in", got, err)
			}
		})
	}
	all.Wait()
}

// TestFewSlotsAndSilence: where there are few slots, an address that is silent is not
// waited for beyond 1.5 seconds, and all waiting together is bounded.
func TestFewSlotsAndSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(4, 4, 0, time.Now)
		silent := netip.MustParsePrefix("192.0.2.1/32")
		admit := func() *slot {
			if !g.reserve(t.Context()) {
				t.Fatal("reserve = false")
			}
			return g.admit(t.Context(), silent)
		}
		var slots []*slot
		for range 2 {
			slots = append(slots, admit())
		}
		began := time.Now()
		for i := range 20 {
			s := admit()
			if i < 2 && (s == nil || !s.spare || s.refusal.Status != http.StatusServiceUnavailable) || i >= 2 && s != nil {
				t.Errorf("silent connection %d = %+v, want a spare slot and 503 for two, nothing for others", i, s)
			}
		}
		if took := time.Since(began); took != stalled {
			t.Errorf("20 silent connections were waited for %v, want %v in all", took, stalled)
		}
		for range 100 { // one that goes on now and then
			slots[0].headRead()
			admit()
		}
		if took, most := time.Since(began), maxPatience*12/10+stalled; took > most {
			t.Errorf("an address that goes on slowly was waited for %v, want at most %v", took, most)
		}
	})
}
