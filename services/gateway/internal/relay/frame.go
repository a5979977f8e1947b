package relay

import (
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"unicode/utf8"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// Close codes that the relay itself sends or looks at.
const (
	CodeGoingAway = 1001
	CodeProtocol  = 1002
	CodeNone      = 1005 // stands for a close frame without a code
	CodeBadData   = 1007
	CodeInternal  = 1011
	CodeRestart   = 1012
)

// maxFrame is the size of the largest control frame.
const maxFrame = 2 + 4 + maxControl

// legalCode reports whether a peer may send the code in a close frame: those
// that RFC 6455 and its registry define for that, and the free ranges.
func legalCode(code uint16) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return true
	}
	return code >= 3000 && code <= 4999
}

// parseClose reads the unmasked payload of a close frame. An illegal code is
// read as 1002, no code as CodeNone.
func parseClose(p []byte) (code uint16, reason []byte, v Violation) {
	switch len(p) {
	case 0:
		return CodeNone, nil, none
	case 1:
		return CodeProtocol, nil, shortClose
	}
	code, reason = binary.BigEndian.Uint16(p), p[2:]
	if !legalCode(code) {
		code = CodeProtocol
	}
	if !utf8.Valid(reason) {
		return code, nil, badReason
	}
	return code, reason, none
}

// appendClose appends the payload of a close frame.
func appendClose(b []byte, code uint16, reason []byte) []byte {
	if code == CodeNone {
		return b
	}
	return append(binary.BigEndian.AppendUint16(b, code), reason...)
}

// appendReason appends the reason of a close that the gateway sends because of e.
func appendReason(b []byte, e *ending.Ending, code uint16, ref string) []byte {
	b = append(b, e.Reason.String()...)
	b = append(b, " ref="...)
	b = append(b, ref...)
	if code == CodeRestart && e.Retry > 0 {
		b = append(b, " retry="...)
		b = strconv.AppendInt(b, e.Retry.Milliseconds(), 10)
		b = append(b, "ms"...)
	}
	return b[:min(len(b), maxControl-2)]
}

// appendControl appends a whole control frame; towards a backend it is masked.
func appendControl(b []byte, opcode byte, payload []byte, masked bool) []byte {
	if !masked {
		return append(append(b, finBit|opcode, byte(len(payload))), payload...)
	}
	b = append(b, finBit|opcode, maskBit|byte(len(payload)))
	b = binary.BigEndian.AppendUint32(b, rand.Uint32())
	start := len(b)
	b = append(b, payload...)
	unmask(b[start:], [4]byte(b[start-4:]))
	return b
}

// unmask applies a masking key to a control frame's payload.
func unmask(p []byte, key [4]byte) {
	for i := range p {
		p[i] ^= key[i&3]
	}
}
