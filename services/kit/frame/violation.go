package frame

// Violation is what a peer did that RFC 6455 or a limit forbids. The zero value is
// None.
type Violation uint8

// The violations that have consequences of their own; the others are violations
// of the protocol in general.
const (
	None          Violation = iota
	TooBig                  // a message over the limit
	InvalidReason           // a close reason that is not UTF-8
	Flood                   // too many control or empty frames

	reservedBit
	reservedOpcode
	fragmentedControl
	strayContinuation
	missingContinuation
	wrongMask
	longControl
	longLength
	hugeLength
	shortClose
)

// Error says what is wrong, for logs and records.
func (v Violation) Error() string {
	switch v {
	case TooBig:
		return "message over the limit"
	case InvalidReason:
		return "close reason is not UTF-8"
	case Flood:
		return "too many control or empty frames"
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
	case shortClose:
		return "close payload of one byte"
	}
	return "none"
}
