// Package ending is the vocabulary of how sessions end: who ended one, why, what
// its client was told, and what was relayed until then. Whoever ends a session or
// tells of its end speaks it; of the gateway it imports limits alone.
//
// The table in reason.go gives each end reason its number, word, close codes and
// documentation; New, AtFault and ByPeer choose from it what each peer gets.
package ending

import (
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

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
	By          Party
	Reason      Reason
	ClientCode  uint16        // the close code that the client gets; 0: no close
	BackendCode uint16        // the close code that the backend gets; 0: no close
	Detail      string        // for all who read the session's record; never sent to a peer, and without names of Limit
	Retry       time.Duration // when the client should come back, sent as retry=…ms; 0: not said
	Limit       *limits.Limit // that decided; nil: none did
}

// New returns the ending for a reason, with the party and the codes of the table.
func New(r Reason, detail string) Ending {
	row := r.row()
	return Ending{By: row.by, Reason: r, ClientCode: row.client, BackendCode: row.backend, Detail: detail}
}

// ByPeer returns the ending of a session that a peer closed with this code and
// reason, which the other peer gets.
func ByPeer(p Party, code uint16, reason string) Ending {
	return Ending{By: p, Reason: PeerClose, ClientCode: code, BackendCode: code, Detail: reason}
}

// AtFault returns the ending of a session one of whose peers did what the reason is
// for. That peer gets the code, or without one that of the table. A client gets 1011
// for what its backend did.
func AtFault(p Party, r Reason, code uint16, detail string) Ending {
	e := New(r, p.String()+": "+detail)
	if code != 0 {
		e.ClientCode = code
	}
	if p == Backend {
		e.ClientCode, e.BackendCode = internalError, e.ClientCode
	}
	return e
}

// internalError is the close code of RFC 6455 for what is the server's fault.
const internalError = 1011
