package frame

import "encoding/binary"

// Walker follows the frames of one direction: it checks each header against
// RFC 6455 and the frames before it, and knows where the next one starts. It
// looks at headers only and keeps no bytes.
//
// Between two frames its user asks WholeMessages first, then Header for what that
// left. A data frame's header goes to Begin, and its payload, as it comes, to Skip.
type Walker struct {
	left   int64 // payload bytes of the current data frame still to come
	size   int64 // bytes of the current message, up to the end of the current frame
	limit  int64 // largest message
	masked bool  // frames of this direction must be masked
	within bool  // a message has begun, and its last frame has not
	rsv1   byte  // the bit of a first byte that marks a compressed message; 0: none may be
}

// mostMessage is how large a message may be where nothing bounds it. Some thousands of
// such still have a sum.
const mostMessage = 1 << 48

// NewWalker returns the Walker of a direction whose frames must be masked, or must
// not, and whose messages have at most limit bytes; a negative limit is none.
func NewWalker(masked bool, limit int64) Walker {
	if limit < 0 {
		limit = mostMessage
	}
	return Walker{masked: masked, limit: limit}
}

// SetLimit sets how many bytes a message has at most; a negative limit is none. It is for
// the messages that begin from now on, and so to be called between two.
func (w *Walker) SetLimit(limit int64) {
	w.limit = NewWalker(w.masked, limit).limit
}

// AllowCompressed lets messages be marked as compressed, as permessage-deflate does: by
// RSV1 in their first frame (RFC 7692, section 6). All sizes stay those of the frames.
func (w *Walker) AllowCompressed() { w.rsv1 = rsv1Bit }

// Header is a parsed frame header.
type Header struct {
	Size    int   // bytes of the header itself; 0: it is not complete yet
	Length  int64 // bytes of the payload
	Opcode  Opcode
	Fin     bool
	Masked  bool
	MaskKey [4]byte
}

// Control reports whether the frame is a close, ping or pong.
func (h *Header) Control() bool { return h.Opcode.Control() }

// Header parses the header that b starts with, between two frames. A violation is
// reported as soon as the bytes show it; Size is 0 while more bytes are needed.
// The Walker does not move: Begin moves it.
func (w *Walker) Header(b []byte) (h Header, v Violation) {
	if len(b) == 0 {
		return h, None
	}
	h.Opcode, h.Fin = Opcode(b[0]&0x0f), b[0]&finBit != 0
	if v := w.checkFirst(b[0]); v != None || len(b) == 1 {
		return h, v
	}
	h.Masked = b[1]&maskBit != 0
	if h.Masked != w.masked {
		return h, wrongMask
	}
	size, v := w.length(&h, b)
	if v != None || size == 0 {
		return h, v
	}
	if h.Masked {
		if len(b) < size+4 {
			return h, None
		}
		h.MaskKey = [4]byte(b[size:])
		size += 4
	}
	h.Size = size
	return h, None
}

// checkFirst checks what the first byte of a header says.
func (w *Walker) checkFirst(b byte) Violation {
	op, fin := Opcode(b&0x0f), b&finBit != 0
	if op == Text || op == Binary {
		b &^= w.rsv1
	}
	switch {
	case b&0x70 != 0:
		return reservedBit
	case op > Binary && op < Close || op > Pong:
		return reservedOpcode
	case op.Control() && !fin:
		return fragmentedControl
	case op == Continuation && !w.within:
		return strayContinuation
	case (op == Text || op == Binary) && w.within:
		return missingContinuation
	}
	return None
}

// length reads the payload's length and returns where it ends in b, 0 while it
// is not complete.
func (w *Walker) length(h *Header, b []byte) (end int, v Violation) {
	n := int64(b[1] & 0x7f)
	end = 2
	switch {
	case h.Control() && n > MaxControlPayload:
		return 0, longControl
	case n == 126:
		if len(b) < 4 {
			return 0, None
		}
		n, end = int64(binary.BigEndian.Uint16(b[2:])), 4
		if n < 126 {
			return 0, longLength
		}
	case n == 127:
		if len(b) < 10 {
			return 0, None
		}
		n, end = int64(binary.BigEndian.Uint64(b[2:])), 10
		if n < 0 {
			return 0, hugeLength
		}
		if n < 1<<16 {
			return 0, longLength
		}
	}
	h.Length = n
	if !h.Control() && n > w.room(h.Opcode) {
		return 0, TooBig
	}
	return end, None
}

// room returns how long the payload of a data frame that starts now may be.
func (w *Walker) room(op Opcode) int64 {
	if op == Continuation {
		return w.limit - w.size
	}
	return w.limit
}

// Terminator reports whether the data frame with this header is empty and only ends
// a message that has payload. Libraries that write a message as a stream end each
// with one.
func (w *Walker) Terminator(h *Header) bool {
	return h.Opcode == Continuation && h.Fin && h.Length == 0 && w.size > 0
}

// Begin notes that the data frame with this complete header starts.
func (w *Walker) Begin(h *Header) {
	if h.Opcode != Continuation {
		w.size = 0
	}
	w.size += h.Length
	w.left = h.Length
	w.within = !h.Fin
}

// WholeMessages takes from the start of b, which is between two frames, the
// messages that are complete, each in one frame that is not empty: most are. It takes
// no more of them than are within both most messages and room for payload. It
// returns their bytes, their number and their payload. What it leaves, whatever
// that is, is for Header.
func (w *Walker) WholeMessages(b []byte, most, room int64) (n, messages, payload int) {
	if w.within {
		return 0, 0, 0
	}
	var mask byte
	head := 2
	if w.masked {
		mask, head = maskBit, 6
	}
	for len(b)-n >= head+2 && int64(messages) < most { // enough for a length of two bytes, too
		f := b[n:]
		if first := f[0] &^ w.rsv1; first != finBit|byte(Text) && first != finBit|byte(Binary) {
			break
		}
		length, size := int(f[1]^mask), head
		if length == 126 {
			if length = int(binary.BigEndian.Uint16(f[2:])); length < 126 {
				break
			}
			size += 2
		} else if length == 0 || length > 125 { // wrong masking shows as the high bit
			break
		}
		if size += length; size > len(f) || int64(length) > w.limit || int64(payload+length) > room {
			break
		}
		n += size
		payload += length
		messages++
	}
	return n, messages, payload
}

// Skip moves over n more bytes of the current frame's payload, or as many as are
// left of it, and returns how many these were.
func (w *Walker) Skip(n int) int {
	if int64(n) > w.left {
		n = int(w.left)
	}
	w.left -= int64(n)
	return n
}

// MidFrame reports whether the direction is inside a data frame.
func (w *Walker) MidFrame() bool { return w.left > 0 }

// MidMessage reports whether the direction is inside a message, maybe between two of its
// frames.
func (w *Walker) MidMessage() bool { return w.left > 0 || w.within }

// Left returns how many bytes of the current frame's payload are still to come.
func (w *Walker) Left() int64 { return w.left }
