package relay

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// tap is a limit that pauses, whose rate a test turns up.
type tap struct {
	*limits.Limit
	bucket *limits.Bucket
}

func newTap(t testing.TB, terms limits.Terms, burst int64) tap {
	t.Helper()
	terms.Plan, terms.Name = "plans/gold", "messages-rate"
	b := limits.NewBucket(0, limits.Rate{Amount: 1, Per: time.Hour, Burst: burst})
	l, err := limits.NewRate(terms, b)
	if err != nil {
		t.Fatal(err)
	}
	return tap{l, b}
}

// set gives the limit another rate, as a changed plan does.
func (p tap) set(e *Engine, amount, burst int64) {
	p.bucket.Rearm(e.now(), limits.Rate{Amount: amount, Per: time.Second, Burst: burst})
	e.Serve(p.Limit)
}

func (r *rig) paused(t *testing.T, way ending.Party) {
	t.Helper()
	l := &r.Relay.client
	if way == ending.Backend {
		l = &r.Relay.backend
	}
	r.until(t, "the leg is paused", func() bool { return l.waits() })
}

// of is the direction of what comes from a peer.
func of(way ending.Party) limits.Direction {
	if way == ending.Client {
		return limits.Inbound
	}
	return limits.Outbound
}

// TestPause pauses one direction: what does not fit waits and comes in order when there is
// room, and the other direction flows meanwhile.
func TestPause(t *testing.T) {
	eachWay(t, func(t *testing.T, m mode, way ending.Party) {
		l := newTap(t, limits.Terms{Direction: of(way)}, 3)
		e := NewEngine(quick())
		r := newRigOn(t, e, m, limitedBy(t, l.Limit), nil, nil)
		from, to := r.peers(way)
		sent := textsOf(300)
		from.send(sent...)
		to.expect(sent[:3]...)
		r.paused(t, way)
		to.send(textsOf(50)...)
		from.expect(textsOf(50)...)
		if did, since := r.Limits(); since.IsZero() || len(did) != 1 || did[0].Pauses != 1 {
			t.Errorf("Limits() = %+v, %v, want one pause since a time", did, since)
		}
		l.set(e, 100_000, 10)
		to.expect(sent[3:]...)
		from.send(closing(1000, ""))
		to.expect(closing(1000, ""))
		to.send(closing(1000, ""))
		from.expect(closing(1000, ""))
		r.hangUp()
		if c := counted(r.outcome(t), l.Limit); c.Pauses == 0 || c.Paused <= 0 || c.Dropped+c.Closed != 0 {
			t.Errorf("counted %+v, want pauses only", c)
		}
		e.Wait()
	})
}

// TestTurnAtOnce takes a leg out of the line of a limit before it has noted that it waits:
// what it read is asked for again, and nothing of it is lost.
func TestTurnAtOnce(t *testing.T) {
	eachWay(t, func(t *testing.T, m mode, way ending.Party) {
		l := newTap(t, limits.Terms{Direction: of(way)}, 1)
		e := NewEngine(quick())
		r := newRigOn(t, e, m, limitedBy(t, l.Limit), nil, nil)
		from, to := r.peers(way)
		from.send(text("first"))
		to.expect(text("first"))
		e.pacer.mu.Lock() // a leg that waits tells the pacer
		goOn := sync.OnceFunc(e.pacer.mu.Unlock)
		defer goOn()
		sent := append([]wireFrame{text(strings.Repeat("more than an incomplete frame ", 20))}, textsOf(3)...)
		from.send(sent...)
		var w *limits.Waiter
		until(t, "the leg is in line", func() bool { w = l.Release(); return w != nil })
		goOn()
		w.Owner.(*leg).askAgain()
		r.paused(t, way)
		l.set(e, 100_000, 10)
		to.expect(sent...)
	})
}

// TestPauseBehindHandshake pauses what came with the handshake.
func TestPauseBehindHandshake(t *testing.T) {
	l := newTap(t, limits.Terms{}, 1)
	e := NewEngine(quick())
	sent := textsOf(5)
	r := newRigOn(t, e, mode{}, limitedBy(t, l.Limit), bytesOf(true, sent...), nil)
	r.backend.expect(sent[0])
	r.paused(t, ending.Client)
	l.set(e, 100_000, 10)
	r.backend.expect(sent[1:]...)
}

// plain is the connection under TLS.
func (p *peer) plain() *net.TCPConn {
	c := p.Conn
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return c.(*net.TCPConn)
}

// TestPausedEnds has a session end while a leg is paused, in every way. Nobody is left in
// line.
func TestPausedEnds(t *testing.T) {
	tests := map[string]struct {
		end    func(r *rig, from, to *peer)
		reason func(way ending.Party) ending.Reason
	}{
		"peer ends the stream": {func(_ *rig, from, _ *peer) { _ = from.plain().CloseWrite() }, gone},
		"peer resets":          {func(_ *rig, from, _ *peer) { from.reset() }, gone},
		"peer closes and ends the stream": {func(_ *rig, from, _ *peer) {
			from.send(closing(1000, "bye"))
			_ = from.plain().CloseWrite()
		}, gone},
		"other ends the stream": {func(_ *rig, _, to *peer) { _ = to.plain().CloseWrite() }, goneOther},
		"other resets":          {func(_ *rig, _, to *peer) { to.reset() }, goneOther},
		"operator": {func(r *rig, from, to *peer) {
			r.End(ending.New(ending.OperatorClose, ""))
			for p, code := range map[*peer]uint16{r.client: 4010, r.backend: 1001} {
				p.expectClose(code, "OPERATOR_CLOSE")
				p.send(closing(code, ""))
			}
		}, func(ending.Party) ending.Reason { return ending.OperatorClose }},
		"abort": {func(r *rig, _, _ *peer) { r.Abort(ending.New(ending.Drain, "")) }, func(ending.Party) ending.Reason { return ending.Drain }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, m mode, way ending.Party) {
				l := newTap(t, limits.Terms{Direction: of(way), LongestPause: time.Hour}, 1)
				e := NewEngine(quick())
				r := newRigOn(t, e, m, limitedBy(t, l.Limit), nil, nil)
				from, to := r.peers(way)
				from.send(textsOf(100)...)
				to.expect(text("message 0"))
				r.paused(t, way)
				tt.end(r, from, to)
				r.until(t, "the session ends", func() bool { return r.Relay.ended != nil })
				r.hangUp()
				if o := r.outcome(t); o.Ending.Reason != tt.reason(way) {
					t.Errorf("ending = %+v, want %v", o.Ending, tt.reason(way))
				}
				if l.Waiting() != 0 {
					t.Error("a leg is left in line")
				}
				e.Wait()
			})
		})
	}
}

func goneOther(way ending.Party) ending.Reason {
	if way == ending.Client {
		return ending.BackendGone
	}
	return ending.ClientGone
}

// TestPausedClose has both peers close while one is paused: its close stays behind what it
// sent before.
func TestPausedClose(t *testing.T) {
	eachWay(t, func(t *testing.T, m mode, way ending.Party) {
		l := newTap(t, limits.Terms{Direction: of(way)}, 1)
		cfg := quick()
		cfg.Close = time.Minute
		e := NewEngine(cfg)
		r := newRigOn(t, e, m, limitedBy(t, l.Limit), nil, nil)
		from, to := r.peers(way)
		sent := append(textsOf(20), closing(1000, "behind"))
		from.send(sent...)
		to.expect(sent[0])
		r.paused(t, way)
		to.send(closing(1000, "first"))
		from.expect(closing(1000, "first"))
		l.set(e, 100_000, 5)
		to.expect(sent[1:20]...)
		r.hangUp()
		r.outcome(t)
	})
}

// TestLongestPause ends a session that waited too long without a message passed.
func TestLongestPause(t *testing.T) {
	eachWay(t, func(t *testing.T, m mode, way ending.Party) {
		const longest = 50 * time.Millisecond
		l := newTap(t, limits.Terms{Place: limits.Version, LongestPause: longest}, 1)
		r := newRig(t, quick(), m, limitedBy(t, l.Limit))
		from, to := r.peers(way)
		begin := time.Now()
		from.send(textsOf(2)...)
		to.expect(text("message 0"))
		if reason := r.client.expectClose(4003, "THROTTLED"); !strings.Contains(reason, " retry=") {
			t.Errorf("reason = %q, want a hint", reason)
		}
		if d := time.Since(begin); d < longest {
			t.Errorf("ended after %v, want %v at least", d, longest)
		}
		r.backend.expectClose(1001, "THROTTLED")
		r.hangUp()
		o := r.check(t, ending.Gateway, ending.Throttled, 4003, 0, 1001, 0)
		if want := "the API's own limit, at which the " + way.String() + " waited"; !strings.HasPrefix(o.Ending.Detail, want) {
			t.Errorf("detail = %q, want %q", o.Ending.Detail, want)
		}
		if c := counted(o, l.Limit); c.Pauses != 1 || c.Paused < longest || c.Closed != 1 {
			t.Errorf("counted %+v, want a pause and an end", c)
		}
	})
}

// TestPausedIsNotPinged: a paused leg is sent no pings and none of its pongs is awaited,
// while the other leg is pinged and ends the session if it does not answer.
func TestPausedIsNotPinged(t *testing.T) {
	eachWay(t, func(t *testing.T, m mode, way ending.Party) {
		l := newTap(t, limits.Terms{Direction: of(way), LongestPause: time.Hour}, 1)
		cfg := quick()
		cfg.Ping, cfg.Pong = 20*time.Millisecond, patience
		e := NewEngine(cfg)
		r := newRigOn(t, e, m, limitedBy(t, l.Limit), nil, nil)
		from, to := r.peers(way)
		from.send(textsOf(2)...)
		to.answerUntil(text("message 0"))
		r.paused(t, way)
		paused := r.legs()[way-ending.Client]
		r.mu.Lock()
		paused.out.pingSent = 1 // whose pong is far too late
		r.checkLeg(paused, e.now()+int64(24*time.Hour)/1000)
		l.Release() // it is out of the line, and nobody has let it go on yet
		r.checkLeg(paused, e.now()+int64(24*time.Hour)/1000)
		r.mu.Unlock()
		paused.askAgain()
		for range 5 {
			to.answerUntil(wireFrame{first: 0x89})
		}
		r.mu.Lock()
		if r.Relay.ended != nil || paused.out.pingSent != 1 {
			t.Errorf("ended = %+v, pinged at %d: a paused leg has no clocks", r.Relay.ended, paused.out.pingSent)
		}
		r.mu.Unlock()
		l.set(e, 1000, 1000)
		to.answerUntil(text("message 1"))
		r.until(t, "the clocks of the leg go on", func() bool { return paused.in.lastLife > paused.out.pingSent && !paused.waits() })
	})
}

// TestFairPause has eight sessions flood through one bucket, in reads of all sizes: nothing
// is lost or out of order, and nobody gets less than half of an equal part.
func TestFairPause(t *testing.T) {
	const sessions, each, decided = 8, 1500, 4000
	l := newTap(t, limits.Terms{LongestPause: time.Minute}, 1)
	e := NewEngine(quick())
	var got [sessions]atomic.Int64
	var sum atomic.Int64
	parts := make(chan [sessions]int64, 1)
	done := make(chan error, sessions)
	rigs := make([]*rig, sessions)
	for i := range rigs {
		r := newRigOn(t, e, modes[i%2], limitedBy(t, l.Limit), nil, nil)
		rigs[i] = r
		go func() {
			for n := range uint32(each) {
				f, err := r.backend.next()
				if err != nil || len(f.payload) < 4 || binary.BigEndian.Uint32(f.payload) != n {
					t.Errorf("session %d: %v, %v instead of message %d", i, f, err, n)
					done <- err
					return
				}
				if i == 5 { // its messages have two frames
					if f, err = r.backend.next(); err != nil || f.first != 0x80 {
						t.Errorf("session %d: %v, %v instead of the end of message %d", i, f, err, n)
					}
				}
				got[i].Add(1)
				if sum.Add(1) == decided {
					var all [sessions]int64
					for i := range all {
						all[i] = got[i].Load()
					}
					parts <- all
				}
			}
			done <- nil
		}()
		go func() {
			size := []int{200, 16, 1, 1, 200, 16, 4, 1}[i]
			var b []byte
			for n := range uint32(each) {
				number := binary.BigEndian.AppendUint32(nil, n)
				if i == 5 {
					b = append(b, bytesOf(true, wireFrame{0x02, number}, wireFrame{0x80, []byte("end")})...)
				} else {
					b = append(b, wireFrame{0x82, number}.bytes(true)...)
				}
				if (int(n)+1)%size == 0 || n == each-1 {
					if _, err := r.client.Write(b); err != nil {
						t.Error(err)
						return
					}
					b = b[:0]
				}
			}
		}()
	}
	until(t, "all wait", func() bool { return l.Waiting() == sessions })
	l.set(e, 20_000, 100)
	for i, n := range <-parts {
		t.Logf("session %d: %d of %d", i, n, decided)
		if n < decided/sessions/2 {
			t.Errorf("session %d got %d of %d messages, want half of an equal part at least", i, n, decided)
		}
	}
	for range rigs {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

// TestPausedHoldsItsBytes pauses 1000 legs: each holds what was read and not more.
func TestPausedHoldsItsBytes(t *testing.T) {
	const sessions = 500
	l := newTap(t, limits.Terms{LongestPause: time.Hour}, 1)
	e := NewEngine(quick())
	one := text(strings.Repeat("x", 200))
	rigs := make([]*rig, sessions)
	for i := range rigs {
		r := newRigOn(t, e, mode{}, limitedBy(t, l.Limit), nil, nil)
		r.client.send(one, one)
		r.backend.send(one, one)
		rigs[i] = r
	}
	for _, r := range rigs {
		for _, l := range r.legs() {
			r.until(t, "the leg is paused", l.waits)
			r.mu.Lock()
			if h := l.in.held; h.mem != nil || cap(h.rest) > 600 {
				t.Fatalf("a leg holds %d bytes of %d, and a buffer: %v", len(h.rest), cap(h.rest), h.mem != nil)
			}
			r.mu.Unlock()
		}
	}
	if l.Waiting() != 2*sessions {
		t.Errorf("%d wait, want all %d", l.Waiting(), 2*sessions)
	}
	for _, r := range rigs {
		r.Abort(ending.New(ending.Drain, ""))
	}
	if l.Waiting() != 0 {
		t.Errorf("%d wait after the end", l.Waiting())
	}
}

// TestSetLimits replaces the limits of a paused session.
func TestSetLimits(t *testing.T) {
	tests := map[string]struct {
		next func(t *testing.T) *limits.Chain
		want int // messages that the other peer gets
	}{
		"none":   {func(*testing.T) *limits.Chain { return nil }, 10},
		"room":   {func(t *testing.T) *limits.Chain { return chainOf(t, newTap(t, limits.Terms{}, 100).Limit) }, 10},
		"drops":  {func(t *testing.T) *limits.Chain { return chainOf(t, hourly(t, limits.Terms{Reaction: limits.Drop}, 4)) }, 6},
		"pauses": {func(t *testing.T) *limits.Chain { return chainOf(t, newTap(t, limits.Terms{}, 4).Limit) }, 6},
		"closes": {func(t *testing.T) *limits.Chain {
			return chainOf(t, hourly(t, limits.Terms{Reaction: limits.Close}, 4))
		}, 6},
		"release": {nil, 10},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			eachWay(t, func(t *testing.T, m mode, way ending.Party) {
				l := newTap(t, limits.Terms{}, 2)
				e := NewEngine(quick())
				r := newRigOn(t, e, m, limitedBy(t, l.Limit), nil, nil)
				from, to := r.peers(way)
				sent := textsOf(10)
				from.send(sent...)
				to.expect(sent[:2]...)
				r.paused(t, way)
				if tt.next != nil {
					r.SetLimits(ending.Limits{Chain: tt.next(t)})
				} else { // as a plan does of which a limit is gone
					r.mu.Lock()
					r.limited.chain = nil
					r.mu.Unlock()
					e.Release(l.Limit)
				}
				to.expect(sent[2:tt.want]...)
				switch name {
				case "drops", "none", "room", "release":
					from.send(ping("p"))
					from.expect(pong("p"))
				case "closes":
					r.client.expectClose(4003, "THROTTLED")
				case "pauses":
					r.paused(t, way)
				}
				if l.Waiting() != 0 {
					t.Error("it waits at the limit that it does not have any more")
				}
			})
		})
	}
}

// TestSetMaxMessage changes the greatest message inside of one: it holds from the next one
// on, both ways, but is never over the configured one.
func TestSetMaxMessage(t *testing.T) {
	eachWay(t, func(t *testing.T, m mode, way ending.Party) {
		r := newRig(t, bounded(), m, ending.Terms{Limits: ending.Limits{MaxMessage: 100}})
		from, to := r.peers(way)
		begun, rest := wireFrame{0x01, make([]byte, 60)}, wireFrame{0x80, make([]byte, 40)}
		from.send(begun)
		to.expect(begun)
		r.SetLimits(ending.Limits{MaxMessage: 50})
		from.send(rest, text(strings.Repeat("x", 50)))
		to.expect(rest, text(strings.Repeat("x", 50)))
		r.SetLimits(ending.Limits{MaxMessage: 5000})
		from.send(wireFrame{0x82, make([]byte, 1000)})
		to.expect(wireFrame{0x82, make([]byte, 1000)})
		from.send(begun)
		to.expect(begun)
		r.SetLimits(ending.Limits{MaxMessage: 50})
		from.send(wireFrame{0x80, make([]byte, 900)})
		to.expect(wireFrame{0x80, make([]byte, 900)})
		from.sendRaw(wireFrame{0x82, make([]byte, 51)}.bytes(from.mask)[:6])
		from.expectClose(1009, "TOO_BIG")
	})
}

// TestSetMaxAge changes the greatest age of a session, both ways.
func TestSetMaxAge(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		begin := time.Now()
		r := newRig(t, quick(), m, ending.Terms{MaxAge: time.Hour, Retry: 2 * time.Second, Limits: ending.Limits{MaxAge: time.Minute}})
		lasts := func() time.Duration {
			r.mu.Lock()
			defer r.mu.Unlock()
			return time.Duration(r.maxAgeAt - r.start.at)
		}
		for _, tt := range []struct{ set, want time.Duration }{{time.Minute, time.Minute}, {10 * time.Minute, 10 * time.Minute}, {2 * time.Hour, time.Hour}, {0, time.Hour}, {30 * time.Second, 30 * time.Second}} {
			r.SetLimits(ending.Limits{MaxAge: tt.set})
			before := lasts()
			if before < tt.want*9/10 || before > tt.want {
				t.Errorf("an age of %v lasts %v, want %v and up to a tenth less", tt.set, before, tt.want)
			}
			r.SetLimits(ending.Limits{MaxAge: tt.set})
			if again := lasts(); again != before {
				t.Errorf("the same age again moves the end from %v to %v", before, again)
			}
		}
		r.SetLimits(ending.Limits{MaxAge: time.Nanosecond})
		if got := r.client.expectClose(1012, "MAX_AGE"); !strings.HasSuffix(got, " retry=2000ms") {
			t.Errorf("reason = %q, want a hint of 2000ms", got)
		}
		if time.Since(begin) > 30*time.Second {
			t.Error("it took as long as the age before")
		}
		r.hangUp()
		r.check(t, ending.Gateway, ending.MaxAge, 1012, 0, 1001, 0)
	})
}

// TestObservedHits counts what a limit on observe would have refused.
func TestObservedHits(t *testing.T) {
	eachWay(t, func(t *testing.T, m mode, way ending.Party) {
		l := hourly(t, limits.Terms{Observe: true}, 4)
		r := newRig(t, quick(), m, limitedBy(t, l))
		from, to := r.peers(way)
		from.send(textsOf(10)...)
		to.expect(textsOf(10)...)
		from.send(closing(1000, ""))
		to.expect(closing(1000, ""))
		to.send(closing(1000, ""))
		r.hangUp()
		if c := counted(r.outcome(t), l); c.Hits != 6 || l.Hits() != 6 {
			t.Errorf("counted %+v, the limit %d, want 6 hits", c, l.Hits())
		}
	})
}

// TestWaitForSlice has messages wait for a quota's slice, and refused when there is none.
func TestWaitForSlice(t *testing.T) {
	eachWay(t, func(t *testing.T, m mode, way ending.Party) {
		window := limits.Window{Number: 1, End: int64(time.Hour)}
		q := limits.NewQuota(window)
		l, err := limits.NewQuotaLimit(limits.Terms{Plan: "plans/gold", Name: "messages-per-day", Reaction: limits.Close}, q)
		if err != nil {
			t.Fatal(err)
		}
		e := NewEngine(quick())
		r := newRigOn(t, e, m, limitedBy(t, l), nil, nil)
		from, to := r.peers(way)
		sent := textsOf(10)
		from.send(sent...)
		r.paused(t, way)
		q.Grant(e.now(), window, 4)
		e.Serve(l)
		to.expect(sent[:4]...)
		r.paused(t, way)
		q.UsedUp(e.now(), 1)
		e.Serve(l)
		r.client.expectClose(4003, "THROTTLED")
		r.hangUp()
		o := r.outcome(t)
		if _, left := q.Left(e.now()); left != 0 || o.Totals.FromClient.Messages+o.Totals.FromBackend.Messages != 4 {
			t.Errorf("%d left of the slice, totals %+v, want 4 messages and none left", left, o.Totals)
		}
		for _, c := range o.Limits {
			if c.Pauses != 0 || c.Paused != 0 || c.Closed != 1 {
				t.Errorf("the quota did %+v, want one close, and no pause", c)
			}
		}
	})
}

// TestGivesBack ends sessions whose peer does not read: quotas have been charged for what
// the totals say, to the byte.
func TestGivesBack(t *testing.T) {
	const slice = 1 << 40
	ends := map[string]func(r *rig, from, to *peer){
		"reset": func(_ *rig, _, to *peer) { to.reset() },
		"close": func(r *rig, _, to *peer) {
			r.End(ending.New(ending.OperatorClose, ""))
			to.reset()
		},
		"abort": func(r *rig, _, _ *peer) { r.Abort(ending.New(ending.Drain, "")) },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			for _, way := range []ending.Party{ending.Client, ending.Backend} {
				window := limits.Window{Number: 1, End: int64(time.Hour)}
				var quotas [2]*limits.Quota
				var all []*limits.Limit
				for i, unit := range []limits.Unit{limits.Messages, limits.Bytes} {
					quotas[i] = limits.NewQuota(window)
					quotas[i].Grant(0, window, slice)
					l, err := limits.NewQuotaLimit(limits.Terms{Unit: unit, Reaction: limits.Drop}, quotas[i])
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, l)
				}
				e := NewEngine(quick())
				r := newRigOn(t, e, mode{}, limitedBy(t, all...), nil, nil)
				from, to := r.peers(way)
				to.keepLittle()
				wrote := make(chan struct{})
				go func() {
					defer close(wrote)
					message := bytesOf(from.mask, wireFrame{0x02, make([]byte, 700)}, wireFrame{0x80, make([]byte, 300)})
					for {
						if _, err := from.Write(bytes.Repeat(message, 50)); err != nil {
							return
						}
					}
				}()
				r.until(t, "the other leg stalls", func() bool { return r.legs()[2-way].out.stalled != 0 })
				end(r, from, to)
				r.until(t, "the session ends", func() bool { return r.Relay.ended != nil })
				r.hangUp()
				o := r.outcome(t)
				<-wrote
				n := o.Totals.FromClient
				n.Add(&o.Totals.FromBackend)
				for i, used := range []uint64{n.Messages, n.Payload} {
					if _, left := quotas[i].Left(e.now()); slice-left != int64(used) {
						t.Errorf("from the %s: %d charged, %d in the totals", way, slice-left, used)
					}
				}
			}
		})
	}
}
