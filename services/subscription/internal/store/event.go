package store

import (
	"encoding/json"
	"fmt"
)

// Cause says what happened to the names of an event.
type Cause string

// Causes.
const (
	// TokenRevoked: the token was revoked.
	TokenRevoked Cause = "TOKEN_REVOKED"
	// KeyDeleted: the key was deleted.
	KeyDeleted Cause = "KEY_DELETED"
	// ApplicationDeleted: the application was deleted.
	ApplicationDeleted Cause = "APPLICATION_DELETED"
	// SubscriptionDeleted: the subscription was deleted.
	SubscriptionDeleted Cause = "SUBSCRIPTION_DELETED"
	// UserDeleted: the user was removed.
	UserDeleted Cause = "USER_DELETED"
	// VersionDeleted: the version was deleted.
	VersionDeleted Cause = "VERSION_DELETED"
	// Expired: the credential has ended. Never in an event.
	Expired Cause = "EXPIRED"
)

// Event is what a change does to grants and denials: those that rest on one of
// the names are void.
type Event struct {
	Cause Cause    `json:"cause,omitempty"`
	Names []string `json:"names"`
}

// encode returns the event as the change log keeps it.
func (e Event) encode() []byte {
	text, err := json.Marshal(e)
	if err != nil {
		panic(err) // strings always encode
	}
	return text
}

// DecodeEvent reads what the change log keeps.
func DecodeEvent(text []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(text, &e); err != nil {
		return Event{}, fmt.Errorf("decode grant event: %w", err)
	}
	return e, nil
}
