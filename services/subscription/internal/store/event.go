package store

import (
	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
)

// event says what a change does to grants and denials: those that rest on one of
// the names are no longer valid.
func event(cause backplanev1.GrantEvent_Cause, names ...string) *backplanev1.GrantEvent {
	return &backplanev1.GrantEvent{Cause: cause, Names: names}
}
