package relay

import "github.com/tidegatehq/tidegate/services/gateway/internal/ending"

// Violation is a breach of the protocol by a peer. The zero value is none.
type Violation uint8

const (
	none Violation = iota
	reservedBit
	reservedOpcode
	fragmentedControl
	strayContinuation
	missingContinuation
	wrongMask
	longControl
	longLength
	hugeLength
	tooBig
	shortClose
	badReason
	flood
)

// Error describes the breach.
func (v Violation) Error() string {
	switch v {
	case reservedBit:
		return "reserved bit set"
	case reservedOpcode:
		return "reserved opcode"
	case fragmentedControl:
		return "fragmented control frame"
	case strayContinuation:
		return "continuation without a message"
	case missingContinuation:
		return "new message inside a fragmented one"
	case wrongMask:
		return "wrong masking for the direction"
	case longControl:
		return "control frame over 125 bytes"
	case longLength:
		return "length not in its shortest form"
	case hugeLength:
		return "length with its highest bit set"
	case tooBig:
		return "message over the limit"
	case shortClose:
		return "close payload of one byte"
	case badReason:
		return "close reason is not UTF-8"
	case flood:
		return "too many control or empty frames"
	}
	return "none"
}

// ending returns the end reason of a session whose peer did this, and the close
// code that the peer gets.
func (v Violation) ending() (r ending.Reason, code uint16) {
	switch v {
	case tooBig:
		r = ending.TooBig
	case flood:
		r = ending.Flood
	case badReason:
		return ending.Protocol, CodeBadData
	default:
		r = ending.Protocol
	}
	return r, r.Code()
}
