// Package ending is the vocabulary of how sessions end: who ended one, why, what
// its client was told, and what was relayed until then. Whoever ends a session or
// tells of its end speaks it; it imports nothing of the gateway.
//
// The table in reason.go is the only place that gives an end reason its number,
// word, close code and documentation.
package ending

import "time"

// Party is who ended a session.
type Party uint8

// The parties. Nobody has ended a session that is not over.
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

// Ending is who ended a session, and why. The zero value is that of a session
// that is not over.
type Ending struct {
	By     Party
	Reason Reason
	Code   uint16        // the close code that the client gets; 0: none, or the peer's own
	Detail string        // for the session's record; never sent to a peer
	Retry  time.Duration // when the client should come back, sent as retry=…ms; 0: not said
}

// New returns the ending for a reason, by the party and with the code that the
// table gives it. Only PeerClose has neither: the relay fills in the peer that
// closed, and its code.
func New(r Reason, detail string) Ending {
	row := r.row()
	return Ending{By: row.by, Reason: r, Code: row.code, Detail: detail}
}
