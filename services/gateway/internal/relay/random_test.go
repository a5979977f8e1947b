package relay

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"testing"
	"time"
)

// TestRandom relays random frames in both directions at once, cut into random
// pieces, over plain and TLS legs. Every data frame must come out byte for byte
// and in order, pings must be answered on their own leg and nothing else appear.
// TIDEGATE_SEED runs one seed again.
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
	for i := range uint64(sessions) {
		t.Run(fmt.Sprint(first+i), func(t *testing.T) {
			t.Parallel()
			randomSession(t, rand.New(rand.NewPCG(first+i, 0)))
		})
	}
}

// script is what one peer sends, and what must become of it.
type script struct {
	b      []byte   // all that is sent
	ahead  int      // of which so much comes with the handshake
	data   []byte   // what the other leg must be sent
	pings  []string // that are answered, the last one at the latest
	breach bool     // the last bytes break the protocol
	max    int      // bytes of a write
	seed   uint64
}

// lengths are those at which the form of a header changes, and a large one.
var lengths = []int{0, 1, 124, 125, 126, 127, 1000, 65534, 65535, 65536, 65537, 1 << 20}

// newScript writes what a peer sends: messages, whole and in fragments, with
// control frames between them and inside, and now and then a breach at the end.
func newScript(r *rand.Rand, mask, breach bool) *script {
	s := &script{breach: breach, max: []int{1, 7, 100, 4096, 1 << 20}[r.IntN(5)], seed: r.Uint64()}
	control := func() {
		for r.IntN(3) == 0 {
			f := frame{0x89, randomBytes(r, r.IntN(126))}
			if r.IntN(2) == 0 {
				f.first = 0x8a
			} else {
				s.pings = append(s.pings, string(f.payload))
			}
			s.b = append(s.b, f.bytes(mask)...)
		}
	}
	for budget := 2 << 20 / (1 + 5000/s.max); budget > 0; {
		op := byte(1 + r.IntN(2))
		for parts := 1 + r.IntN(3)*r.IntN(3); parts > 0; parts-- {
			n := lengths[r.IntN(len(lengths)-1+r.IntN(2))]
			if s.max < 100 {
				n %= 70000
			}
			f := frame{op, randomBytes(r, n/(1+r.IntN(2)))}
			if parts == 1 {
				f.first |= 0x80
			}
			op = 0
			control()
			raw := f.bytes(mask)
			s.b, s.data = append(s.b, raw...), append(s.data, raw...)
			budget -= len(raw) + 100
		}
	}
	control()
	if breach {
		all := breaches(mask)
		names := []string{"RSV1", "opcode 3", "opcode 11", "stray continuation", "long ping", "wrong mask", "highest bit of the length", "close of one byte"}
		s.b = append(s.b, all[names[r.IntN(len(names))]].b...)
	}
	s.ahead = r.IntN(min(len(s.b), 4<<10) + 1)
	return s
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// send writes the script in random pieces.
func (s *script) send(c net.Conn) error {
	r := rand.New(rand.NewPCG(s.seed, 1))
	for b := s.b[s.ahead:]; len(b) > 0; {
		n := min(1+r.IntN(s.max), len(b))
		if _, err := c.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func randomSession(t *testing.T, r *rand.Rand) {
	m := modes[r.IntN(len(modes))]
	var breach Party
	if r.IntN(3) == 0 {
		breach = Client + Party(r.IntN(2))
	}
	fromClient, fromBackend := newScript(r, true, breach == Client), newScript(r, false, breach == Backend)
	cfg := quick()
	cfg.Flood, cfg.Write, cfg.FrameEnd, cfg.MaxMessage = -1, time.Minute, time.Minute, -1
	cfg.Buffer = []int{200, 4096, 32 << 10}[r.IntN(3)]
	cfg.Rest = []time.Duration{time.Nanosecond, time.Millisecond, time.Hour}[r.IntN(3)]
	s := newRigAhead(t, cfg, m, Options{}, fromClient.b[:fromClient.ahead], fromBackend.b[:fromBackend.ahead])
	errs := make(chan error, 4)
	go func() { errs <- fromClient.send(s.client) }()
	go func() { errs <- fromBackend.send(s.backend) }()
	go func() { errs <- s.client.receive(fromBackend, fromClient.pings, breach) }()
	go func() { errs <- s.backend.receive(fromClient, fromBackend.pings, breach) }()
	for range 4 {
		if err := <-errs; err != nil && breach == Nobody {
			t.Error(err)
		} else if err != nil && breach != Nobody {
			t.Log(err) // the leg was closed under its writer
		}
	}
	if breach != Nobody {
		if o := s.outcome(t); o.Cause.By != Gateway || o.Cause.Word != "PROTOCOL" {
			t.Errorf("cause = %+v", o.Cause)
		}
		return
	}
	s.client.send(closing(1000, "done"))
	s.backend.expect(closing(1000, "done"))
	s.backend.send(closing(1000, ""))
	s.client.expect(closing(1000, ""))
	s.hangUp()
	totals := s.check(t, Client, "CLOSE", 1000, 1000, 1000, 1000).Totals
	if c, b := hear(fromClient.b, true, 1<<62).count, hear(fromBackend.b, false, 1<<62).count; totals.FromClient != c || totals.FromBackend != b {
		t.Errorf("totals = %+v, want %+v, %+v", totals, c, b)
	}
}

// receive reads what the other peer's script amounts to, and the answers to this
// peer's pings. Where there is a breach it ends with a close, maybe sooner.
func (p *peer) receive(from *script, pings []string, breach Party) error {
	_ = p.SetReadDeadline(time.Now().Add(6 * patience))
	if breach != Nobody {
		defer p.Close()
	}
	var raw bytes.Buffer
	in := bufio.NewReaderSize(p.Conn, 64<<10)
	want, answered := from.data, len(pings) == 0
	for len(want) > 0 || !answered || breach != Nobody {
		raw.Reset()
		f, err := readFrame(io.TeeReader(in, &raw), !p.mask)
		switch {
		case err != nil && breach != Nobody:
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w with %d bytes to come", p.name, err, len(want))
		case f.first == 0x8a:
			i := 0
			for i < len(pings) && pings[i] != string(f.payload) {
				i++
			}
			if i == len(pings) {
				return fmt.Errorf("%s: pong %q to none of its pings that were not answered", p.name, f.payload)
			}
			pings = pings[i+1:]
			answered = len(pings) == 0
		case f.first == 0x88 && breach != Nobody:
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
