package relay

import (
	"encoding/binary"
	"math"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// Opcodes of RFC 6455, section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

const (
	finBit     = 0x80
	maskBit    = 0x80
	maxHeader  = 14
	maxControl = 125 // bytes of a control frame's payload
)

// Walker follows the frames of one direction: it checks each header against
// RFC 6455 and the frames before it, and knows where the next one starts. It
// sees headers only and keeps no bytes.
type Walker struct {
	left   int64 // payload bytes of the current data frame that are still to come
	size   int64 // bytes of the current message, up to the end of the current frame
	limit  int64 // largest message
	masked bool  // frames of this direction must be masked
	within bool  // a message has begun and its last frame not
}

// NewWalker returns a Walker for a direction whose frames are masked or not, and
// whose messages have at most limit bytes; a negative limit is none.
func NewWalker(masked bool, limit int64) Walker {
	if limit < 0 {
		limit = math.MaxInt64
	}
	return Walker{masked: masked, limit: limit}
}

// Header is a parsed frame header.
type Header struct {
	Size    int   // bytes of the header itself; 0: it is not complete yet
	Length  int64 // bytes of the payload
	Opcode  byte
	Fin     bool
	Masked  bool
	MaskKey [4]byte
}

// Control reports whether the frame is a close, ping or pong.
func (h *Header) Control() bool { return h.Opcode >= opClose }

// Header parses the header that b starts with, between two frames. A breach is
// reported as soon as the bytes show it; Size is 0 while more bytes are needed.
// It changes nothing: Begin does.
func (w *Walker) Header(b []byte) (h Header, v Violation) {
	if len(b) == 0 {
		return h, none
	}
	h.Opcode, h.Fin = b[0]&0x0f, b[0]&finBit != 0
	if v := w.checkFirst(b[0]); v != none || len(b) == 1 {
		return h, v
	}
	h.Masked = b[1]&maskBit != 0
	if h.Masked != w.masked {
		return h, wrongMask
	}
	size, v := w.length(&h, b)
	if v != none || size == 0 {
		return h, v
	}
	if h.Masked {
		if len(b) < size+4 {
			return h, none
		}
		h.MaskKey = [4]byte(b[size:])
		size += 4
	}
	h.Size = size
	return h, none
}

// checkFirst checks what the first byte of a header says.
func (w *Walker) checkFirst(b byte) Violation {
	op, fin := b&0x0f, b&finBit != 0
	switch {
	case b&0x70 != 0:
		return reservedBit
	case op > opBinary && op < opClose || op > opPong:
		return reservedOpcode
	case op >= opClose && !fin:
		return fragmentedControl
	case op == opContinuation && !w.within:
		return strayContinuation
	case (op == opText || op == opBinary) && w.within:
		return missingContinuation
	}
	return none
}

// length reads the payload's length and returns where it ends in b, 0 while it
// is not complete.
func (w *Walker) length(h *Header, b []byte) (end int, v Violation) {
	n := int64(b[1] & 0x7f)
	end = 2
	switch {
	case h.Control() && n > maxControl:
		return 0, longControl
	case n == 126:
		if len(b) < 4 {
			return 0, none
		}
		n, end = int64(binary.BigEndian.Uint16(b[2:])), 4
		if n < 126 {
			return 0, longLength
		}
	case n == 127:
		if len(b) < 10 {
			return 0, none
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
		return 0, tooBig
	}
	return end, none
}

// room returns how long the payload of a data frame that starts now may be.
func (w *Walker) room(opcode byte) int64 {
	if opcode == opContinuation {
		return w.limit - w.size
	}
	return w.limit
}

// Ends reports whether the data frame with this header only ends a message that
// has payload. Libraries that write messages as streams end each of them so.
func (w *Walker) Ends(h *Header) bool {
	return h.Opcode == opContinuation && h.Fin && h.Length == 0 && w.size > 0
}

// Begin notes that the data frame with this complete header starts.
func (w *Walker) Begin(h *Header) {
	if h.Opcode != opContinuation {
		w.size = 0
	}
	w.size += h.Length
	w.left = h.Length
	w.within = !h.Fin
}

// Run takes from the start of b, which is between two frames, the messages that
// are all there, in one frame each, and not empty, as most are. It returns their
// bytes and adds them to c. For what it leaves, whatever that is, Header is asked.
func (w *Walker) Run(b []byte, c *ending.Count) (n int) {
	if w.within {
		return 0
	}
	var mask byte
	head := 2
	if w.masked {
		mask, head = maskBit, 6
	}
	var messages, payload int
	for len(b)-n >= head+2 { // a longer length is there then
		f := b[n:]
		if f[0] != finBit|opText && f[0] != finBit|opBinary {
			break
		}
		length, size := int(f[1]^mask), head
		if length == 126 {
			if length = int(binary.BigEndian.Uint16(f[2:])); length < 126 {
				break
			}
			size += 2
		} else if length == 0 || length > 125 { // the wrong masking is a high bit
			break
		}
		if size += length; size > len(f) || int64(length) > w.limit {
			break
		}
		n += size
		payload += length
		messages++
	}
	c.Add(&ending.Count{Messages: uint64(messages), Frames: uint64(messages), Payload: uint64(payload)})
	return n
}

// Skip notes n more bytes of the current frame's payload, at most as many as
// there are left, and returns how many it took.
func (w *Walker) Skip(n int) int {
	if int64(n) > w.left {
		n = int(w.left)
	}
	w.left -= int64(n)
	return n
}

// Inside reports whether the direction is in the middle of a data frame.
func (w *Walker) Inside() bool { return w.left > 0 }
