package firstmessage

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tidegatehq/tidegate/services/kit/frame"
)

// script is a connection that gives its bytes in pieces of a size, and keeps what is written.
type script struct {
	net.Conn
	rest  string
	piece int
	wrote bytes.Buffer
}

func (s *script) Read(p []byte) (int, error) {
	if s.rest == "" {
		return 0, io.EOF
	}
	n := copy(p, s.rest[:min(len(s.rest), s.piece)])
	s.rest = s.rest[n:]
	return n, nil
}

func (s *script) Write(p []byte) (int, error) { return s.wrote.Write(p) }

// masked is a frame as clients send it, always with the same mask.
func masked(op ws.OpCode, fin bool, payload string) string {
	var b bytes.Buffer
	_ = ws.WriteFrame(&b, ws.MaskFrameWith(ws.NewFrame(op, fin, []byte(payload)), [4]byte{1, 2, 3, 4}))
	return b.String()
}

// outcome is all that a reader makes of what a client sends.
type outcome struct {
	text, follow string // what went wrong, or the message
	rest, wrote  string
}

// read has a client's bytes read in pieces, some of them with the handshake.
func read(sent string, piece, buffered int) (o outcome) {
	buffered = min(buffered, len(sent), MaxKept)
	conn := &script{rest: sent[buffered:], piece: piece}
	r := New(conn, []byte(sent[:buffered]), true)
	text, err := r.Message()
	if o.text = string(text); err != nil {
		o.text = err.Error()
		o.wrote = conn.wrote.String()
		return o
	}
	if err := r.Follow(); err != nil && !errors.Is(err, io.EOF) {
		o.follow = err.Error()
	}
	o.rest, o.wrote = string(r.Rest()), conn.wrote.String()
	return o
}

func TestReader(t *testing.T) {
	text, ping, next := masked(ws.OpText, true, "tok"), masked(ws.OpPing, true, "p"), masked(ws.OpBinary, true, "next")
	const pong = "\x8a\x01p"
	half := masked(ws.OpText, false, "to") + ping + masked(ws.OpContinuation, true, "k")
	big := masked(ws.OpBinary, true, strings.Repeat("b", 2*MaxKept))
	for name, tt := range map[string]struct {
		sent string
		want outcome
	}{
		"alone":                        {text, outcome{text: "tok", rest: text}},
		"a ping before it":             {ping + text, outcome{text: "tok", rest: text, wrote: pong}},
		"fragments, a ping among them": {half + next, outcome{text: "tok", rest: masked(ws.OpText, false, "to") + masked(ws.OpContinuation, true, "k") + next, wrote: pong}},
		"pings behind it":              {text + ping + next + ping, outcome{text: "tok", rest: text + next, wrote: pong + pong}},
		"a ping inside what follows":   {text + masked(ws.OpText, false, "a") + ping + masked(ws.OpContinuation, true, "b"), outcome{text: "tok", rest: text + masked(ws.OpText, false, "a") + masked(ws.OpContinuation, true, "b"), wrote: pong}},
		"a part of a frame behind it":  {text + next[:5], outcome{text: "tok", rest: text + next[:5]}},
		"a part of a ping behind it":   {text + ping[:5], outcome{text: "tok", rest: text + ping[:5]}},
		"more than is kept":            {text + big, outcome{text: "tok", rest: text + big[:MaxKept]}},
		"a pong is dropped":            {masked(ws.OpPong, true, "x") + text, outcome{text: "tok", rest: text}},
		"a close before it":            {masked(ws.OpClose, true, "\x0f\xa0bye"), outcome{text: ErrClosed.Error(), wrote: "\x88\x02\x0f\xa0"}},
		"an empty close behind it":     {text + masked(ws.OpClose, true, ""), outcome{text: "tok", follow: ErrClosed.Error(), rest: text + masked(ws.OpClose, true, ""), wrote: "\x88\x00"}},
		"a violation behind it":        {text + "\x81\x01a", outcome{text: "tok", follow: "wrong masking for the direction", rest: text + "\x81\x01a"}},
		"a flood behind it":            {text + strings.Repeat(masked(ws.OpPong, true, ""), maxFlood+1), outcome{text: "tok", follow: frame.Flood.Error(), rest: text + masked(ws.OpPong, true, "")}},
		"empty fragments":              {masked(ws.OpText, false, "t") + strings.Repeat(masked(ws.OpContinuation, false, ""), maxFlood+1), outcome{text: frame.Flood.Error()}},
		"an empty end":                 {masked(ws.OpText, false, "tok") + masked(ws.OpContinuation, true, ""), outcome{text: "tok", rest: masked(ws.OpText, false, "tok") + masked(ws.OpContinuation, true, "")}},
		"the longest":                  {masked(ws.OpText, true, strings.Repeat("a", MaxMessage)), outcome{text: strings.Repeat("a", MaxMessage), rest: masked(ws.OpText, true, strings.Repeat("a", MaxMessage))}},
		"cut off":                      {text[:4], outcome{text: "read: EOF"}},
	} {
		for _, piece := range []int{1, 7, 1 << 20} {
			for _, buffered := range []int{0, 3, MaxKept} {
				got := read(tt.sent, piece, buffered)
				if got.follow != "" {
					got.rest = tt.want.rest // there is no session that it is for
				}
				if got != tt.want {
					t.Errorf("%s, in pieces of %d, %d with the handshake: %.300q, want %.300q", name, piece, buffered, got, tt.want)
				}
			}
		}
	}
}

// FuzzReader: whatever a client sends, in whatever pieces, the reader does not fail, finds the
// same message, and keeps no more than it may.
func FuzzReader(f *testing.F) {
	f.Add(masked(ws.OpText, true, "tok")+masked(ws.OpPing, true, "p")+masked(ws.OpBinary, true, "x"), uint16(3), uint16(2))
	f.Add(masked(ws.OpText, false, "to")+masked(ws.OpClose, true, "\x03\xe8")+masked(ws.OpContinuation, true, "k"), uint16(1), uint16(9))
	f.Add("\x81\xfe\x00\x7e", uint16(1), uint16(0))
	f.Fuzz(func(t *testing.T, sent string, piece, buffered uint16) {
		got, whole := read(sent, int(piece)+1, int(buffered)), read(sent, 1<<20, 0)
		if got.text != whole.text || got.wrote != whole.wrote && got.follow == "" && len(sent) < MaxKept {
			t.Errorf("in pieces %.200q, at once %.200q", got, whole)
		}
		if len(got.text) > MaxMessage || len(got.rest) > MaxMessage+14*maxFragments+MaxKept {
			t.Errorf("a message of %d bytes, %d kept", len(got.text), len(got.rest))
		}
	})
}
