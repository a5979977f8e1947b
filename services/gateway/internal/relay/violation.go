package relay

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

// code is the close code that the offender gets.
func (v Violation) code() uint16 {
	switch v {
	case tooBig:
		return CodeTooBig
	case badReason:
		return CodeBadData
	case flood:
		return CodePolicy
	}
	return CodeProtocol
}

// word is the first word of the close reason that both legs get.
func (v Violation) word() string {
	switch v {
	case tooBig:
		return "TOO_BIG"
	case flood:
		return "FLOOD"
	}
	return "PROTOCOL"
}
