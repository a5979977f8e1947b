package relay

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// TestRandom relays random frames in both directions at once, cut into random
// pieces, over plain and TLS legs, with compression agreed or not. Every data frame must come out byte for byte
// and in order, pings must be answered on their own leg and nothing else appear
// but the gateway's own pings, which are due all the time and come between frames
// only. Half of the sessions have limits that pause. TIDEGATE_SEED runs one seed again.
func TestRandom(t *testing.T) {
	sessions := 60
	if testing.Short() {
		sessions = 8
	}
	first := rand.Uint64() >> 1
	if s := os.Getenv("TIDEGATE_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		first, sessions = n, 1
	}
	t.Logf("%d sessions from seed %d on", sessions, first)
	var pings atomic.Int64
	t.Run("sessions", func(t *testing.T) {
		for i := range uint64(sessions) {
			t.Run(fmt.Sprint(first+i), func(t *testing.T) {
				t.Parallel()
				pings.Add(randomSession(t, rand.New(rand.NewPCG(first+i, 0))))
			})
		}
	})
	t.Logf("%d pings of the gateway's came", pings.Load())
	if sessions == 60 && pings.Load() == 0 {
		t.Error("no ping of the gateway's came: nothing is proven about them")
	}
}

// script is what one peer sends, and what must become of it.
type script struct {
	b        []byte   // all that is sent
	frames   [][]byte // what is left of it
	next     []byte   // the rest of the frame that is being sent
	buffered []byte   // what comes with the handshake
	data     []byte   // what the other leg must be sent
	pings    []string // that are answered, the last one at the latest
	breach   bool     // the last bytes break the protocol
	max      int      // bytes of a write
	seed     uint64

	pinged  int64       // pings of the gateway's that came
	answers chan []byte // to them; closed when none is to be sent any more
}

// lengths are those at which the form of a header changes, and a large one.
var lengths = []int{0, 1, 124, 125, 126, 127, 1000, 65534, 65535, 65536, 65537, 1 << 20}

// newScript writes what a peer sends: messages, whole and in fragments, with
// control frames between them and inside, and now and then a breach at the end.
func newScript(r *rand.Rand, mask, compressed, breach bool) *script {
	s := &script{breach: breach, max: []int{1, 7, 100, 4096, 1 << 20}[r.IntN(5)], seed: r.Uint64(), answers: make(chan []byte, 1)}
	control := func() {
		for r.IntN(3) == 0 {
			f := wireFrame{0x89, randomBytes(r, r.IntN(126))}
			for slices.Contains(s.pings, string(f.payload)) { // or a pong could be that to either
				f.payload = randomBytes(r, r.IntN(126))
			}
			if r.IntN(2) == 0 {
				f.first = 0x8a
			} else {
				s.pings = append(s.pings, string(f.payload))
			}
			s.frames = append(s.frames, f.bytes(mask))
		}
	}
	for budget := 2 << 20 / (1 + 5000/s.max); budget > 0; {
		op := byte(1 + r.IntN(2))
		if compressed && r.IntN(2) == 0 {
			op |= 0x40
		}
		for parts := 1 + r.IntN(3)*r.IntN(3); parts > 0; parts-- {
			n := lengths[r.IntN(len(lengths)-1+r.IntN(2))]
			if s.max < 100 {
				n %= 70000
			}
			f := wireFrame{op, randomBytes(r, n/(1+r.IntN(2)))}
			if parts == 1 {
				f.first |= 0x80
			}
			op = 0
			control()
			raw := f.bytes(mask)
			s.frames, s.data = append(s.frames, raw), append(s.data, raw...)
			budget -= len(raw) + 100
		}
	}
	control()
	if breach {
		all := breaches(mask)
		names := []string{"RSV1", "RSV1 of a ping", "opcode 3", "opcode 11", "stray continuation", "long ping", "wrong mask", "highest bit of the length", "close of one byte"}
		if compressed {
			names = names[1:]
		}
		s.frames = append(s.frames, all[names[r.IntN(len(names))]].b)
	}
	s.b = slices.Concat(s.frames...)
	s.buffered = make([]byte, r.IntN(min(len(s.b), 4<<10)+1))
	_, _ = io.ReadFull(s, s.buffered)
	return s
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// Read gives what is to be sent next. An answer to a ping comes between two
// frames.
func (s *script) Read(p []byte) (int, error) {
	for len(s.next) == 0 {
		select {
		case a, more := <-s.answers:
			if more {
				s.next = a
				continue
			}
		default:
		}
		if len(s.frames) == 0 {
			return 0, io.EOF
		}
		s.next, s.frames = s.frames[0], s.frames[1:]
	}
	n := copy(p, s.next)
	s.next = s.next[n:]
	return n, nil
}

// send writes the script in random pieces, and then the answers that are left.
func (s *script) send(c net.Conn) error {
	r, buf := rand.New(rand.NewPCG(s.seed, 1)), make([]byte, s.max)
	for {
		n, end := io.ReadFull(s, buf[:1+r.IntN(s.max)])
		if _, err := c.Write(buf[:n]); err != nil {
			return err
		}
		if end != nil {
			break
		}
	}
	for a := range s.answers {
		if _, err := c.Write(a); err != nil {
			return err
		}
	}
	return nil
}

// randomSession returns how many pings of the gateway's came.
func randomSession(t *testing.T, r *rand.Rand) (pings int64) {
	m := modes[r.IntN(len(modes))]
	m.compressed = r.IntN(2) == 0
	var breach ending.Party
	if r.IntN(3) == 0 {
		breach = ending.Client + ending.Party(r.IntN(2))
	}
	fromClient, fromBackend := newScript(r, true, m.compressed, breach == ending.Client), newScript(r, false, m.compressed, breach == ending.Backend)
	cfg := quick()
	cfg.Flood, cfg.Write, cfg.FrameEnd, cfg.MaxMessage = math.MaxInt, time.Minute, time.Minute, math.MaxInt64
	cfg.Buffer = []int{200, 4096, 32 << 10}[r.IntN(3)]
	cfg.Tick = []time.Duration{time.Millisecond, 5 * time.Millisecond}[r.IntN(2)]
	cfg.Ping, cfg.Pong = time.Nanosecond, time.Minute // one at each tick
	s := newRigBuffered(t, cfg, m, randomLimits(t, r), fromClient.buffered, fromBackend.buffered)
	own := wireFrame{0x89, binary.BigEndian.AppendUint64(nil, s.mark)}
	errs := make(chan error, 4)
	go func() { errs <- fromClient.send(s.client) }()
	go func() { errs <- fromBackend.send(s.backend) }()
	go func() { errs <- s.client.receive(fromBackend, fromClient, own, breach) }()
	go func() { errs <- s.backend.receive(fromClient, fromBackend, own, breach) }()
	checks := time.NewTicker(time.Millisecond)
	defer checks.Stop()
	for done := 0; done < 4; {
		select {
		case <-checks.C:
			s.mu.Lock()
			s.checkInvariants(t)
			s.mu.Unlock()
		case err := <-errs:
			done++
			if err != nil && breach == ending.Nobody {
				t.Error(err)
			} else if err != nil {
				t.Log(err) // the leg was closed under its writer
			}
		}
	}
	pings = fromClient.pinged + fromBackend.pinged
	if breach != ending.Nobody {
		if o := s.outcome(t); o.Ending.By != ending.Gateway || o.Ending.Reason != ending.Protocol {
			t.Errorf("ending = %+v", o.Ending)
		}
		return pings
	}
	s.client.send(closing(1000, "done"))
	s.backend.expectBehind(own, closing(1000, "done"))
	s.backend.send(closing(1000, ""))
	s.client.expectBehind(own, closing(1000, ""))
	s.hangUp()
	totals := s.check(t, ending.Client, ending.PeerClose, 1000, 1000, 1000, 1000).Totals
	if c, b := hear(fromClient.b, true, m.compressed, 1<<62).count, hear(fromBackend.b, false, m.compressed, 1<<62).count; totals.FromClient != c || totals.FromBackend != b {
		t.Errorf("totals = %+v, want %+v, %+v", totals, c, b)
	}
	return pings
}

// randomLimits returns limits that let everything pass sooner or later, or none.
func randomLimits(t *testing.T, r *rand.Rand) (terms ending.Terms) {
	var all []*limits.Limit
	for _, unit := range []limits.Unit{limits.Messages, limits.Bytes, limits.Messages} {
		if r.IntN(2) == 0 {
			continue
		}
		burst := int64(1 + r.IntN(20))
		amount := 1000 * burst
		if unit == limits.Bytes { // one message may be over the burst
			amount, burst = 1<<30, 1<<r.IntN(22)
		}
		all = append(all, rate(t, limits.Terms{
			Place: limits.Version, Unit: unit, Direction: limits.Direction(r.IntN(3)), Observe: r.IntN(4) == 0, LongestPause: time.Minute,
		}, limits.Rate{Amount: amount, Per: time.Second, Burst: burst}))
	}
	if len(all) > 0 {
		terms.Limits.Chain = chainOf(t, all...)
	}
	return terms
}

// expectBehind reads a frame, maybe behind a ping of the gateway's.
func (p *peer) expectBehind(ping, want wireFrame) {
	p.t.Helper()
	got, err := p.next()
	if err == nil && got.String() == ping.String() {
		got, err = p.next()
	}
	if err != nil || got.String() != want.String() {
		p.t.Fatalf("%s: frame = %v, %v, want %v", p.name, got, err, want)
	}
}

// receive reads what the other peer's script amounts to, the answers to this
// peer's pings, and the gateway's pings, which the own script is given to answer.
// Where there is a breach it ends with a close, maybe sooner.
func (p *peer) receive(from, own *script, ping wireFrame, breach ending.Party) error {
	defer close(own.answers)
	_ = p.SetReadDeadline(time.Now().Add(6 * patience))
	if breach != ending.Nobody {
		defer p.Close()
	}
	var raw bytes.Buffer
	p.in = bufio.NewReaderSize(p.Conn, 64<<10)
	want, pings := from.data, own.pings
	for len(want) > 0 || len(pings) > 0 || breach != ending.Nobody {
		raw.Reset()
		f, err := readFrame(io.TeeReader(p.in, &raw), !p.mask)
		switch {
		case err != nil && breach != ending.Nobody:
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w with %d bytes to come", p.name, err, len(want))
		case f.first == 0x8a:
			i := slices.Index(pings, string(f.payload))
			if i < 0 {
				return fmt.Errorf("%s: pong %q to none of its pings that were not answered", p.name, f.payload)
			}
			pings = pings[i+1:]
		case f.first == 0x89:
			if !bytes.Equal(f.payload, ping.payload) || len(own.answers) > 0 {
				return fmt.Errorf("%s: %v, want pings of the gateway's, each when the last was answered", p.name, f)
			}
			own.pinged++
			own.answers <- pong(string(f.payload)).bytes(p.mask)
		case f.first == 0x88 && breach != ending.Nobody:
			if from.breach && len(want) > 0 {
				return fmt.Errorf("%s: close with %d bytes before the breach to come", p.name, len(want))
			}
			return nil
		case !bytes.HasPrefix(want, raw.Bytes()):
			return fmt.Errorf("%s: unexpected %v with %d bytes to come", p.name, f, len(want))
		default:
			want = want[raw.Len():]
		}
	}
	return nil
}
