package session

import (
	"errors"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// ErrDraining is what New returns once Drain has been called.
var ErrDraining = errors.New("gateway is draining")

// ErrFull is what New returns while there are as many sessions as there may be, and
// ErrAddressFull while there are as many of the client's address.
var (
	ErrFull        = errors.New("there are as many sessions as there may be")
	ErrAddressFull = errors.New("there are as many sessions of the address as there may be")
)

// EndedError is what the handshake of a session gets when the session was ended
// during it.
type EndedError struct{ Ending ending.Ending }

// Error names the reason.
func (e *EndedError) Error() string { return "session ended: " + e.Ending.Reason.String() }
