package relay

import (
	"bytes"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// TestPing has each leg's ping answered by the gateway, also between fragments,
// and none of it seen by the other leg.
func TestPing(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{})
		for _, p := range []struct{ from, to *peer }{{r.client, r.backend}, {r.backend, r.client}} {
			long := strings.Repeat("p", 125)
			first, last := wireFrame{0x01, []byte("one ")}, wireFrame{0x80, []byte("message")}
			p.from.send(ping("a"), first)
			p.from.expect(pong("a"))
			p.from.send(pong("unasked"), ping(long))
			p.from.expect(pong(long))
			p.from.send(ping(""), last, text("next"))
			p.from.expect(pong(""))
			p.to.expect(first, last, text("next"))
		}
	})
}

// TestPongWaits has pings answered behind the frame that the leg is being sent:
// the newest one is.
func TestPongWaits(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{})
		whole := text("0123456789").bytes(false)
		r.backend.sendRaw(whole[:7])
		if _, err := r.client.in.Peek(7); err != nil {
			t.Fatal(err)
		}
		r.client.send(ping("old"), ping("new"), text("through"))
		r.backend.expect(text("through"))
		r.backend.sendRaw(append(whole[7:], text("next").bytes(false)...))
		r.client.expect(text("0123456789"), pong("new"), text("next"))
	})
}

// TestFlood sends as many control or empty frames as a second may have, and then
// three times as many at once: of two seconds that these fall into, one has too
// many. TestFloodWindow shows which frame is the first of those.
func TestFlood(t *testing.T) {
	start, end := wireFrame{0x01, []byte("start")}, wireFrame{0x80, []byte("end")}
	for name, f := range map[string]wireFrame{
		"pings": ping(""), "pongs": pong("x"), "empty parts": {0x00, nil}, "empty messages": text(""),
	} {
		for _, by := range []ending.Party{ending.Client, ending.Backend} {
			t.Run(name+" of the "+by.String(), func(t *testing.T) {
				eachMode(t, func(t *testing.T, m mode) {
					r := newRig(t, quick(), m, ending.Terms{})
					from, to, other := r.client, r.backend, uint16(1001)
					if by == ending.Backend {
						from, to, other = to, from, 1011
					}
					if name != "empty messages" {
						from.send(start)
						to.expect(start)
					}
					from.sendRaw(bytes.Repeat(f.bytes(from.mask), 100))
					if name != "empty messages" {
						from.send(end)
						skipTo(t, to, end)
					}
					from.send(text("fine"))
					skipTo(t, to, text("fine"))
					if name == "empty parts" {
						from.send(start)
						to.expect(start)
					}
					from.sendRaw(bytes.Repeat(f.bytes(from.mask), 300))
					skipTo(t, from, wireFrame{first: 0x88})
					to.isClose(skipTo(t, to, wireFrame{first: 0x88}), other, "FLOOD")
					r.hangUp()
					if o := r.outcome(t); o.Ending.Reason != ending.Flood || o.Client.Sent+o.Backend.Sent != 1008+other {
						t.Errorf("outcome = %+v", o)
					}
				})
			})
		}
	}
}

// TestFloodWindow counts in each second anew.
func TestFloodWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, in := NewEngine(Default()), new(reader)
		for range 3 {
			for i := range 100 {
				if in.flooded(e) {
					t.Fatalf("frame %d of a second is too many", i+1)
				}
			}
			time.Sleep(time.Second)
		}
		for range 100 {
			in.flooded(e)
		}
		time.Sleep(999 * time.Millisecond)
		if !in.flooded(e) {
			t.Error("frame 101 of a second is not too many")
		}
	})
}

// skipTo reads frames until this one, of which the first byte counts if it has
// no payload.
func skipTo(t *testing.T, p *peer, want wireFrame) wireFrame {
	t.Helper()
	for {
		f, err := p.next()
		if err != nil {
			t.Fatalf("%s: %v, want %v", p.name, err, want)
		}
		if f.first == want.first && (want.payload == nil || bytes.Equal(f.payload, want.payload)) {
			return f
		}
	}
}

// TestOwnPings has a live leg answer the gateway's pings for a while, and then
// stop: both legs are told that it is idle.
func TestOwnPings(t *testing.T) {
	for _, by := range []ending.Party{ending.Client, ending.Backend} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			eachMode(t, func(t *testing.T, m mode) {
				cfg := quick()
				cfg.Ping, cfg.Pong = 40*time.Millisecond, 2*time.Second
				r := newRig(t, cfg, m, ending.Terms{})
				idle, alive, l := r.client, r.backend, &r.Relay.client
				if by == ending.Backend {
					idle, alive, l = alive, idle, &r.Relay.backend
				}
				over := make(chan struct{})
				go func() {
					defer close(over)
					for answerPing(alive) {
					}
				}()
				for range 3 {
					f, err := idle.next()
					if err != nil || f.first != 0x89 || len(f.payload) != 8 {
						t.Fatalf("%v, %v, want a ping", f, err)
					}
					r.mu.Lock()
					sent := l.out.nextPing
					r.mu.Unlock()
					idle.send(pong(string(f.payload)))
					r.until(t, "the pong has arrived", func() bool {
						r.schedule(r.engine.now())    // not only when a pong would be late
						return l.out.nextPing != sent // the next ping may be under way
					})
				}
				for { // without answers of ours
					f, err := idle.next()
					if err != nil {
						t.Fatal(err)
					}
					if f.first == 0x88 {
						if !strings.HasPrefix(string(f.payload[2:]), "IDLE ref=REF") {
							t.Errorf("close = %v, want IDLE", f)
						}
						break
					}
				}
				<-over
				r.hangUp()
				o := r.outcome(t)
				if o.Ending.Reason != ending.Idle || o.Client.Sent != 1001 || o.Backend.Sent != 1001 {
					t.Errorf("outcome = %+v", o)
				}
			})
		})
	}
}

// TestPingInsideFrame has pings of the gateway's due again and again while a leg
// is inside a frame that it is being sent: they are skipped, and one comes soon
// after the frame.
func TestPingInsideFrame(t *testing.T) {
	for _, to := range []ending.Party{ending.Client, ending.Backend} {
		t.Run(to.String(), func(t *testing.T) {
			eachMode(t, func(t *testing.T, m mode) {
				cfg := quick()
				cfg.Ping, cfg.Pong = time.Nanosecond, time.Hour
				r := newRig(t, cfg, m, ending.Terms{})
				from, into, l := r.backend, r.client, &r.Relay.client
				if to == ending.Backend {
					from, into, l = r.client, r.backend, &r.Relay.backend
				}
				whole := text("0123456789").bytes(from.mask)
				from.sendRaw(whole[:9])
				into.answerBefore(0x81)
				var due int64
				for range 4 { // the first time is when it was due before
					r.until(t, "a ping was due inside the frame", func() bool { return l.out.midFrame && l.out.pingSent == 0 && l.out.nextPing != due })
					r.mu.Lock()
					due = l.out.nextPing
					r.mu.Unlock()
				}
				from.sendRaw(whole[9:])
				into.expect(text("0123456789"))
				if !answerPing(into) {
					t.Error("no ping came behind the frame")
				}
			})
		})
	}
}

// answerBefore answers pings of the gateway's up to a frame with this first byte,
// which is not read.
func (p *peer) answerBefore(first byte) {
	p.t.Helper()
	for {
		_ = p.SetReadDeadline(time.Now().Add(patience))
		b, err := p.in.Peek(1)
		switch {
		case err == nil && b[0] == first:
			return
		case err != nil || !answerPing(p):
			p.t.Fatalf("%s: %x, %v, want pings and then %x", p.name, b, err, first)
		}
	}
}

// answerPing reads a frame; if it is a ping of the gateway's, it is answered.
func answerPing(p *peer) bool {
	f, err := p.next()
	if err != nil || f.first != 0x89 || len(f.payload) != 8 {
		return false
	}
	p.send(pong(string(f.payload)))
	return true
}

// answerPings answers pings until the end, and discards the rest.
func answerPings(p *peer) {
	for {
		f, err := p.next()
		if err != nil {
			return
		}
		if f.first == 0x89 {
			_, _ = p.Write(pong(string(f.payload)).bytes(p.mask))
		}
	}
}

// TestAnyFrameIsLife has a peer that answers no ping, but goes on sending something
// else: it is there until that ends.
func TestAnyFrameIsLife(t *testing.T) {
	for name, f := range map[string]wireFrame{
		"messages": text("alive"), "empty parts": {0x01, nil}, "pings": ping("there?"), "pongs of its own": pong("unasked"),
	} {
		for _, by := range []ending.Party{ending.Client, ending.Backend} {
			t.Run(name+" of the "+by.String(), func(t *testing.T) {
				r := newRig(t, slowClocks(), mode{}, ending.Terms{})
				f, l, from := f, &r.Relay.client, r.client
				if by == ending.Backend {
					l, from = &r.Relay.backend, r.backend
				}
				r.pingNow(t, l)
				r.until(t, "the ping has arrived", func() bool { return l.conn.Unacked() == 0 })
				for range 3 {
					r.mu.Lock()
					shown, late := l.in.lastLife, l.pongBy(&r.engine.cfg)
					r.mu.Unlock()
					r.until(t, "the clock has moved on", func() bool { return r.engine.coarse() > shown })
					from.send(f)
					if f.first == 0x01 {
						f.first = 0 // the next part
					}
					r.until(t, "the frame has come", func() bool { return l.in.lastLife > shown })
					r.mu.Lock()
					r.checkLeg(l, late)
					r.unlock()
					if r.Ending().By != ending.Nobody {
						t.Fatalf("a session with a live peer was ended: %+v", r.Ending())
					}
				}
				r.until(t, "the answers have arrived", func() bool { return l.conn.Unacked() == 0 })
				r.overdue(l)
				from.isClose(skipTo(t, from, wireFrame{first: 0x88}), 1001, "IDLE")
			})
		}
	}
}

// TestNoPings has legs that are sent no pings, and are kept though they never show
// that they are there. TCP asks for them.
func TestNoPings(t *testing.T) {
	cfg := quick()
	cfg.Ping, cfg.Pong = time.Nanosecond, time.Nanosecond
	off := quick()
	off.Ping = 0
	for name, tt := range map[string]struct {
		cfg             Config
		client, backend bool
	}{
		"to neither": {cfg, false, false}, "to the client": {cfg, true, false}, "to the backend": {cfg, false, true}, "to nobody at all": {off, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := &rig{engine: NewEngine(tt.cfg), ended: make(chan ending.Outcome, 2)}
			c, client := connect(t, false, false)
			b, backend := connect(t, false, true)
			sockets := [2]*os.File{withoutKeepAlive(t, client), withoutKeepAlive(t, backend)}
			r.Relay = New(r.engine, Leg{Conn: client, NoPings: !tt.client}, Leg{Conn: backend, NoPings: !tt.backend})
			if err := r.Start(ending.Terms{Observer: observerFunc(func(o ending.Outcome) { r.ended <- o })}); err != nil {
				t.Fatal(err)
			}
			r.mu.Lock()
			for i, want := range []bool{tt.client, tt.backend} {
				l := r.legs()[i]
				if pinged := l.out.nextPing != 0 || l.out.pingSent != 0; pinged != want {
					t.Errorf("pings to the %s: %t, want %t", l.party(), pinged, want)
				}
				if on := keepsAlive(t, sockets[i]); on == want {
					t.Errorf("TCP asks for the %s: %t, want %t", l.party(), on, !want)
				}
			}
			if at := r.nextDeadline(); !tt.client && !tt.backend && at != never {
				t.Errorf("something is due at %d, want never", at)
			}
			r.mu.Unlock()
			r.Abort(ending.New(ending.Drain, ""))
			c.Close()
			b.Close()
			<-r.ended
		})
	}
}

// withoutKeepAlive turns off what Go turns on, and returns the socket, which is open
// until the test ends.
func withoutKeepAlive(t *testing.T, conn net.Conn) *os.File {
	t.Helper()
	tcp := conn.(*net.TCPConn)
	if err := tcp.SetKeepAlive(false); err != nil {
		t.Fatal(err)
	}
	f, err := tcp.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// keepsAlive reports whether TCP asks for the peer of a socket.
func keepsAlive(t *testing.T, socket *os.File) bool {
	t.Helper()
	on, err := syscall.GetsockoptInt(int(socket.Fd()), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
	if err != nil {
		t.Fatal(err)
	}
	return on != 0
}

// TestPongBehindRead has a pong wait for a leg that was given all of a read, which began
// inside of a frame, and has not taken it.
func TestPongBehindRead(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{})
		r.client.keepLittle()
		stop, wrote := make(chan struct{}), make(chan int)
		go func() { wrote <- r.backend.floodData(stop) }()
		r.until(t, "the client's leg is full", func() bool { return r.Relay.client.out.stalled != 0 })
		r.client.send(ping("p"))
		r.until(t, "the pong waits", func() bool { return r.Relay.client.out.pong != nil })
		close(stop)
		skipTo(t, r.client, pong("p"))
		r.hangUp()
		<-wrote
		r.outcome(t)
	})
}
