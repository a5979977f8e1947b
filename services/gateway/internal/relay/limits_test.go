package relay

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// hourly returns a limit that lets burst pass and refills so slowly that a test does not
// see it.
func hourly(t testing.TB, terms limits.Terms, burst int64) *limits.Limit {
	t.Helper()
	return rate(t, terms, limits.Rate{Amount: 1, Per: time.Hour, Burst: burst})
}

func rate(t testing.TB, terms limits.Terms, rate limits.Rate) *limits.Limit {
	t.Helper()
	terms.Plan = "plans/gold"
	if terms.Name == "" {
		terms.Name = "messages-rate"
	}
	l, err := limits.NewRate(terms, limits.NewBucket(0, rate))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func chainOf(t testing.TB, of ...*limits.Limit) *limits.Chain {
	t.Helper()
	c, err := limits.NewChain(of...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// limitedBy returns the terms of a session with these limits.
func limitedBy(t testing.TB, of ...*limits.Limit) ending.Terms {
	t.Helper()
	return ending.Terms{Limits: ending.Limits{Chain: chainOf(t, of...)}}
}

// eachWay runs the test for messages from the client and from the backend, with plain legs
// and with TLS legs.
func eachWay(t *testing.T, test func(t *testing.T, m mode, way ending.Party)) {
	for _, way := range []ending.Party{ending.Client, ending.Backend} {
		t.Run(way.String(), func(t *testing.T) {
			eachMode(t, func(t *testing.T, m mode) { test(t, m, way) })
		})
	}
}

// peers returns the peer that sends and the one that receives.
func (r *rig) peers(way ending.Party) (from, to *peer) {
	if way == ending.Client {
		return r.client, r.backend
	}
	return r.backend, r.client
}

func textsOf(n int) (all []wireFrame) {
	for i := range n {
		all = append(all, text(fmt.Sprint("message ", i)))
	}
	return all
}

// counted returns what the outcome says of a limit.
func counted(o ending.Outcome, l *limits.Limit) ending.LimitCount {
	i := slices.IndexFunc(o.Limits, func(c ending.LimitCount) bool { return c.Limit == l })
	if i < 0 {
		return ending.LimitCount{}
	}
	return o.Limits[i]
}

// TestLimitCloses ends a session at the first message that does not fit, whichever way
// it goes: what fits goes on before.
func TestLimitCloses(t *testing.T) {
	eachWay(t, func(t *testing.T, m mode, way ending.Party) {
		l := hourly(t, limits.Terms{Place: limits.Application, Reaction: limits.Close}, 3)
		r := newRig(t, quick(), m, limitedBy(t, l))
		from, to := r.peers(way)
		sent := textsOf(5)
		from.send(sent...)
		to.expect(sent[:3]...)
		reason := r.client.expectClose(4003, "THROTTLED")
		var ms int
		if n, err := fmt.Sscanf(reason, "THROTTLED ref=REF retry=%dms", &ms); n != 1 || err != nil {
			t.Errorf("reason = %q, want a hint", reason)
		}
		if hour := int(time.Hour.Milliseconds()); ms < hour*9/10 || ms > hour*11/10 {
			t.Errorf("hint = %d ms, want an hour, and up to a tenth more", ms)
		}
		r.backend.expectClose(1001, "THROTTLED")
		r.hangUp()
		o := r.check(t, ending.Gateway, ending.Throttled, 4003, 0, 1001, 0)
		if want := "a limit of the application"; o.Ending.Detail != want || o.Ending.Limit != l {
			t.Errorf("detail = %q, want %q", o.Ending.Detail, want)
		}
		if c := counted(o, l); c.Closed != 1 {
			t.Errorf("counted %+v, want one closed", c)
		}
		if n := o.Totals.FromClient.Messages + o.Totals.FromBackend.Messages; n != 3 {
			t.Errorf("%d messages counted, want 3", n)
		}
	})
}

// dropStream is a stream for a limit of 100 bytes that drops, and what is left of it.
func dropStream(mask bool) (all, left []byte, dropped int, pings []wireFrame) {
	room := 100
	for _, m := range [][]wireFrame{
		{text("0123456789")},
		{text(strings.Repeat("a", 80))},
		{text("")},
		{{0x01, []byte("01234")}, ping("one"), {0x00, []byte("56")}, {0x80, nil}},
		{{0x02, bytes.Repeat([]byte("b"), 90)}, ping("two"), {0x00, []byte("c")}, ping("three"), {0x80, bytes.Repeat([]byte("d"), 130)}},
		{text("x")}, {text("y")}, {{0x82, []byte(strings.Repeat("e", 200))}},
		{{0x01, []byte("f")}, ping("four"), {0x80, bytes.Repeat([]byte("g"), 127)}}, // into debt
		{text("too late")},
		{text("")},
		{{0x01, []byte("h")}, ping("five"), {0x80, nil}},
		{{0x01, nil}, {0x80, []byte("i")}},
	} {
		passes := len(m[0].payload) == 0 || len(m[0].payload) <= room
		if !passes {
			dropped++
		}
		for _, f := range m {
			b := f.bytes(mask)
			all = append(all, b...)
			switch {
			case f.first == 0x89:
				pings = append(pings, pong(string(f.payload)))
			case passes:
				left = append(left, b...)
				room -= len(f.payload)
			}
		}
	}
	return all, left, dropped, pings
}

// TestDropCuts has a limit drop messages, whole ones and such of several frames, out of a
// stream that is cut in two at every byte, and into single bytes: what is left is the same
// always. Pings inside of what is dropped are found.
func TestDropCuts(t *testing.T) {
	for _, masked := range []bool{true, false} {
		all, left, dropped, pings := dropStream(masked)
		for at := range all {
			r, src := newWalk(masked, false, 1<<20)
			l := hourly(t, limits.Terms{Unit: limits.Bytes, Reaction: limits.Drop}, 100)
			r.start = &start{}
			r.makeLimited().chain = chainOf(t, l)
			first := at
			h := walkLimited(t, r, src, all, func(n int) int {
				if at == 0 {
					return 1
				}
				defer func() { first = n }()
				return first
			})
			if !bytes.Equal(h.data, left) {
				t.Fatalf("cut at %d: %x is left, want %x", at, h.data, left)
			}
			if len(h.controls) != len(pings) {
				t.Fatalf("cut at %d: %d pings, want %d", at, len(h.controls), len(pings))
			}
			if want := hear(left, masked, false, 1<<20).count; h.count != want {
				t.Fatalf("cut at %d: count = %+v, want %+v", at, h.count, want)
			}
			if n := r.tally.limit(l).Dropped; n != uint64(dropped) {
				t.Fatalf("cut at %d: %d dropped, want %d", at, n, dropped)
			}
			for _, edge := range h.edges {
				if !slices.Contains(hear(left, masked, false, 1<<20).edges, edge) {
					t.Fatalf("cut at %d: an edge at %d of what is left, which is inside a frame", at, edge)
				}
			}
		}
	}
}

// walkLimited is walkAll for a session with limits that never pause.
func walkLimited(t testing.TB, r *Relay, src *leg, b []byte, pieces func(left int) int) (h heard) {
	t.Helper()
	c := new(chunk)
	var partial []byte
	for len(b) > 0 {
		n := min(pieces(len(b)), len(b))
		c.rest = append(slices.Clip(partial), b[:n]...)
		b = b[n:]
		for {
			r.admit(c, src)
			if c.edge >= 0 && len(c.out) > 0 {
				h.edges = append(h.edges, len(h.data)+c.edge)
			}
			h.data = append(h.data, c.out...)
			h.count.Add(&c.count)
			if c.end != nil {
				t.Fatalf("ends: %+v", *c.end)
			}
			if c.control.Size == 0 {
				break
			}
			h.controls = append(h.controls, wireFrame{})
			c.rest = c.rest[c.control.Size+int(c.control.Length):]
			c.control.Size = 0
		}
		partial = bytes.Clone(c.rest)
	}
	return h
}

// TestLimitDrops sends the same stream through a session byte by byte and at once: the
// other peer gets what is left, and pings are answered.
func TestLimitDrops(t *testing.T) {
	eachWay(t, func(t *testing.T, m mode, way ending.Party) {
		for _, piece := range []int{1, 7, 1 << 20} {
			l := hourly(t, limits.Terms{Unit: limits.Bytes, Reaction: limits.Drop}, 100)
			r := newRig(t, quick(), m, limitedBy(t, l))
			from, to := r.peers(way)
			all, left, dropped, pongs := dropStream(from.mask)
			for part := range slices.Chunk(all, piece) {
				from.sendRaw(part)
			}
			for rest := left; len(rest) > 0; {
				var raw bytes.Buffer
				f, err := readFrame(&tee{to, &raw}, !to.mask)
				if err != nil || !bytes.HasPrefix(rest, raw.Bytes()) {
					t.Fatalf("%v, %v with %d bytes to come", f, err, len(rest))
				}
				rest = rest[raw.Len():]
			}
			from.answersTo(pongs)
			from.send(closing(1000, ""))
			to.expect(closing(1000, ""))
			to.send(closing(1000, ""))
			from.expect(closing(1000, ""))
			r.hangUp()
			o := r.outcome(t)
			if c := counted(o, l); c.Dropped != uint64(dropped) {
				t.Errorf("counted %+v, want %d dropped", c, dropped)
			}
			if got, want := []ending.Count{o.Totals.FromClient, o.Totals.FromBackend}, hear(left, from.mask, false, 1<<20).count; !slices.Contains(got, want) {
				t.Errorf("totals = %+v, want %+v", got, want)
			}
		}
	})
}

// answersTo reads pongs: of those that waited, the last one is there in any case.
func (p *peer) answersTo(pongs []wireFrame) {
	p.t.Helper()
	for {
		f, err := p.next()
		i := slices.IndexFunc(pongs, func(want wireFrame) bool { return want.String() == f.String() })
		if err != nil || i < 0 {
			p.t.Fatalf("%s: %v, %v, want one of %v", p.name, f, err, pongs)
		}
		if pongs = pongs[i+1:]; len(pongs) == 0 {
			return
		}
	}
}

// tee reads what a peer gets, and notes it.
type tee struct {
	*peer
	raw *bytes.Buffer
}

func (r *tee) Read(p []byte) (int, error) {
	_ = r.SetReadDeadline(time.Now().Add(patience))
	n, err := r.in.Read(p)
	r.raw.Write(p[:n])
	return n, err
}

// TestDropIsNoWayAround sends messages that are dropped and too great, or have too many
// empty frames: they end the session as they would if they passed.
func TestDropIsNoWayAround(t *testing.T) {
	eachWay(t, func(t *testing.T, m mode, way ending.Party) {
		l := hourly(t, limits.Terms{Reaction: limits.Drop}, 1)
		cfg := quick()
		cfg.MaxMessage = 1000
		r := newRig(t, cfg, m, limitedBy(t, l))
		from, to := r.peers(way)
		from.send(text("passes"), wireFrame{0x01, make([]byte, 900)})
		to.expect(text("passes"))
		from.send(wireFrame{0x00, make([]byte, 101)})
		from.expectClose(1009, "TOO_BIG")
		r.hangUp()
		r.outcome(t)
	})
	t.Run("endless", func(t *testing.T) {
		l := hourly(t, limits.Terms{Reaction: limits.Drop}, 1)
		r := newRig(t, quick(), mode{}, limitedBy(t, l))
		r.client.send(text("passes"), wireFrame{0x01, []byte("x")})
		r.client.sendRaw(bytes.Repeat(wireFrame{0x00, nil}.bytes(true), 150))
		r.backend.expect(text("passes"))
		r.client.expectClose(1008, "FLOOD")
		r.hangUp()
		r.outcome(t)
	})
}

// TestLimitClosesBehindClose: what the backend still sends to a client that has closed may
// be more than a limit allows. The client has ended the session, and the limit is counted,
// as it was what the client was told.
func TestLimitClosesBehindClose(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		l := hourly(t, limits.Terms{Reaction: limits.Close}, 1)
		r := newRig(t, quick(), m, limitedBy(t, l))
		r.client.send(closing(1000, "bye"))
		r.backend.expect(closing(1000, "bye"))
		r.backend.send(text("passes"), text("one too many"))
		r.client.expect(text("passes"))
		r.client.expectClose(4003, "THROTTLED")
		r.hangUp()
		o := r.outcome(t)
		if o.Ending.Reason != ending.PeerClose || o.Ending.By != ending.Client {
			t.Errorf("the session ended by %v, %v, want the client's close", o.Ending.By, o.Ending.Reason)
		}
		if c := counted(o, l); c.Closed != 1 {
			t.Errorf("counted %+v, want one closed", c)
		}
	})
}

// TestDropFlood ends a session of which more than 1000 messages are dropped in a second.
func TestDropFlood(t *testing.T) {
	eachWay(t, func(t *testing.T, m mode, way ending.Party) {
		l := hourly(t, limits.Terms{Reaction: limits.Drop}, 1)
		one := text("x").bytes(way == ending.Client)
		r := newRig(t, quick(), m, limitedBy(t, l))
		from, to := r.peers(way)
		from.sendRaw(bytes.Repeat(one, 1001))
		to.expect(text("x"))
		from.send(ping("p"))
		from.expect(pong("p"))

		l = hourly(t, limits.Terms{Reaction: limits.Drop}, 1)
		r = newRig(t, quick(), m, limitedBy(t, l))
		from, to = r.peers(way)
		from.sendRaw(bytes.Repeat(one, 1002))
		to.expect(text("x"))
		r.client.expectClose(4003, "THROTTLED")
		r.backend.expectClose(1001, "THROTTLED")
		r.hangUp()
		if c := counted(r.check(t, ending.Gateway, ending.Throttled, 4003, 0, 1001, 0), l); c.Dropped != 1001 || c.Closed != 1 {
			t.Errorf("counted %+v, want 1001 dropped", c)
		}
	})
}
