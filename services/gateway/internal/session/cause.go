package session

import (
	"errors"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/relay"
)

// Cause says who ended a session, and why.
type Cause = relay.Cause

// Party is who ended a session.
type Party = relay.Party

// The parties.
const (
	ByNobody   = relay.Nobody
	ByClient   = relay.Client
	ByBackend  = relay.Backend
	ByGateway  = relay.Gateway
	ByOperator = relay.Operator
)

// Expired is the cause of a session whose credential's lifetime is over.
func Expired() Cause { return relay.Expired() }

// Revoked is the cause of a session whose token or key was revoked.
func Revoked(detail string) Cause {
	return Cause{By: ByGateway, Word: "REVOKED", Code: 4001, Detail: detail}
}

// Blocked is the cause of a session whose API, version, person, application or
// subscription was blocked, demoted or removed.
func Blocked(detail string) Cause {
	return Cause{By: ByGateway, Word: "BLOCKED", Code: 4006, Detail: detail}
}

// Closed is the cause of a session that an operator closed.
func Closed(detail string) Cause {
	return Cause{By: ByOperator, Word: "CLOSED", Code: 4010, Detail: detail}
}

// Drained is the cause of a session of a gateway that stops.
func Drained(retry time.Duration) Cause {
	return Cause{By: ByGateway, Word: "DRAIN", Code: 1012, Retry: retry}
}

// ErrDraining is what New returns once Drain was called.
var ErrDraining = errors.New("gateway is draining")

// EndedError is what the handshake of a session gets when the session was
// ended meanwhile.
type EndedError struct{ Cause Cause }

// Error names the cause.
func (e *EndedError) Error() string { return "session ended: " + e.Cause.Word }
