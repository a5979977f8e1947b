package relay

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/kit/frame"
)

// heard is what a direction's bytes amount to.
type heard struct {
	data     []byte       // data frames and parts of such, one after the other
	edges    []int        // places between frames in data
	controls []wireFrame  // complete control frames, unmasked
	count    ending.Count // of data
	code     uint16       // of the breach at the end; 0: none
	at       int          // where the frame begins that is not complete, or the breach
	fragment bool         // inside a message of several frames
	rsv1     bool         // messages may be compressed
	size     uint64       // of the message up to here
}

// hear is a parser as one would write it from RFC 6455, for whole streams.
func hear(b []byte, masked, compressed bool, limit int64) (h heard) {
	h.rsv1 = compressed
	for pos := 0; ; {
		h.at = pos
		if len(h.edges) == 0 || h.edges[len(h.edges)-1] != len(h.data) {
			h.edges = append(h.edges, len(h.data))
		}
		rest := b[pos:]
		if len(rest) < 2 {
			return h
		}
		n, size := uint64(rest[1]&0x7f), 2
		if n >= 126 {
			size = map[uint64]int{126: 4, 127: 10}[n]
			if len(rest) < size {
				return h
			}
			n = 0
			for _, c := range rest[2:size] {
				n = n<<8 | uint64(c)
			}
		}
		if masked {
			size += 4
		}
		if len(rest) < size {
			return h
		}
		if h.code = h.judge(rest, n, masked, limit); h.code != 0 {
			return h
		}
		if rest[0]&0x08 != 0 {
			if uint64(len(rest)) < uint64(size)+n {
				return h
			}
			f := wireFrame{rest[0], bytes.Clone(rest[size : size+int(n)])}
			for i := range f.payload {
				if masked {
					f.payload[i] ^= rest[size-4+i%4]
				}
			}
			h.controls = append(h.controls, f)
			pos += size + int(n)
			continue
		}
		whole := uint64(size) + n
		take := min(whole, uint64(len(rest)))
		h.data = append(h.data, rest[:take]...)
		h.count.Frames++
		h.count.Payload += take - uint64(size)
		h.count.Wire += take
		if rest[0]&0x0f != 0 {
			h.count.Messages++
		}
		if pos += int(take); take < whole {
			h.at = pos
			return h
		}
	}
}

// judge says which close code the header earns, 0 for none.
func (h *heard) judge(b []byte, n uint64, masked bool, limit int64) uint16 {
	op, fin := b[0]&0x0f, b[0] >= 0x80
	field := b[1] & 0x7f
	known := op <= 2 || op >= 8 && op <= 10
	switch {
	case b[0]&0x40 != 0 && (!h.rsv1 || op != 1 && op != 2), b[0]&0x30 != 0, !known, b[1] >= 0x80 != masked:
		return 1002
	case op >= 8 && (!fin || field > 125):
		return 1002
	case field == 126 && n < 126, field == 127 && n < 65536, n>>63 == 1:
		return 1002
	case op == 0 && !h.fragment, (op == 1 || op == 2) && h.fragment:
		return 1002
	case op >= 8:
		return 0
	}
	if op != 0 {
		h.size = 0
	}
	if n > uint64(limit) || h.size+n > uint64(limit) {
		return 1009
	}
	h.size += n
	h.fragment = !fin
	return 0
}

// newWalk returns a session without connections and its client's leg, or its
// backend's when frames are not masked, to walk over what comes from it.
func newWalk(masked, compressed bool, limit int64) (*Relay, *leg) {
	cfg := Default()
	cfg.Flood = math.MaxInt
	r := &Relay{engine: NewEngine(cfg)}
	l := &r.client
	if !masked {
		l = &r.backend
	}
	l.relay, l.in.frames = r, frame.NewWalker(masked, limit)
	if compressed {
		l.in.frames.AllowCompressed()
	}
	return r, l
}

// walkAll has the relay's own code walk over b in pieces, as reads bring it.
func walkAll(t testing.TB, b []byte, masked, compressed bool, limit int64, pieces func(left int) int) (h heard) {
	r, l := newWalk(masked, compressed, limit)
	c := new(chunk)
	var partial []byte
	for len(b) > 0 {
		n := min(max(pieces(len(b)), 1), len(b))
		c.rest = append(slices.Clip(partial), b[:n]...)
		b = b[n:]
		for {
			inside := l.in.frames.MidFrame()
			r.walk(c, l)
			if len(c.out) > 0 || c.edge >= 0 {
				checkEdge(t, c, inside)
				if c.edge >= 0 {
					h.edges = append(h.edges, len(h.data)+c.edge)
				}
			}
			h.data = append(h.data, c.out...)
			h.count.Add(&c.count)
			if c.end != nil {
				if h.code = c.end.ClientCode; !masked {
					h.code = c.end.BackendCode
				}
				return h
			}
			if c.control.Size == 0 {
				break
			}
			payload := bytes.Clone(c.rest[c.control.Size : c.control.Size+int(c.control.Length)])
			if masked {
				frame.Unmask(payload, c.control.MaskKey)
			}
			h.controls = append(h.controls, wireFrame{0x80 | byte(c.control.Opcode), payload})
			c.rest = c.rest[c.control.Size+len(payload):]
		}
		partial = bytes.Clone(c.rest)
		if len(partial) > headroom {
			t.Fatalf("%d bytes are kept for the next piece, the headroom is %d", len(partial), headroom)
		}
	}
	return h
}

// checkEdge checks that a piece that starts between frames says so.
func checkEdge(t testing.TB, c *chunk, inside bool) {
	if !inside && c.edge != 0 || inside && c.edge == 0 || c.edge > len(c.out) {
		t.Fatalf("edge = %d of %d bytes, inside a frame before: %v", c.edge, len(c.out), inside)
	}
}

// compare checks what the relay's code made of b against the naive parser.
func compare(t testing.TB, b []byte, masked, compressed bool, limit int64, got heard) {
	t.Helper()
	want := hear(b, masked, compressed, limit)
	if got.code != 0 && want.code == 0 {
		// Reported before the header was complete: then no rest of it may be legal.
		for _, rest := range []string{"\x00", "\x01\x00", "\x00\x00\x00\x00\x00\x01\x00\x00"} {
			padded := append(bytes.Clone(b), append([]byte(rest), make([]byte, 20)...)...)
			if p := hear(padded, masked, compressed, limit); p.code == 0 || p.at != want.at {
				t.Fatalf("breach %d in %x, though %x is legal", got.code, b[want.at:], padded[want.at:])
			}
		}
		want.code = got.code
	}
	if got.code != want.code {
		t.Fatalf("code = %d, want %d at %d", got.code, want.code, want.at)
	}
	if !bytes.Equal(got.data, want.data) {
		t.Fatalf("data = %x, want %x", got.data, want.data)
	}
	if got.count != want.count {
		t.Fatalf("count = %+v, want %+v", got.count, want.count)
	}
	if len(got.controls)+len(want.controls) > 0 && !reflect.DeepEqual(got.controls, want.controls) {
		t.Fatalf("control frames = %v, want %v", got.controls, want.controls)
	}
	edges := map[int]bool{}
	for _, at := range want.edges {
		edges[at] = true
	}
	for _, at := range got.edges {
		if !edges[at] {
			t.Fatalf("an edge at %d of the data, which is none of %v", at, want.edges)
		}
	}
}

func FuzzWalk(f *testing.F) {
	for _, masked := range []bool{false, true} {
		for _, breach := range breaches(masked) {
			f.Add(breach.b, masked, false, uint16(1000), uint64(1))
			f.Add(append(text("ok").bytes(masked), breach.b...), masked, true, uint16(1000), uint64(2))
		}
		var b []byte
		for _, fr := range []wireFrame{text("one"), {0x02, make([]byte, 126)}, ping("p"), {0x00, make([]byte, 125)}, {0x80, nil}, {0xc2, make([]byte, 7)}, {0x41, []byte("x")}, {0x80, nil}, {0x82, make([]byte, 70000)}} {
			b = append(b, fr.bytes(masked)...)
		}
		f.Add(b, masked, false, uint16(0), uint64(3))
		f.Add(b, masked, true, uint16(0), uint64(3))
	}
	f.Fuzz(func(t *testing.T, b []byte, masked, compressed bool, limit uint16, seed uint64) {
		most := int64(limit)
		if limit == 0 {
			most = 1 << 62
		}
		compare(t, b, masked, compressed, most, walkAll(t, b, masked, compressed, most, func(left int) int { return left }))
		compare(t, b, masked, compressed, most, walkAll(t, b, masked, compressed, most, func(int) int { return 1 }))
		rnd := rand.New(rand.NewPCG(seed, 0))
		compare(t, b, masked, compressed, most, walkAll(t, b, masked, compressed, most, func(int) int { return 1 + rnd.IntN(20) }))
	})
}

// TestWalkSplits walks over a stream of everything legal, cut in two at every
// place.
func TestWalkSplits(t *testing.T) {
	for _, masked := range []bool{false, true} {
		var b []byte
		near := map[int]bool{} // places in headers and at ends
		for _, f := range []wireFrame{
			text(""), text("one"), {0x01, make([]byte, 125)}, ping("p"), {0x00, nil}, pong("123"), {0x80, make([]byte, 126)},
			{0x82, make([]byte, 65535)}, {0xc1, make([]byte, 130)}, {0x41, []byte("abc")}, {0x80, nil}, closing(1000, "bye"), {0x02, make([]byte, 65536)}, {0x80, []byte("x")},
		} {
			for i := range 20 {
				near[len(b)+i], near[len(b)-i] = true, true
			}
			b = append(b, f.bytes(masked)...)
		}
		for at := 1; at < len(b); at++ {
			if !near[at] && at%4999 != 0 {
				continue
			}
			first := true
			compare(t, b, masked, true, 1<<20, walkAll(t, b, masked, true, 1<<20, func(left int) int {
				if first {
					first = false
					return at
				}
				return left
			}))
		}
	}
}

func TestWalkAllocates(t *testing.T) {
	r, l := newWalk(true, false, 1<<20)
	c := new(chunk)
	b := bytes.Repeat(wireFrame{0x82, make([]byte, 100)}.bytes(true), 20)
	if n := testing.AllocsPerRun(1000, func() {
		for c.rest = b; len(c.rest) > 0; {
			if r.walk(c, l); c.end != nil {
				t.Fatal(c.end)
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for walking over 20 frames, want none", n)
	}
}

// TestHugeFrame begins frames that are as long as can be, where nothing bounds messages:
// what limits are asked for is never less than nothing.
func TestHugeFrame(t *testing.T) {
	huge := append([]byte{0x82, 0x80 | 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, make([]byte, 4)...)
	r, l := newWalk(true, false, -1)
	l.in.frames.SetLimit(-1)
	q := limits.NewQuota(limits.Window{Number: 1, End: math.MaxInt64})
	q.SetLack(limits.LackAllows)
	bytesLimit, err := limits.NewQuotaLimit(limits.Terms{Unit: limits.Bytes, Reaction: limits.Drop}, q)
	if err != nil {
		t.Fatal(err)
	}
	r.makeLimited().chain = chainOf(t, bytesLimit)
	c := &chunk{rest: append(bytesOf(true, text("a"), text("b")), huge...)}
	r.admit(c, l)
	if _, left := q.Left(0); left != -2 {
		t.Errorf("%d left of the quota, want 2 owed", left)
	}
	if c.end == nil || c.end.Reason != ending.TooBig {
		t.Errorf("the session ends as %+v, want TOO_BIG", c.end)
	}
}

// TestUnderNoChain has a frame begin while no limits hold: nothing of it is given back to
// those that held before.
func TestUnderNoChain(t *testing.T) {
	r, l := newWalk(true, false, 1<<20)
	q := limits.NewQuota(limits.Window{Number: 1, End: math.MaxInt64})
	q.Grant(0, limits.Window{Number: 1, End: math.MaxInt64}, 1000)
	bytesLimit, err := limits.NewQuotaLimit(limits.Terms{Unit: limits.Bytes, Reaction: limits.Drop}, q)
	if err != nil {
		t.Fatal(err)
	}
	begun := wireFrame{0x82, make([]byte, 100)}.bytes(true)
	pass := func(b []byte, chain *limits.Chain) *chunk {
		r.makeLimited().chain = chain
		c := &chunk{rest: b}
		r.admit(c, l)
		return c
	}
	pass(text("12345").bytes(true), chainOf(t, bytesLimit))
	pass(begun[:20], nil)
	r.giveBack(pass(begun[20:30], chainOf(t, bytesLimit)), l)
	r.giveBackRest(l)
	if _, left := q.Left(0); left != 995 {
		t.Errorf("%d left of 1000 after 5 bytes, want 995", left)
	}
}

// BenchmarkWalk walks over what a read may bring, without limits and with limits at four
// places that let it pass.
func BenchmarkWalk(b *testing.B) {
	for _, n := range []int{1, 16} {
		frames := bytes.Repeat(wireFrame{0x82, make([]byte, 128)}.bytes(true), n)
		for _, chain := range []*limits.Chain{nil, roomyChain(b)} {
			b.Run(fmt.Sprintf("messages=%d/limits=%t", n, chain != nil), func(b *testing.B) {
				r, l := newWalk(true, false, 1<<20)
				walk := r.walk
				if chain != nil {
					r.makeLimited().chain = chain
					walk = r.admit
				}
				c := new(chunk)
				b.ReportAllocs()
				for b.Loop() {
					c.rest = frames
					if walk(c, l); c.end != nil {
						b.Fatal(c.end)
					}
				}
			})
		}
	}
}

// TestReasonFits has reasons that would be longer than a control frame.
func TestReasonFits(t *testing.T) {
	e := ending.New(ending.OperatorClose, "")
	e.Retry = time.Second
	r := &Relay{ref: strings.Repeat("R", 200), closing: &e}
	for _, l := range r.legs() {
		if n := len(r.appendReason(nil, l)); n > 123 {
			t.Errorf("reason of %d bytes, want 123 at most", n)
		}
	}
}
