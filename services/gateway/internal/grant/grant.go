package grant

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/permit"
)

// Stage says which of a version's endpoints a credential leads to.
type Stage uint8

// The stages.
const (
	Production Stage = iota + 1
	Sandbox
)

// String returns the stage as it is written in messages.
func (s Stage) String() string {
	switch s {
	case Production:
		return "production"
	case Sandbox:
		return "sandbox"
	default:
		return "unknown"
	}
}

// Grant is what a credential is good for: one version of an API, for one
// application. All sessions of the grant share it, and it never changes: a
// refresh replaces it by a new one.
type Grant struct {
	Name         string // grants/{token id}; of an API key grants/{id of its value}
	Version      string // apis/{api}/versions/{version}
	User         string // users/{user}
	Application  string // applications/{application}
	Subscription string // subscriptions/{subscription}; "" where the version needs none and there is none
	OAuthClient  string // applications/{application}/oauthClients/{oauth_client}; "" of a try-out token and of an API key
	APIKey       string // applications/{application}/apiKeys/{api_key}; "" of a token
	SignIn       string // users/{user}/signIns/{sign_in} that the credential does not outlive; "" for none
	Stage        Stage  //
	Plan         string // plans/{plan}: of the subscription, or that of applications without one; "" of a try-out token
	// ApplicationPlan is the application's own plan, plans/{plan}, "" for none.
	ApplicationPlan string
	Secret          string   // applications/{application}/oauthClients/{oauth_client}/secrets/{secret} that the token was issued for; "" where there is none
	Scopes          []string // of the token
	SessionRef      string   // of the session that a ticket has opened; "" of another credential
	RestsOn         []string // every name that the grant rests on, those above included

	// Addresses and Referers are where an API key is good from; none is everywhere. They are
	// judged for each handshake, and for live sessions when they change.
	Addresses []netip.Prefix
	Referers  []permit.Referer

	// AsOf is the number of the change that was the newest before the grant was read.
	AsOf uint64
	// Issued is the moment at which its credential was issued, zero where that is not known.
	Issued moment.Moment

	// ExpireTime is the end of the credential by the control plane's clock, Expires
	// by the gateway's, with a monotonic reading. Zero is never.
	ExpireTime, Expires time.Time
}

// tryOut stands for an application where a version is tried out.
const tryOut = "applications/try-out"

// TryOut reports whether the credential is a try-out token. g may be nil.
func (g *Grant) TryOut() bool { return g != nil && g.Application == tryOut }

// Expired reports whether the credential has expired.
func (g *Grant) Expired(now time.Time) bool {
	return !g.Expires.IsZero() && !now.Before(g.Expires)
}

// expireAfter sets when the credential expires by the gateway's clock: its lifetime after
// the question was sent, so rather early than late. An API key may never expire.
func (g *Grant) expireAfter(sent time.Time, lifetime time.Duration) {
	if g.APIKey == "" || !g.ExpireTime.IsZero() {
		g.Expires = sent.Add(lifetime)
	}
}

// Permits returns nil if the credential is good for a client at this address and this page,
// and else ErrAddress or ErrReferer.
func (g *Grant) Permits(client netip.Addr, from permit.Page) error {
	switch {
	case !permit.Address(g.Addresses, client):
		return ErrAddress
	case !permit.Pages(g.Referers, from):
		return ErrReferer
	}
	return nil
}

// Why a good credential is not good from where a client is.
var (
	// ErrAddress says that the client's address is not permitted.
	ErrAddress = errors.New("the client's address is not one of those that the API key permits")
	// ErrReferer says that the page is not permitted, or not known.
	ErrReferer = errors.New("the page is not one of those that the API key permits")
)

// Denial is the judgement that a credential is not good for a version.
type Denial struct {
	Reason      error    // ErrUnauthenticated, also as ErrExpired or ErrRevoked; ErrNotSubscribed, ErrBlocked or ErrSuspended
	Application string   // applications/{application} that the credential was issued to; "" where none is known
	RestsOn     []string // the names that the judgement rests on
}

// DeniedError is the reason of a denial whose credential's application is known.
type DeniedError struct {
	Reason      error  // as in Denial
	Application string // applications/{application}
}

// Error returns the reason's text.
func (e *DeniedError) Error() string { return e.Reason.Error() }

// Unwrap returns the reason.
func (e *DeniedError) Unwrap() error { return e.Reason }

// denied returns the error for a credential of an application, "" if that is not known.
func denied(reason error, application string) error {
	if application == "" {
		return reason
	}
	return &DeniedError{Reason: reason, Application: application}
}

// The reasons of a denial.
var (
	// ErrUnauthenticated says that the credential is malformed, unknown, expired or
	// revoked. Clients are not told which.
	ErrUnauthenticated = errors.New("credential is not valid")
	// ErrExpired and ErrRevoked are ErrUnauthenticated of which more is known, for the
	// record.
	ErrExpired = fmt.Errorf("%w: it has expired", ErrUnauthenticated)
	ErrRevoked = fmt.Errorf("%w: it was revoked, its OAuth client deleted, its sign-in ended, or the version given to another owner", ErrUnauthenticated)
	// ErrSpent and ErrElsewhere are ErrUnauthenticated of tickets.
	ErrSpent     = fmt.Errorf("%w: the ticket was spent before", ErrUnauthenticated)
	ErrElsewhere = fmt.Errorf("%w: the ticket is for another Origin or another client address", ErrUnauthenticated)
	// ErrNotSubscribed says that the credential is good, but that its application
	// has no subscription to the version.
	ErrNotSubscribed = errors.New("application is not subscribed to the version")
	// ErrBlocked says that the credential is good, but that its application's
	// subscription to the version is blocked.
	ErrBlocked = errors.New("application's subscription to the version is blocked")
	// ErrSuspended says that the credential is good, but that its application's owner
	// is suspended.
	ErrSuspended = errors.New("application's owner is suspended")
)

// Why there is no judgement.
var (
	// ErrUnavailable says that the control plane is away and nothing is cached.
	ErrUnavailable = errors.New("credential cannot be checked now")
	// ErrBusy says that too many credentials are being looked up at once.
	ErrBusy = errors.New("too many credentials are being checked")
)
