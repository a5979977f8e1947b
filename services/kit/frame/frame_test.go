package frame

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

func TestParseClose(t *testing.T) {
	for code := range uint32(1 << 16) {
		want := uint16(1002)
		if c := code; c >= 1000 && c <= 1003 || c >= 1007 && c <= 1014 || c >= 3000 && c <= 4999 {
			want = uint16(code)
		}
		got, reason, v := ParseClose(append(binary.BigEndian.AppendUint16(nil, uint16(code)), "why"...))
		if got != want || string(reason) != "why" || v != None {
			t.Errorf("ParseClose(%d) = %d %q %v, want %d", code, got, reason, v, want)
		}
	}
	if code, reason, v := ParseClose(nil); code != noCode || reason != nil || v != None {
		t.Errorf("ParseClose of nothing = %d %q %v", code, reason, v)
	}
	if _, _, v := ParseClose([]byte("x")); v != shortClose {
		t.Errorf("ParseClose of one byte = %v, want %v", v, shortClose)
	}
	if _, _, v := ParseClose([]byte("\x03\xe8\xff")); v != InvalidReason {
		t.Errorf("ParseClose of a reason that is not UTF-8 = %v, want %v", v, InvalidReason)
	}
}

// TestAppendClose has what was parsed come out again.
func TestAppendClose(t *testing.T) {
	for _, p := range []string{"", "\x03\xe8", "\x0f\xa0why"} {
		code, reason, _ := ParseClose([]byte(p))
		if got := AppendClose(nil, code, reason); string(got) != p {
			t.Errorf("%q comes out as %q", p, got)
		}
	}
}

// TestAppendControl reads the control frames that it writes.
func TestAppendControl(t *testing.T) {
	payload := bytes.Repeat([]byte("x"), MaxControlPayload)
	for _, masked := range []bool{false, true} {
		for _, op := range []Opcode{Close, Ping, Pong} {
			for n := range MaxControlPayload + 1 {
				b := AppendControl(nil, op, payload[:n], masked)
				w := NewWalker(masked, 0)
				h, v := w.Header(b)
				if v != None || h.Opcode != op || !h.Fin || h.Size+int(h.Length) != len(b) || len(b) > MaxControlFrame {
					t.Fatalf("%x is parsed as %+v, %v", b, h, v)
				}
				got := b[h.Size:]
				if masked {
					Unmask(got, h.MaskKey)
				}
				if !bytes.Equal(got, payload[:n]) {
					t.Fatalf("payload %q, want %q", got, payload[:n])
				}
			}
		}
	}
}

// TestViolations has each say what it is.
func TestViolations(t *testing.T) {
	said := map[string]Violation{}
	for v := None; v <= shortClose; v++ {
		text := v.Error()
		if other, twice := said[text]; twice {
			t.Errorf("%d and %d are both %q", other, v, text)
		}
		said[text] = v
	}
}

// TestWholeMessages compares what it takes with what Header and Begin make of the
// same bytes: whole messages of one frame each, as many as there are in a row.
func TestWholeMessages(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		masked, compressed := rnd.IntN(2) == 0, rnd.IntN(2) == 0
		b := randomFrames(rnd, masked)
		b = b[:rnd.IntN(len(b)+1)]
		fast, slow := NewWalker(masked, 1000), NewWalker(masked, 1000)
		if compressed {
			fast.AllowCompressed()
			slow.AllowCompressed()
		}
		most, room := int64(rnd.IntN(6)), int64(rnd.IntN(3000))
		if rnd.IntN(2) == 0 {
			most, room = math.MaxInt64, math.MaxInt64
		}
		n, messages, payload := fast.WholeMessages(b, most, room)
		if int64(messages) > most || int64(payload) > room {
			t.Fatalf("took %d messages of %d bytes, want at most %d of %d", messages, payload, most, room)
		}
		most, room = most-int64(messages), room-int64(payload)
		for pos := 0; pos < n; messages-- {
			h, v := slow.Header(b[pos:])
			if v != None || h.Size == 0 || h.Control() || !h.Fin || h.Opcode == Continuation || h.Length == 0 {
				t.Fatalf("took %x at %d, which is %+v, %v", b, pos, h, v)
			}
			slow.Begin(&h)
			slow.Skip(int(h.Length))
			pos += h.Size + int(h.Length)
			payload -= int(h.Length)
			if pos > n {
				t.Fatalf("took %d bytes of %x, which is inside a frame", n, b)
			}
		}
		if messages != 0 || payload != 0 {
			t.Fatalf("counts %d messages and %d bytes of payload too many in %x", messages, payload, b[:n])
		}
		shortest := 2 + 2 // it may leave one of a single byte at the end
		if masked {
			shortest += 4
		}
		if h, v := slow.Header(b[n:]); len(b)-n >= shortest && v == None && h.Size > 0 && !h.Control() && h.Fin && h.Opcode != Continuation &&
			h.Length > 0 && most > 0 && h.Length <= room && h.Size+int(h.Length) <= len(b)-n {
			t.Fatalf("left a whole message at %d of %x", n, b)
		}
	}
}

// randomFrames returns frames, most of them messages, some of them wrong.
func randomFrames(rnd *rand.Rand, masked bool) (b []byte) {
	for range rnd.IntN(6) {
		first := []byte{0x81, 0x82, 0x81, 0x82, 0x81, 0x82, 0x01, 0x80, 0x89, 0x83, 0xc1}[rnd.IntN(11)]
		n := []int{0, 1, 5, 125, 126, 127, 200, 1000, 1001, 70_000}[rnd.IntN(10)]
		f := []byte{first, byte(n)}
		switch {
		case n >= 1<<16:
			f = binary.BigEndian.AppendUint64([]byte{first, 127}, uint64(n))
		case n >= 126 || rnd.IntN(30) == 0: // not always the shortest form
			f = binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(n))
		}
		if masked != (rnd.IntN(30) == 0) {
			f[1] |= 0x80
			f = append(f, 1, 2, 3, 4)
		}
		b = append(b, append(f, make([]byte, n)...)...)
	}
	return b
}
