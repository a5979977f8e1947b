// Package grant says what a checked credential is good for, and why one is
// refused. Who checks credentials and keeps the answers is package auth; who
// acts on them is package handshake.
package grant

import (
	"errors"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// KeyType is which of a version's endpoints a credential leads to.
type KeyType uint8

// The types of keys.
const (
	Production KeyType = iota + 1
	Sandbox
)

// String returns the type as it is written for users.
func (t KeyType) String() string {
	switch t {
	case Production:
		return "production"
	case Sandbox:
		return "sandbox"
	default:
		return "unknown"
	}
}

// Grant is what a credential is good for: one version, for one application.
type Grant struct {
	// Basis holds the names that the grant rests on, its own among them. All
	// sessions of the grant share it and nobody changes it.
	Basis   *session.Grant
	KeyType KeyType
	Expires time.Time // end of the credential, with a monotonic reading; zero: none
	AsOf    uint64    // how far it takes events into account, for Confirm alone to read
}

// Expired reports whether the credential has ended.
func (g *Grant) Expired(now time.Time) bool {
	return !g.Expires.IsZero() && !now.Before(g.Expires)
}

// Why there is no grant. Every other error means that nobody could say.
var (
	// ErrUnauthenticated: the credential is malformed, unknown, expired or
	// revoked. Which of these it is stays unsaid to the client.
	ErrUnauthenticated = errors.New("credential is not valid")
	// ErrNotSubscribed: the credential is good, but its application has no
	// subscription to the version.
	ErrNotSubscribed = errors.New("application is not subscribed to the version")
	// ErrUnavailable: the control plane is away and there is no cached answer.
	ErrUnavailable = errors.New("credential cannot be checked now")
	// ErrBusy: too many credentials are being looked up at once.
	ErrBusy = errors.New("too many credentials are being checked")
)
