package relay

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/netpoll"
)

// floodData writes messages until it cannot any more, and returns how many bytes
// were taken.
func (p *peer) floodData(stop <-chan struct{}) (n int) {
	message := wireFrame{0x82, make([]byte, 16<<10)}.bytes(p.mask)
	for {
		select {
		case <-stop:
			return n
		default:
		}
		_ = p.SetWriteDeadline(time.Now().Add(patience))
		k, err := p.Write(message)
		if n += k; err != nil {
			return n
		}
	}
}

// keepLittle makes the kernel take little for a peer that does not read.
func (p *peer) keepLittle() {
	p.t.Helper()
	c := p.Conn
	if s, ok := c.(*tls.Conn); ok {
		c = s.NetConn()
	}
	if err := c.(*net.TCPConn).SetReadBuffer(128 << 10); err != nil {
		p.t.Fatal(err)
	}
}

// TestSlow has a leg that takes no bytes: it is cut, and the other is told to
// come back later.
func TestSlow(t *testing.T) {
	for _, slow := range []ending.Party{ending.Client, ending.Backend} {
		t.Run(slow.String(), func(t *testing.T) {
			eachMode(t, func(t *testing.T, m mode) {
				cfg := quick()
				cfg.Write = 200 * time.Millisecond
				r := newRig(t, cfg, m, ending.Terms{})
				from, to := r.backend, r.client
				if slow == ending.Backend {
					from, to = to, from
				}
				stop, wrote := make(chan struct{}), make(chan int)
				go func() { wrote <- from.floodData(stop) }()
				from.expectClose(1013, "SLOW")
				close(stop)
				n := <-wrote
				if n > 64<<20 { // the kernel's buffers of four sockets, which it tunes
					t.Errorf("the other leg got rid of %d bytes, want few", n)
				}
				from.Close()
				if err := to.expectGone(); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("end of the slow leg = %v, want a reset: nothing is kept for it", err)
				}
				o := r.outcome(t)
				if o.Ending.By != ending.Gateway || o.Ending.Reason != ending.Slow || o.Ending.Detail != slow.String()+" takes no bytes" {
					t.Errorf("ending = %+v", o.Ending)
				}
				if cut := o.Client.CutMidFrame || o.Backend.CutMidFrame; !cut {
					t.Error("the record does not say that the leg was cut inside a frame")
				}
			})
		})
	}
}

// TestSlowPongs has a leg that pings and never reads the answers.
func TestSlowPongs(t *testing.T) {
	for _, slow := range []ending.Party{ending.Client, ending.Backend} {
		t.Run(slow.String(), func(t *testing.T) {
			eachMode(t, func(t *testing.T, m mode) {
				cfg := quick()
				cfg.Write, cfg.Flood = 200*time.Millisecond, math.MaxInt
				r := newRig(t, cfg, m, ending.Terms{})
				to, other := r.client, r.backend
				if slow == ending.Backend {
					to, other = other, to
				}
				to.keepLittle()
				pings := bytes.Repeat(ping(strings.Repeat("p", 125)).bytes(to.mask), 100)
				go func() {
					for err := error(nil); err == nil; _, err = to.Write(pings) {
					}
				}()
				other.expectClose(1013, "SLOW")
				other.Close()
				if o := r.outcome(t); o.Ending.Reason != ending.Slow || o.Ending.Detail != slow.String()+" takes no bytes" {
					t.Errorf("ending = %+v", o.Ending)
				}
			})
		})
	}
}

// TestFullAtStart has a leg that takes nothing from the start: what came with its
// handshake is passed on nevertheless.
func TestFullAtStart(t *testing.T) {
	far, near := tcpPair(t)
	backend, backendLeg := tcpPair(t)
	for err := error(nil); err == nil; _, err = near.Write(make([]byte, 64<<10)) {
		_ = near.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	}
	e, ended := NewEngine(quick()), make(chan ending.Outcome, 1)
	r := New(e, Leg{Conn: near, Buffered: text("early").bytes(true)}, Leg{Conn: backendLeg})
	if err := r.Start(ending.Terms{Observer: observerFunc(func(o ending.Outcome) { ended <- o })}); err != nil {
		t.Fatal(err)
	}
	b := &peer{Conn: backend, t: t, name: "backend", in: bufio.NewReader(backend)}
	b.expect(text("early"))
	_, _ = far.Close(), backend.Close()
	<-ended
	e.Wait()
}

// TestBackpressure has a leg that does not read for a while: the other one is
// not read meanwhile, none of the clocks run, and then everything arrives.
func TestBackpressure(t *testing.T) {
	for _, slow := range []ending.Party{ending.Client, ending.Backend} {
		t.Run(slow.String(), func(t *testing.T) {
			eachMode(t, func(t *testing.T, m mode) {
				cfg := quick()
				cfg.Ping, cfg.Pong, cfg.Write = time.Hour, 2*time.Second, time.Hour
				r := newRig(t, cfg, m, ending.Terms{})
				from, to := r.backend, r.client
				if slow == ending.Backend {
					from, to = to, from
				}
				to.keepLittle()
				const messages = 1000
				done := make(chan error, 1)
				go answerPings(from)
				go func() {
					var err error
					for i := 0; i < messages && err == nil; i++ {
						_, err = from.Write(wireFrame{0x82, bytes.Repeat([]byte{byte(i)}, 16<<10)}.bytes(from.mask))
					}
					done <- err
				}()
				r.stalled(t, slow)
				if r.Ending().By != ending.Nobody {
					t.Fatalf("ended while it waited: %+v", r.Ending())
				}
				for i := 0; i < messages; {
					f, err := to.next()
					if err != nil {
						t.Fatalf("message %d: %v, ending %+v", i, err, r.Ending())
					}
					if f.first == 0x89 {
						_, _ = to.Write(pong(string(f.payload)).bytes(to.mask))
						continue
					}
					if f.first != 0x82 || len(f.payload) != 16<<10 || f.payload[5] != byte(i) {
						t.Fatalf("message %d = %v", i, f)
					}
					i++
				}
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// stalled waits until a leg takes no bytes, makes pings to both legs due, and
// waits for longer than their pongs may take.
func (r *rig) stalled(t *testing.T, party ending.Party) {
	t.Helper()
	l := &r.Relay.client
	if party == ending.Backend {
		l = &r.Relay.backend
	}
	r.until(t, "a leg is stalled", func() bool { return l.out.stalled != 0 })
	r.mu.Lock()
	now := r.engine.now()
	for _, l := range r.legs() {
		l.out.nextPing, l.in.lastLife = now, now-int64(r.engine.cfg.Ping)
	}
	r.schedule(now)
	r.mu.Unlock()
	r.until(t, "time passes", func() bool { return r.engine.coarse() > now+int64(r.engine.cfg.Pong)+2*int64(r.engine.cfg.Tick) })
}

// slowClocks is a configuration whose clocks a test moves by itself.
func slowClocks() Config {
	cfg := quick()
	cfg.Ping, cfg.Pong = time.Hour, time.Minute
	return cfg
}

// pingNow has a ping sent to a leg, before it is due.
func (r *rig) pingNow(t *testing.T, l *leg) {
	t.Helper()
	r.mu.Lock()
	l.out.nextPing = r.engine.now()
	r.schedule(l.out.nextPing)
	r.mu.Unlock()
	r.until(t, "a ping is sent", func() bool { return l.out.pingSent != 0 })
}

// overdue has a leg's clocks looked at when its pong is late.
func (r *rig) overdue(l *leg) {
	r.mu.Lock()
	defer r.unlock()
	r.checkLeg(l, l.pongBy(&r.engine.cfg))
}

// TestBuffered has bytes that came with the handshakes, cut at every place.
func TestBuffered(t *testing.T) {
	for _, m := range modes {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			data := []wireFrame{text("one"), {0x02, []byte("two")}, ping("p"), {0x80, make([]byte, 200)}, text("three")}
			for _, at := range []int{0, 1, 2, 5, 9, 12, 17, 21, 25, 30, 234, -1} {
				var c, b []byte
				for _, f := range data {
					c, b = append(c, f.bytes(true)...), append(b, f.bytes(false)...)
				}
				cutC, cutB := at, at
				if at < 0 || at > len(b) {
					cutC, cutB = len(c), len(b)
				}
				r := newRigBuffered(t, quick(), m, ending.Terms{}, c[:cutC], b[:cutB])
				r.client.sendRaw(c[cutC:])
				r.backend.sendRaw(b[cutB:])
				expectBut(t, r.backend, pong("p"), data[0], data[1], data[3], data[4])
				expectBut(t, r.client, pong("p"), data[0], data[1], data[3], data[4])
			}
		})
	}
}

// expectBut reads these frames, and one more somewhere between them.
func expectBut(t *testing.T, p *peer, extra wireFrame, want ...wireFrame) {
	t.Helper()
	found := false
	for i := 0; i < len(want) || !found; {
		f, err := p.next()
		switch {
		case err != nil:
			t.Fatalf("%s: frame %d: %v", p.name, i, err)
		case f.first == extra.first && bytes.Equal(f.payload, extra.payload) && !found:
			found = true
		case i < len(want) && f.first == want[i].first && bytes.Equal(f.payload, want[i].payload):
			i++
		default:
			t.Fatalf("%s: frame %d = %v", p.name, i, f)
		}
	}
}

// TestBufferedBeyondBuffer has more bytes from the handshake than a buffer holds.
func TestBufferedBeyondBuffer(t *testing.T) {
	cfg := quick()
	cfg.Buffer = 1000
	big := wireFrame{0x82, bytes.Repeat([]byte("0123456789"), 1000)}
	r := newRigBuffered(t, cfg, mode{}, ending.Terms{}, big.bytes(true), big.bytes(false))
	r.client.expect(big)
	r.backend.expect(big)
}

// TestUnsuitable has connections that a session cannot wait on: Start closes both.
func TestUnsuitable(t *testing.T) {
	ways := map[string]func(pipe, socket net.Conn) (client, backend net.Conn){
		"client":  func(pipe, socket net.Conn) (_, _ net.Conn) { return pipe, socket },
		"backend": func(pipe, socket net.Conn) (_, _ net.Conn) { return socket, pipe },
		"TLS":     func(pipe, socket net.Conn) (_, _ net.Conn) { return tls.Server(socket, &tls.Config{}), pipe },
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			farPipe, pipe := net.Pipe()
			defer farPipe.Close()
			far, socket := tcpPair(t)
			defer far.Close()
			client, backend := way(pipe, socket)
			if err := New(NewEngine(quick()), Leg{Conn: client}, Leg{Conn: backend}).Start(ending.Terms{}); err == nil {
				t.Errorf("Start(%T, %T) = nil, want an error", client, backend)
			}
			expectClosed(t, far)
			expectClosed(t, farPipe)
		})
	}
}

// TestCutBeforeStart closes the connections of a relay that is not started.
func TestCutBeforeStart(t *testing.T) {
	c, client := tcpPair(t)
	defer c.Close()
	b, backend := tcpPair(t)
	defer b.Close()
	New(NewEngine(quick()), Leg{Conn: client}, Leg{Conn: backend}).Abort(ending.New(ending.Drain, ""))
	expectClosed(t, c)
	expectClosed(t, b)
}

// expectClosed reads the end of a connection.
func expectClosed(t *testing.T, far net.Conn) {
	t.Helper()
	_ = far.SetReadDeadline(time.Now().Add(patience))
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("Read = %v, want the end", err)
	}
}

// recorder keeps what is read from a connection.
type recorder struct {
	net.Conn
	b []byte
}

func (r *recorder) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.b = append(r.b, p[:n]...)
	return n, err
}

// TestTLSEnd has a TLS leg end with a close_notify.
func TestTLSEnd(t *testing.T) {
	far, near := tcpPair(t)
	rec := &recorder{Conn: far}
	// Up to TLS 1.2 an alert's record is marked as such.
	client := tls.Client(rec, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	leg := tls.Server(netpoll.UnderTLS(near), &tls.Config{Certificates: []tls.Certificate{testCert()}})
	done := make(chan error, 1)
	go func() { done <- client.Handshake() }()
	if err := errors.Join(leg.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	backend, backendLeg := tcpPair(t)
	e := NewEngine(quick())
	ended := make(chan ending.Outcome, 1)
	r := New(e, Leg{Conn: leg}, Leg{Conn: backendLeg})
	if err := r.Start(ending.Terms{Observer: observerFunc(func(o ending.Outcome) { ended <- o })}); err != nil {
		t.Fatal(err)
	}
	c := &peer{Conn: client, t: t, name: "client", in: bufio.NewReader(client), mask: true}
	b := &peer{Conn: backend, t: t, name: "backend", in: bufio.NewReader(backend)}
	c.send(closing(1000, ""))
	b.expect(closing(1000, ""))
	b.send(closing(1000, ""))
	c.expect(closing(1000, ""))
	c.expectEnd()
	b.expectEnd()
	_, _ = client.Close(), backend.Close()
	<-ended
	e.Wait()
	var last byte
	for rest := rec.b; len(rest) > 5; {
		last = rest[0]
		rest = rest[5+int(rest[3])<<8+int(rest[4]):]
	}
	if last != 21 {
		t.Errorf("last TLS record has the type %d, want 21, an alert", last)
	}
}
