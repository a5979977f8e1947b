package relay

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// breaches are bytes that break the protocol when a peer sends them first.
// Those of clients are masked.
func breaches(mask bool) map[string]struct {
	b    []byte
	code uint16
	word string
} {
	m := byte(0)
	key := []byte(nil)
	if mask {
		m, key = 0x80, []byte{1, 2, 3, 4}
	}
	header := func(b ...byte) []byte {
		b[1] |= m
		return append(b, key...)
	}
	return map[string]struct {
		b    []byte
		code uint16
		word string
	}{
		"RSV1":                      {header(0xc1, 0), 1002, "PROTOCOL"},
		"RSV1 of a ping":            {header(0xc9, 0), 1002, "PROTOCOL"},
		"RSV1 of a close":           {header(0xc8, 0), 1002, "PROTOCOL"},
		"RSV1 of a later frame":     {append(header(0x01, 0), header(0xc0, 0)...), 1002, "PROTOCOL"},
		"RSV2 beside RSV1":          {header(0xe1, 0), 1002, "PROTOCOL"},
		"RSV2":                      {header(0xa1, 0), 1002, "PROTOCOL"},
		"RSV3":                      {header(0x91, 0), 1002, "PROTOCOL"},
		"opcode 3":                  {header(0x83, 0), 1002, "PROTOCOL"},
		"opcode 11":                 {header(0x8b, 0), 1002, "PROTOCOL"},
		"one byte of it":            {[]byte{0x8f}, 1002, "PROTOCOL"},
		"ping in fragments":         {header(0x09, 0), 1002, "PROTOCOL"},
		"close in fragments":        {header(0x08, 0), 1002, "PROTOCOL"},
		"long ping":                 {header(0x89, 126, 0, 126), 1002, "PROTOCOL"},
		"stray continuation":        {header(0x80, 0), 1002, "PROTOCOL"},
		"message in message":        {append(header(0x01, 0), header(0x81, 0)...), 1002, "PROTOCOL"},
		"wrong mask":                {[]byte{0x81, m ^ 0x80, 0, 0, 0, 0}, 1002, "PROTOCOL"},
		"long form of 125":          {header(0x82, 126, 0, 125), 1002, "PROTOCOL"},
		"longest form of 65535":     {header(0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff), 1002, "PROTOCOL"},
		"highest bit of the length": {header(0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0), 1002, "PROTOCOL"},
		"close of one byte":         {wireFrame{0x88, []byte("x")}.bytes(mask), 1002, "PROTOCOL"},
		"close without UTF-8":       {closing(1000, "\xff\xfe").bytes(mask), 1007, "PROTOCOL"},
		"over the limit":            {header(0x82, 126, 0x03, 0xe9), 1009, "TOO_BIG"},
		"over the limit by far":     {header(0x82, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), 1009, "TOO_BIG"},
		"fragments over the limit": {append(wireFrame{0x02, make([]byte, 600)}.bytes(mask),
			header(0x80, 126, 0x01, 0x91)...), 1009, "TOO_BIG"},
	}
}

// bounded is a configuration whose messages have at most 1000 bytes.
func bounded() Config {
	cfg := quick()
	cfg.MaxMessage = 1000
	return cfg
}

// TestBreach has each leg break the protocol in each way, with compression agreed and
// without: the offender gets the code, the other leg 1011 or 1001, and what came before is
// relayed. With compression RSV1 is no breach in the first frame of a message.
func TestBreach(t *testing.T) {
	for _, by := range []ending.Party{ending.Client, ending.Backend} {
		for name, breach := range breaches(by == ending.Client) {
			t.Run(by.String()+"/"+name, func(t *testing.T) {
				eachMode(t, func(t *testing.T, m mode) {
					m.compressed = name != "RSV1" && m.client
					r := newRig(t, bounded(), m, ending.Terms{})
					from, to, other := r.client, r.backend, uint16(1001)
					if by == ending.Backend {
						from, to, other = to, from, 1011
					}
					from.sendRaw(append(text("before").bytes(from.mask), breach.b...))
					to.expect(text("before"))
					for {
						// The parts of a message that came before its breach.
						b, err := to.in.Peek(1)
						if err != nil {
							t.Fatal(err)
						}
						if b[0] == 0x88 {
							break
						}
						if _, err := to.next(); err != nil {
							t.Fatal(err)
						}
					}
					from.expectClose(breach.code, breach.word)
					to.expectClose(other, breach.word)
					r.hangUp()
					o := r.outcome(t)
					if o.Ending.By != ending.Gateway || o.Ending.Reason.String() != breach.word || !strings.HasPrefix(o.Ending.Detail, by.String()+": ") {
						t.Errorf("ending = %+v", o.Ending)
					}
				})
			})
		}
	}
}

// TestCompressed relays messages that say that they are compressed, in one frame and in
// several, byte for byte: what counts is their size as it is sent.
func TestCompressed(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		m.compressed = true
		r := newRig(t, bounded(), m, ending.Terms{})
		for _, p := range []struct{ from, to *peer }{{r.client, r.backend}, {r.backend, r.client}} {
			whole := []wireFrame{{0xc1, []byte("compressed")}, {0xc2, bytes.Repeat([]byte("x"), 1000)}, text("as it is"), {0xc1, nil}}
			parts := []wireFrame{{0x42, make([]byte, 600)}, ping("between"), {0x00, make([]byte, 399)}, {0x80, make([]byte, 1)}}
			p.from.send(append(whole, parts...)...)
			p.to.expect(append(whole, parts[0], parts[2], parts[3])...)
			p.from.expect(pong("between"))
		}
		if n := r.Totals().FromClient; n.Messages != 5 || n.Payload != 10+1000+8+1000 {
			t.Errorf("totals = %+v, want 5 messages of 2018 bytes", n)
		}
		r.client.sendRaw([]byte{0xc2, 0x80 | 126, 0x03, 0xe9, 1, 2, 3, 4})
		r.client.expectClose(1009, "TOO_BIG")
	})
}

// TestMessageLimit sends messages of exactly the limit.
func TestMessageLimit(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, bounded(), m, ending.Terms{})
		for _, p := range []struct{ from, to *peer }{{r.client, r.backend}, {r.backend, r.client}} {
			whole := wireFrame{0x82, bytes.Repeat([]byte("x"), 1000)}
			parts := []wireFrame{{0x02, make([]byte, 600)}, ping("between"), {0x00, make([]byte, 399)}, {0x80, make([]byte, 1)}}
			p.from.send(whole)
			p.from.send(parts...)
			p.from.send(whole)
			p.to.expect(whole, parts[0], parts[2], parts[3], whole)
			p.from.expect(pong("between"))
		}
	})
}
