package relay

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// floodData writes messages until it cannot any more, and returns how many bytes
// were taken.
func (p *peer) floodData(stop <-chan struct{}) (n int) {
	message := frame{0x82, make([]byte, 16<<10)}.bytes(p.mask)
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
	for _, slow := range []Party{Client, Backend} {
		t.Run(slow.String(), func(t *testing.T) {
			eachMode(t, func(t *testing.T, m mode) {
				cfg := quick()
				cfg.Write = 200 * time.Millisecond
				r := newRig(t, cfg, m, Options{})
				from, to := r.backend, r.client
				if slow == Backend {
					from, to = to, from
				}
				stop, wrote := make(chan struct{}), make(chan int)
				go func() { wrote <- from.floodData(stop) }()
				from.expectClose(1013, "SLOW")
				close(stop)
				n := <-wrote
				if n > 16<<20 {
					t.Errorf("the other leg got rid of %d bytes, want few", n)
				}
				from.Close()
				to.expectGone()
				o := r.outcome(t)
				if o.Cause.By != Gateway || o.Cause.Word != "SLOW" || o.Cause.Detail != slow.String()+" takes no bytes" {
					t.Errorf("cause = %+v", o.Cause)
				}
				if cut := o.Client.CutMidFrame || o.Backend.CutMidFrame; !cut {
					t.Error("the record does not say that the leg was cut inside a frame")
				}
			})
		})
	}
}

// TestBackpressure has a leg that does not read for a while: the other one is
// not read meanwhile, none of the clocks run, and then everything arrives.
func TestBackpressure(t *testing.T) {
	for _, slow := range []Party{Client, Backend} {
		t.Run(slow.String(), func(t *testing.T) {
			eachMode(t, func(t *testing.T, m mode) {
				cfg := quick()
				cfg.Ping, cfg.Pong, cfg.Write = 10*time.Millisecond, time.Second, time.Hour
				r := newRig(t, cfg, m, Options{})
				from, to := r.backend, r.client
				if slow == Backend {
					from, to = to, from
				}
				to.keepLittle()
				const messages = 1000
				done := make(chan error, 1)
				go answerPings(from)
				go func() {
					var err error
					for i := 0; i < messages && err == nil; i++ {
						_, err = from.Write(frame{0x82, bytes.Repeat([]byte{byte(i)}, 16<<10)}.bytes(from.mask))
					}
					done <- err
				}()
				<-time.After(1300 * time.Millisecond) // more than ping and pong
				if r.Closing() {
					t.Fatalf("ended while it waited: %+v", r.Cause())
				}
				for i := 0; i < messages; {
					f, err := to.next()
					if err != nil {
						t.Fatalf("message %d: %v, cause %+v", i, err, r.Cause())
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

// TestSlowPong has a leg whose answer to a ping is late, because it is still
// taking what was sent to it before.
func TestSlowPong(t *testing.T) {
	cfg := quick()
	cfg.Ping, cfg.Pong = 20*time.Millisecond, 300*time.Millisecond
	r := newRig(t, cfg, mode{}, Options{})
	r.client.keepLittle()
	go answerPings(r.backend)
	go func() { _, _ = r.backend.Write(bytes.Repeat(frame{0x82, make([]byte, 1<<20)}.bytes(false), 3)) }()
	pace := time.NewTicker(10 * time.Millisecond)
	defer pace.Stop()
	for range 110 { // 1.1 s
		<-pace.C
		_ = r.client.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.CopyN(io.Discard, r.client.in, 25_000); err != nil {
			t.Fatalf("%v, cause %+v", err, r.Cause())
		}
	}
	if r.Closing() {
		t.Errorf("ended though bytes were moving: %+v", r.Cause())
	}
}

// TestAhead has bytes that came with the handshakes, cut at every place.
func TestAhead(t *testing.T) {
	for _, m := range modes {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			data := []frame{text("one"), {0x02, []byte("two")}, ping("p"), {0x80, make([]byte, 200)}, text("three")}
			for _, at := range []int{0, 1, 2, 5, 9, 12, 17, 21, 25, 30, 234, -1} {
				var c, b []byte
				for _, f := range data {
					c, b = append(c, f.bytes(true)...), append(b, f.bytes(false)...)
				}
				cutC, cutB := at, at
				if at < 0 || at > len(b) {
					cutC, cutB = len(c), len(b)
				}
				r := newRigAhead(t, quick(), m, Options{}, c[:cutC], b[:cutB])
				r.client.sendRaw(c[cutC:])
				r.backend.sendRaw(b[cutB:])
				expectBut(t, r.backend, pong("p"), data[0], data[1], data[3], data[4])
				expectBut(t, r.client, pong("p"), data[0], data[1], data[3], data[4])
			}
		})
	}
}

// expectBut reads these frames, and one more somewhere between them.
func expectBut(t *testing.T, p *peer, extra frame, want ...frame) {
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

// TestAheadBeyondBuffer has more bytes from the handshake than a buffer holds.
func TestAheadBeyondBuffer(t *testing.T) {
	cfg := quick()
	cfg.Buffer = 1000
	big := frame{0x82, bytes.Repeat([]byte("0123456789"), 1000)}
	r := newRigAhead(t, cfg, mode{}, Options{}, big.bytes(true), big.bytes(false))
	r.client.expect(big)
	r.backend.expect(big)
}

// TestLastBytesBeforeEnd has a peer send at a rate at which reads that would find
// nothing are spared, and end its connection in the same packet as its last
// message, or right behind it.
func TestLastBytesBeforeEnd(t *testing.T) {
	ways := map[string]func(c *net.TCPConn, last []byte) error{
		"same packet": func(c *net.TCPConn, last []byte) error {
			raw, err := c.SyscallConn()
			if err != nil {
				return err
			}
			var failed error
			err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 1) })
			_, err2 := c.Write(last)
			return errors.Join(err, failed, err2, c.Close())
		},
		"behind": func(c *net.TCPConn, last []byte) error {
			_, err := c.Write(last)
			return errors.Join(err, c.Close())
		},
		"reset": func(c *net.TCPConn, last []byte) error {
			_, err := c.Write(last)
			return errors.Join(err, c.SetLinger(0), c.Close())
		},
	}
	for name, end := range ways {
		t.Run(name, func(t *testing.T) {
			cfg := quick()
			cfg.Tick = 50 * time.Millisecond
			for range 10 {
				r := newRig(t, cfg, mode{}, Options{})
				for range 20 {
					r.client.send(text("x"))
					r.backend.expect(text("x"))
				}
				if err := end(r.client.Conn.(*net.TCPConn), text("last").bytes(true)); err != nil {
					t.Fatal(err)
				}
				if name != "reset" { // which may overtake the message
					r.backend.expect(text("last"))
					r.backend.expectClose(1001, "CLIENT_GONE")
				} else {
					skipTo(t, r.backend, frame{first: 0x88})
				}
				r.hangUp()
				r.check(t, Client, "CLIENT_GONE", 0, 0, 1001, 0)
			}
		})
	}
}

// TestUnsuitable has connections that a session cannot wait on.
func TestUnsuitable(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	c, d := tcpPair(t)
	defer c.Close()
	defer d.Close()
	for _, legs := range [][2]net.Conn{{a, d}, {d, a}, {tls.Server(d, &tls.Config{}), c}} {
		err := new(Relay).Start(NewEngine(quick()), Options{}, Leg{Conn: legs[0]}, Leg{Conn: legs[1]})
		if err == nil {
			t.Errorf("Start(%T, %T) = nil, want an error", legs[0], legs[1])
		}
	}
}

// TestTLSEnd has TLS legs end with a close_notify.
func TestTLSEnd(t *testing.T) {
	r := newRig(t, quick(), mode{true, true}, Options{})
	r.client.send(closing(1000, ""))
	r.backend.expect(closing(1000, ""))
	r.backend.send(closing(1000, ""))
	r.client.expect(closing(1000, ""))
	for _, p := range []*peer{r.client, r.backend} {
		if _, err := p.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("%s: end = %v, want EOF, that is a close_notify", p.name, err)
		}
	}
}
