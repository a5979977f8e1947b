// Package frame reads and writes WebSocket frames as RFC 6455 has them: headers,
// control frames, and what a peer may not send. It keeps no payload and does no
// I/O.
package frame

import (
	"encoding/binary"
	"math/rand/v2"
	"unicode/utf8"
)

// Opcode says what a frame is (RFC 6455, section 5.2).
type Opcode uint8

// The opcodes. The others are reserved.
const (
	Continuation Opcode = 0x0
	Text         Opcode = 0x1
	Binary       Opcode = 0x2
	Close        Opcode = 0x8
	Ping         Opcode = 0x9
	Pong         Opcode = 0xa
)

// Control reports whether frames of this opcode are control frames.
func (o Opcode) Control() bool { return o >= Close }

const (
	finBit  = 0x80
	rsv1Bit = 0x40
	maskBit = 0x80
)

// Bounds of control frames, in bytes.
const (
	MaxControlPayload = 125
	MaxControlFrame   = 2 + 4 + MaxControlPayload
)

// CloseInvalidPayload is the close code for text that is not UTF-8.
const CloseInvalidPayload = 1007

const (
	protocolError = 1002
	noCode        = 1005 // stands for a close frame without a code
)

// ParseClose parses the unmasked payload of a close frame. A code that no peer may
// send is read as 1002, the absence of one as 1005. The reason is a part of p.
func ParseClose(p []byte) (code uint16, reason []byte, v Violation) {
	switch len(p) {
	case 0:
		return noCode, nil, None
	case 1:
		return protocolError, nil, shortClose
	}
	code, reason = binary.BigEndian.Uint16(p), p[2:]
	if !sendable(code) {
		code = protocolError
	}
	if !utf8.Valid(reason) {
		return code, nil, InvalidReason
	}
	return code, reason, None
}

// sendable reports whether a peer may send the code: those that RFC 6455 and its
// registry define for that, and the free ranges.
func sendable(code uint16) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return true
	}
	return code >= 3000 && code <= 4999
}

// AppendClose appends the payload of a close frame, which is empty for 1005.
func AppendClose(b []byte, code uint16, reason []byte) []byte {
	if code == noCode {
		return b
	}
	return append(binary.BigEndian.AppendUint16(b, code), reason...)
}

// AppendControl appends a control frame with at most MaxControlPayload bytes of
// payload, masked with a random key if it goes to a backend.
func AppendControl(b []byte, op Opcode, payload []byte, masked bool) []byte {
	if !masked {
		return append(append(b, finBit|byte(op), byte(len(payload))), payload...)
	}
	b = append(b, finBit|byte(op), maskBit|byte(len(payload)))
	b = binary.BigEndian.AppendUint32(b, rand.Uint32())
	start := len(b)
	b = append(b, payload...)
	Unmask(b[start:], [4]byte(b[start-4:]))
	return b
}

// AppendText appends a text message in one frame that is not masked, with at most 65535
// bytes of payload.
func AppendText(b []byte, payload string) []byte {
	if len(payload) <= 125 {
		b = append(b, finBit|byte(Text), byte(len(payload)))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, finBit|byte(Text), 126), uint16(len(payload)))
	}
	return append(b, payload...)
}

// Unmask applies a masking key to a payload that starts with its first byte. It is
// for control frames: slow, and short.
func Unmask(p []byte, key [4]byte) {
	for i := range p {
		p[i] ^= key[i&3]
	}
}
