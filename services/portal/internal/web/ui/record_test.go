package ui

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// TestRenewals says how often a session was renewed, and nothing where it never was.
func TestRenewals(t *testing.T) {
	at := timestamppb.New(time.Date(2026, 11, 2, 10, 15, 0, 0, time.UTC))
	for want, r := range map[string]*usagev1.SessionRecord{
		"":                                   {},
		"once, at 2 Nov 2026, 10:15":         {Renewals: 1, RenewTime: at},
		"3 times, last at 2 Nov 2026, 10:15": {Renewals: 3, RenewTime: at},
	} {
		if got := Renewals(r); got != want {
			t.Errorf("Renewals(%v) = %q, want %q", r, got, want)
		}
	}
}
