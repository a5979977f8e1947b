package relay

import "time"

// Party is who ended a session.
type Party uint8

// The parties. A session that is not over was ended by Nobody.
const (
	Nobody Party = iota
	Client
	Backend
	Gateway
	Operator
)

// String returns the party's name, empty for Nobody.
func (p Party) String() string {
	switch p {
	case Client:
		return "client"
	case Backend:
		return "backend"
	case Gateway:
		return "gateway"
	case Operator:
		return "operator"
	}
	return ""
}

// gone is the word for a party that left without a close.
func (p Party) gone() string {
	if p == Client {
		return "CLIENT_GONE"
	}
	return "BACKEND_GONE"
}

// Cause says who ended a session, and why.
type Cause struct {
	By     Party
	Word   string        // upper case, the first word of a close reason of ours: REVOKED, IDLE, …
	Code   uint16        // what the client gets
	Detail string        // for the record only; never sent
	Retry  time.Duration // when to come back, sent as retry=…ms; 0: nothing is said
}

// Expired is the cause of a session whose credential's lifetime is over.
func Expired() Cause { return Cause{By: Gateway, Word: "EXPIRED", Code: CodeUnauthorized} }

// Totals is what was relayed in the two directions.
type Totals struct {
	FromClient, FromBackend Count
}

// Count is what was relayed in one direction. Control frames are not relayed
// and not counted.
type Count struct {
	Messages uint64 // counted at their first frame
	Frames   uint64
	Payload  uint64 // bytes without frame headers
	Wire     uint64 // bytes with them
}
