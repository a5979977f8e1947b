// Package firstmessage reads the first message of a client that has been answered 101, and
// then keeps a little of what follows until somebody relays it. Control frames are answered
// meanwhile:
//
//	Message ─► whole ─► Follow ─► full, or interrupted ─► Rest
//
// A Reader is used by one goroutine at a time, which alone writes to the connection then.
// How long it may take is for who sets the connection's deadline; package credential finds
// what the message is for.
package firstmessage

import (
	"errors"
	"fmt"
	"net"

	"github.com/tidegatehq/tidegate/services/kit/frame"
)

const (
	// MaxMessage is the largest first message, in bytes of payload.
	MaxMessage = 16 << 10
	// maxFragments is how many frames it may have: each has a header that is kept.
	maxFragments = 128
	// MaxKept is how much is kept of what follows; then the connection is not read.
	MaxKept = 4 << 10
	// maxFlood is how many control and empty frames may come.
	maxFlood = 100
)

var (
	// ErrClosed means that the client has closed, and has been answered.
	ErrClosed = errors.New("the client closed")
	// ErrBinary means that the first message is not text.
	ErrBinary = errors.New("the first message is binary")
)

// Reader reads from a client's connection. New makes it.
type Reader struct {
	conn    net.Conn
	frames  frame.Walker
	held    []byte // what was read and is neither of the message nor answered
	walked  int    // how much of held was walked over
	keeps   bool   // the message is passed on
	message []byte // the frames of the first message, as they came; none where it is not
	text    []byte // its payload, unmasked
	opcode  frame.Opcode
	count   int // its frames
	flood   int
}

// New returns a reader of a connection of which some bytes were read already, which it
// keeps. With passOn, Rest has the message.
func New(conn net.Conn, buffered []byte, passOn bool) *Reader {
	return &Reader{conn: conn, frames: frame.NewWalker(true, MaxMessage), held: buffered, keeps: passOn}
}

// Message returns the payload of the first message, once it is whole. The error is
// ErrBinary, ErrClosed, a frame.Violation or one of the connection's. A message whose
// fragments are too many is frame.TooBig.
func (r *Reader) Message() ([]byte, error) {
	for {
		whole, size, err := r.first()
		if err != nil {
			return nil, err
		}
		if whole {
			break
		}
		if err := r.read(size + MaxKept); err != nil {
			return nil, err
		}
	}
	r.frames.SetLimit(-1) // what follows is the relay's
	if r.opcode != frame.Text {
		return nil, ErrBinary
	}
	return r.text, nil
}

// Follow reads what follows, until MaxKept bytes of it are kept: then it returns nil. The
// error is as that of Message; it can be called again after the connection's deadline.
func (r *Reader) Follow() error {
	for {
		if err := r.follow(); err != nil {
			return err
		}
		if len(r.held) >= MaxKept {
			return nil
		}
		if err := r.read(MaxKept); err != nil {
			return err
		}
	}
}

// Rest returns what is still to be relayed, which begins between two messages: with the first
// message where that is passed on. The reader is not used afterwards.
func (r *Reader) Rest() []byte {
	if len(r.message) == 0 {
		return r.held
	}
	return append(r.message, r.held...)
}

// read reads once, so that at most so many bytes are held.
func (r *Reader) read(most int) error {
	if cap(r.held)-len(r.held) < 512 && cap(r.held) < most {
		r.held = append(make([]byte, 0, min(max(2*cap(r.held), 2<<10), most)), r.held...)
	}
	free := r.held[len(r.held):min(cap(r.held), most)]
	n, err := r.conn.Read(free)
	r.held = r.held[:len(r.held)+n]
	if n > 0 {
		return nil // an error comes again
	}
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	return nil
}

// first takes the complete frames that are held, up to the end of the first message, and
// reports whether that has come; if not, size is that of the frame under way, 0 while that
// is not known.
func (r *Reader) first() (whole bool, size int, err error) {
	for {
		h, v := r.frames.Header(r.held)
		if v != frame.None {
			return false, 0, v
		}
		if h.Size == 0 {
			return false, 0, nil
		}
		if size = h.Size + int(h.Length); len(r.held) < size {
			return false, size, nil
		}
		if h.Control() {
			if err := r.control(&h, r.held[h.Size:size]); err != nil {
				return false, 0, err
			}
			r.drop(0, size)
			continue
		}
		if h.Length == 0 && !r.frames.Terminator(&h) && r.flooded() {
			return false, 0, frame.Flood
		}
		if r.count++; r.count > maxFragments {
			return false, 0, frame.TooBig
		}
		if h.Opcode != frame.Continuation {
			r.opcode = h.Opcode
		}
		r.frames.Begin(&h)
		r.frames.Skip(int(h.Length))
		if r.keeps {
			r.message = append(r.message, r.held[:size]...)
		}
		start := len(r.text)
		r.text = append(r.text, r.held[h.Size:size]...)
		frame.Unmask(r.text[start:], h.MaskKey)
		r.drop(0, size)
		if h.Fin {
			return true, 0, nil
		}
	}
}

// follow walks over what is held, and answers and removes the control frames in it.
func (r *Reader) follow() error {
	for {
		r.walked += r.frames.Skip(len(r.held) - r.walked)
		if r.frames.MidFrame() {
			return nil
		}
		h, v := r.frames.Header(r.held[r.walked:])
		if v != frame.None {
			return v
		}
		size := h.Size + int(h.Length)
		switch {
		case h.Size == 0:
			return nil
		case !h.Control():
			if h.Length == 0 && !r.frames.Terminator(&h) && r.flooded() {
				return frame.Flood
			}
			r.frames.Begin(&h)
			r.walked += h.Size
		case len(r.held)-r.walked < size:
			return nil
		default:
			if err := r.control(&h, r.held[r.walked+h.Size:r.walked+size]); err != nil {
				return err
			}
			r.drop(r.walked, size)
		}
	}
}

// drop removes n held bytes from the i-th on.
func (r *Reader) drop(i, n int) { r.held = append(r.held[:i], r.held[i+n:]...) }

// flooded counts a control or an empty frame, and reports whether there were too many.
func (r *Reader) flooded() bool {
	r.flood++
	return r.flood > maxFlood
}

// control answers a complete control frame, whose payload it may change.
func (r *Reader) control(h *frame.Header, payload []byte) error {
	if r.flooded() {
		return frame.Flood
	}
	payload = append(make([]byte, 0, frame.MaxControlPayload), payload...)
	frame.Unmask(payload, h.MaskKey)
	switch h.Opcode {
	case frame.Ping:
		return r.send(frame.Pong, payload)
	case frame.Close:
		code, _, v := frame.ParseClose(payload)
		if v != frame.None {
			return v
		}
		if err := r.send(frame.Close, frame.AppendClose(nil, code, nil)); err != nil {
			return err
		}
		return ErrClosed
	default: // a pong that nobody asked for
		return nil
	}
}

func (r *Reader) send(op frame.Opcode, payload []byte) error {
	if _, err := r.conn.Write(frame.AppendControl(nil, op, payload, false)); err != nil {
		return fmt.Errorf("answer a control frame: %w", err)
	}
	return nil
}
