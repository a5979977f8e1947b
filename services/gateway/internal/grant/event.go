package grant

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/kit/moment"
)

// EventKind is what happened to the names of an event.
type EventKind uint8

// The kinds. All but Changed end what rests on the names.
const (
	Changed EventKind = iota
	TokenRevoked
	OAuthClientDeleted
	ApplicationDeleted
	SubscriptionDeleted
	UserDeleted
	VersionDeleted
	Expired
	UserSuspended
	SubscriptionBlocked
	SubscriptionRequired
	SignInEnded
	NotOwner
	Revoked
	APIKeyDeleted
	APIKeyReplaced
)

// String describes the kind to the reader of a session record.
func (k EventKind) String() string {
	switch k {
	case Changed:
		return "changed"
	case TokenRevoked:
		return "token revoked"
	case OAuthClientDeleted:
		return "OAuth client deleted"
	case ApplicationDeleted:
		return "application deleted"
	case SubscriptionDeleted:
		return "subscription deleted"
	case UserDeleted:
		return "user deleted"
	case VersionDeleted:
		return "version deleted"
	case Expired:
		return "credential expired"
	case UserSuspended:
		return "user suspended"
	case SubscriptionBlocked:
		return "subscription blocked"
	case SubscriptionRequired:
		return "the version needs a subscription now"
	case SignInEnded:
		return "sign-in ended"
	case NotOwner:
		return "the user does not own the version any more"
	case Revoked:
		return "credentials revoked"
	case APIKeyDeleted:
		return "API key deleted"
	case APIKeyReplaced:
		return "value of the API key replaced"
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// ending returns how sessions end that rest on the names.
func (k EventKind) ending(names []string) ending.Ending {
	detail := k.String()
	if len(names) > 0 {
		detail += ": " + strings.Join(names, ", ")
	}
	switch k {
	case TokenRevoked, OAuthClientDeleted, SignInEnded, Revoked, APIKeyDeleted, APIKeyReplaced:
		return ending.New(ending.Revoked, detail)
	case Expired:
		return ending.New(ending.Expired, "")
	}
	return ending.New(ending.Blocked, detail)
}

// Event says what happened to names.
type Event struct {
	Kind  EventKind
	Names []string // none: nothing that a grant can rest on
	// IssuedBefore restricts the event to grants whose credential was issued before its
	// moment, zero for all; Application to those of an application, and User to
	// those of a user, "" for all.
	IssuedBefore      moment.Moment
	Application, User string
}

// affects reports whether the event is about a grant that rests on one of its names, or
// where g is nil about what rests on them without a grant.
func (e Event) affects(g *Grant) bool {
	if g == nil {
		return e.IssuedBefore == moment.Moment{} && e.Application == "" && e.User == ""
	}
	return (e.IssuedBefore == moment.Moment{} || g.Issued.Before(e.IssuedBefore)) && (e.Application == "" || g.Application == e.Application) &&
		(e.User == "" || g.User == e.User)
}

// touches reports whether the event is about any of the names.
func (e Event) touches(names []string) bool {
	return slices.ContainsFunc(e.Names, func(n string) bool { return slices.Contains(names, n) })
}
