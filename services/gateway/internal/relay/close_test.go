package relay

import (
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/kit/frame"
)

// TestCloseRelayed follows a close from either side through the session, with
// messages that still flow the other way.
func TestCloseRelayed(t *testing.T) {
	tests := []struct {
		name       string
		first      wireFrame
		relayed    wireFrame
		code       uint16
		answer     wireFrame
		answerCode uint16
	}{
		{"code and reason", closing(1000, "bye"), closing(1000, "bye"), 1000, closing(1000, "bye too"), 1000},
		{"application code", closing(4321, ""), closing(4321, ""), 4321, emptyClose, 1005},
		{"empty", emptyClose, emptyClose, 1005, closing(3000, strings.Repeat("r", 123)), 3000},
		{"reserved code", closing(1005, "x"), closing(1002, "x"), 1002, closing(1000, ""), 1000},
		{"code below the range", closing(999, ""), closing(1002, ""), 1002, closing(1000, ""), 1000},
		{"code above the range", closing(5000, ""), closing(1002, ""), 1002, closing(1006, "y"), 1002},
		{"unassigned code", closing(1016, ""), closing(1002, ""), 1002, closing(2999, ""), 1002},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, m mode) {
				cfg := quick()
				cfg.Linger = time.Hour // the peers end their connections
				for _, by := range []ending.Party{ending.Client, ending.Backend} {
					r := newRig(t, cfg, m, ending.Terms{})
					from, to := r.client, r.backend
					if by == ending.Backend {
						from, to = to, from
					}
					from.send(text("one"), tt.first)
					to.expect(text("one"), tt.relayed)
					to.send(text("two"), text("three"), tt.answer)
					from.expect(text("two"), text("three"))
					answer := tt.answer
					if tt.answerCode == 1002 {
						answer = closing(1002, string(tt.answer.payload[2:]))
					}
					from.expect(answer)
					from.expectEnd()
					to.expectEnd()
					from.Close()
					to.Close()
					if by == ending.Client {
						r.check(t, ending.Client, ending.PeerClose, tt.answerCode, tt.code, tt.code, tt.answerCode)
					} else {
						r.check(t, ending.Backend, ending.PeerClose, tt.code, tt.answerCode, tt.answerCode, tt.code)
					}
				}
			})
		})
	}
}

// TestCloseFramesBehindClose has a peer that goes on after its close: that is
// discarded.
func TestCloseFramesBehindClose(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{})
		r.client.send(closing(1000, ""), text("late"), ping("late"), wireFrame{0xff, nil})
		r.backend.expect(closing(1000, ""))
		r.backend.send(closing(1000, ""))
		r.client.expect(closing(1000, ""))
		r.backend.expectEnd()
		r.check(t, ending.Client, ending.PeerClose, 1000, 1000, 1000, 1000)
	})
}

// TestCloseUnanswered has a peer that never answers a close: the other one gets
// its own code back, and both legs end.
func TestCloseUnanswered(t *testing.T) {
	cfg := quick()
	cfg.Close = time.Second
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, cfg, m, ending.Terms{})
		r.client.send(closing(4000, "bye"))
		r.backend.expect(closing(4000, "bye"))
		r.backend.send(text("still here"))
		r.client.expect(text("still here"))
		r.client.expectClose(4000, "CLOSE_TIMEOUT")
		r.client.expectEnd()
		r.backend.expectEnd()
		r.check(t, ending.Client, ending.PeerClose, 4000, 4000, 4000, 0)
	})
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, cfg, m, ending.Terms{})
		r.backend.send(emptyClose)
		r.client.expect(emptyClose)
		r.backend.expect(emptyClose)
		r.backend.expectEnd()
		r.client.expectEnd()
		r.check(t, ending.Backend, ending.PeerClose, 1005, 0, 1005, 1005)
	})
}

// TestCloseThenGone has a peer that ends its connection instead of answering.
func TestCloseThenGone(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		cfg := quick()
		cfg.Close = time.Hour
		r := newRig(t, cfg, m, ending.Terms{})
		r.client.send(closing(1000, "bye"))
		r.backend.expect(closing(1000, "bye"))
		r.backend.Close()
		r.client.expectClose(1000, "BACKEND_GONE")
		r.client.expectEnd()
		r.check(t, ending.Client, ending.PeerClose, 1000, 1000, 1000, 0)
	})
}

// TestCloseThenHalfClosed has a client that half-closes behind its close: the
// backend's messages and close still reach it.
func TestCloseThenHalfClosed(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{})
		r.client.send(closing(1000, ""))
		if err := r.client.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		r.backend.expect(closing(1000, ""))
		r.backend.send(text("last"), closing(1000, "done"))
		r.client.expect(text("last"), closing(1000, "done"))
		r.client.expectEnd()
		r.check(t, ending.Client, ending.PeerClose, 1000, 1000, 1000, 1000)
	})
}

// TestCloseCrossing has both sides close at once: each gets the other's code.
func TestCloseCrossing(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{})
		r.client.send(closing(4001, "c"))
		r.backend.send(closing(4002, "b"))
		r.client.expect(closing(4002, "b"))
		r.backend.expect(closing(4001, "c"))
		r.client.expectEnd()
		r.backend.expectEnd()
		if o := r.outcome(t); o.Ending.Reason != ending.PeerClose || o.Client.Sent != 4002 || o.Backend.Sent != 4001 {
			t.Errorf("outcome = %+v", o)
		}
	})
}

// TestDeath has a leg end without a close, in every way it can.
func TestDeath(t *testing.T) {
	ways := map[string]func(p *peer){
		"end":   func(p *peer) { p.Close() },
		"reset": func(p *peer) { p.reset() },
		"half":  func(p *peer) { _ = p.Conn.(interface{ CloseWrite() error }).CloseWrite() },
		"data, end": func(p *peer) {
			p.send(text("x"))
			p.Close()
		},
		"half a header": func(p *peer) {
			p.sendRaw([]byte{0x81})
			p.Close()
		},
	}
	for name, die := range ways {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, m mode) {
				cfg := quick()
				cfg.Close = time.Hour // the other leg answers
				r := newRig(t, cfg, m, ending.Terms{})
				die(r.client)
				if name == "data, end" {
					r.backend.expect(text("x"))
				}
				r.backend.expectClose(1001, "CLIENT_GONE")
				r.backend.send(closing(1001, ""))
				r.backend.expectEnd()
				detail := "the connection ended without a close"
				if name == "reset" {
					detail = "the connection was reset"
				}
				if o := r.check(t, ending.Client, ending.ClientGone, 0, 0, 1001, 1001); o.Ending.Detail != detail {
					t.Errorf("detail = %q, want %q", o.Ending.Detail, detail)
				}

				r = newRig(t, cfg, m, ending.Terms{})
				die(r.backend)
				if name == "data, end" {
					r.client.expect(text("x"))
				}
				r.client.expectClose(1013, "BACKEND_GONE")
				r.client.send(closing(1013, ""))
				r.client.expectEnd()
				if o := r.check(t, ending.Backend, ending.BackendGone, 1013, 1013, 0, 0); o.Ending.Detail != detail {
					t.Errorf("detail = %q, want %q", o.Ending.Detail, detail)
				}
			})
		})
	}
}

// TestDeathOfFullLeg has a leg that takes no more bytes half-close its connection
// and keep it otherwise: nobody goes on waiting for it.
func TestDeathOfFullLeg(t *testing.T) {
	for _, full := range []ending.Party{ending.Client, ending.Backend} {
		t.Run(full.String(), func(t *testing.T) {
			eachMode(t, func(t *testing.T, m mode) {
				cfg := quick()
				cfg.Write, cfg.Close = time.Hour, time.Hour
				r := newRig(t, cfg, m, ending.Terms{})
				from, to, l := r.backend, r.client, &r.Relay.client
				if full == ending.Backend {
					from, to, l = to, from, &r.Relay.backend
				}
				to.keepLittle()
				stop, wrote := make(chan struct{}), make(chan int)
				go func() { wrote <- from.floodData(stop) }()
				r.until(t, "the leg is full", func() bool { return l.out.stalled != 0 })
				_ = to.Conn.(interface{ CloseWrite() error }).CloseWrite()
				if full == ending.Client {
					from.expectClose(1001, "CLIENT_GONE")
				} else {
					from.expectClose(1013, "BACKEND_GONE")
				}
				close(stop)
				from.Close()
				<-wrote
				if o := r.outcome(t); o.Ending.By != full {
					t.Errorf("ending = %+v, want by the %s", o.Ending, full)
				}
			})
		})
	}
}

// TestDeathInsideFrame has a leg end inside a frame: the other cannot be told.
func TestDeathInsideFrame(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{})
		whole := text("0123456789").bytes(false)
		r.backend.sendRaw(whole[:7])
		r.backend.Close()
		_ = r.client.expectGone()
		o := r.check(t, ending.Backend, ending.BackendGone, 0, 0, 0, 0)
		if !o.Client.CutMidFrame || o.Backend.CutMidFrame {
			t.Errorf("cut inside a frame: client %v, backend %v, want true, false", o.Client.CutMidFrame, o.Backend.CutMidFrame)
		}
	})
}

// TestEnd has the gateway end the session.
func TestEnd(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{})
		r.client.send(text("one"))
		r.backend.expect(text("one"))
		if !r.End(ending.New(ending.Revoked, "")) {
			t.Error("first End = false")
		}
		if r.End(ending.New(ending.OperatorClose, "")) {
			t.Error("second End = true")
		}
		r.client.expectClose(4001, "REVOKED")
		r.backend.expectClose(1001, "REVOKED")
		r.client.send(text("late"), closing(4001, ""))
		r.backend.send(text("late"), closing(1001, ""))
		r.client.expectEnd()
		r.backend.expectEnd()
		o := r.check(t, ending.Gateway, ending.Revoked, 4001, 4001, 1001, 1001)
		if want := (ending.Count{Messages: 1, Frames: 1, Payload: 3, Wire: 9}); o.Totals.FromClient != want || o.Totals.FromBackend != (ending.Count{}) {
			t.Errorf("totals = %+v", o.Totals)
		}
	})
}

// TestEndRetry has a retry hint in the reason, for the client only.
func TestEndRetry(t *testing.T) {
	r := newRig(t, quick(), mode{}, ending.Terms{})
	e := ending.New(ending.Drain, "")
	e.Retry = 1500 * time.Millisecond
	r.End(e)
	if got, want := r.client.expectClose(1012, "DRAIN"), "DRAIN ref=REF retry=1500ms"; got != want {
		t.Errorf("client's reason = %q, want %q", got, want)
	}
	if got, want := r.backend.expectClose(1001, "DRAIN"), "DRAIN ref=REF"; got != want {
		t.Errorf("backend's reason = %q, want %q", got, want)
	}
	r.hangUp()
	r.check(t, ending.Gateway, ending.Drain, 1012, 0, 1001, 0)
}

// TestEndWhileClosing ends a session whose close is under way: what still flows
// is stopped, the ending stays.
func TestEndWhileClosing(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		cfg := quick()
		cfg.FrameEnd = 10 * time.Millisecond
		r := newRig(t, cfg, m, ending.Terms{})
		r.client.send(closing(1000, "bye"))
		r.backend.expect(closing(1000, "bye"))
		if r.End(ending.New(ending.Revoked, "")) {
			t.Error("End = true, want false: the client was first")
		}
		r.backend.send(text("late"))
		r.client.expectClose(4001, "REVOKED")
		r.client.expectEnd()
		<-time.After(50 * time.Millisecond) // the backend has the time of a close, not that of a frame
		r.backend.send(closing(1000, ""))
		r.backend.expectEnd()
		r.check(t, ending.Client, ending.PeerClose, 4001, 1000, 1000, 1000)
	})
}

// TestEndedBefore starts a session that is over already.
func TestEndedBefore(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{Ended: new(ending.New(ending.Revoked, ""))})
		r.client.expectClose(4001, "REVOKED")
		r.backend.expectClose(1001, "REVOKED")
		r.hangUp()
		r.check(t, ending.Gateway, ending.Revoked, 4001, 0, 1001, 0)
	})
}

// TestCut ends a session at once.
func TestCut(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		cfg := quick()
		cfg.Close, cfg.Linger, cfg.FrameEnd = time.Hour, time.Hour, time.Hour
		r := newRig(t, cfg, m, ending.Terms{})
		r.Abort(ending.New(ending.Drain, ""))
		r.client.expectClose(1012, "DRAIN")
		_ = r.client.expectGone()
		r.backend.expectClose(1001, "DRAIN")
		_ = r.backend.expectGone()
		r.check(t, ending.Gateway, ending.Drain, 1012, 0, 1001, 0)
	})
}

// TestCloseWaitsForFrame ends a session in the middle of a frame: the close
// comes behind the frame.
func TestCloseWaitsForFrame(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{})
		whole := text("0123456789").bytes(false)
		r.backend.sendRaw(whole[:7])
		if b, err := r.client.in.Peek(7); err != nil {
			t.Fatal(b, err)
		}
		r.End(ending.New(ending.Blocked, ""))
		r.End(ending.New(ending.OperatorClose, ""))
		r.backend.expectClose(1001, "BLOCKED")
		r.backend.sendRaw(append(whole[7:], text("late").bytes(false)...))
		r.client.expect(text("0123456789"))
		r.client.expectClose(4006, "BLOCKED")
		r.hangUp()
		o := r.check(t, ending.Gateway, ending.Blocked, 4006, 0, 1001, 0)
		if want := (ending.Count{Messages: 1, Frames: 1, Payload: 10, Wire: 12}); o.Totals.FromBackend != want {
			t.Errorf("totals from the backend = %+v, want %+v", o.Totals.FromBackend, want)
		}
	})
}

// TestCloseWaitsForSocket ends a session whose client's socket is full, with part
// of a frame of ours kept: the close follows when the client reads again.
func TestCloseWaitsForSocket(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{})
		r.client.keepLittle()
		r.fill(t, &r.Relay.client)
		r.End(ending.New(ending.Revoked, ""))
		r.backend.expectClose(1001, "REVOKED")
		skipTo(t, r.client, wireFrame{first: 0x88})
		r.hangUp()
		r.check(t, ending.Gateway, ending.Revoked, 4001, 0, 1001, 0)
	})
}

// TestCloseInsteadOfFrame ends a session whose client's socket is full, and kept a
// frame of ours. Nothing of a message that comes then is sent, not its end either.
func TestCloseInsteadOfFrame(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{})
		r.client.keepLittle()
		r.fill(t, &r.Relay.client)
		r.End(ending.New(ending.Drain, ""))
		const size = 200 << 10
		message := wireFrame{0x82, make([]byte, size)}.bytes(false)
		go func() { _, _ = r.backend.Write(append(message, ping("").bytes(false)...)) }()
		r.until(t, "the message and the ping behind it are walked over", func() bool { return r.Relay.backend.in.flood > 0 })
		for {
			f, err := r.client.next()
			if err != nil {
				t.Fatal(err)
			}
			if f.first == 0x88 {
				r.client.isClose(f, 1012, "DRAIN")
				break
			}
			if f.first != 0x8a {
				t.Fatalf("the client was sent %v", f)
			}
		}
		r.hangUp()
		if o := r.outcome(t); o.Totals.FromBackend != (ending.Count{}) {
			t.Errorf("totals = %+v, want none", o.Totals)
		}
	})
}

// fill gives a leg pongs until many of them are kept.
func (r *rig) fill(t *testing.T, l *leg) {
	t.Helper()
	r.mu.Lock()
	defer r.unlock()
	for kept := 0; kept < 64<<10; { // the socket may grow
		if l.conn.Pending() {
			kept += 127
		}
		if err := l.sendControl(frame.Pong, make([]byte, 125)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCloseCutsFrame ends a session in the middle of a frame that does not go on.
func TestCloseCutsFrame(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		cfg := quick()
		cfg.FrameEnd, cfg.Close = 50*time.Millisecond, time.Hour
		for _, side := range []ending.Party{ending.Client, ending.Backend} {
			r := newRig(t, cfg, m, ending.Terms{})
			from, to := r.client, r.backend
			if side == ending.Client {
				from, to = to, from
			}
			whole := text("0123456789").bytes(from.mask)
			from.sendRaw(whole[:8])
			if b, err := to.in.Peek(8); err != nil {
				t.Fatal(b, err)
			}
			r.End(ending.New(ending.Blocked, ""))
			if side == ending.Client {
				r.backend.expectClose(1001, "BLOCKED")
			} else {
				r.client.expectClose(4006, "BLOCKED")
			}
			_ = to.expectGone()
			r.hangUp()
			o := r.outcome(t)
			if o.Client.CutMidFrame != (side == ending.Client) || o.Backend.CutMidFrame != (side == ending.Backend) {
				t.Errorf("cut inside a frame: client %v, backend %v", o.Client.CutMidFrame, o.Backend.CutMidFrame)
			}
		}
	})
}
