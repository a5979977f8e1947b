package ui

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// TestPromise words limits of every kind.
func TestPromise(t *testing.T) {
	rate := func(unit catalogv1.Unit, n int64, per time.Duration) *catalogv1.Rate {
		return &catalogv1.Rate{Unit: unit, Amount: n, Per: durationpb.New(per)}
	}
	narrow := rate(catalogv1.Unit_UNIT_BYTES, 1<<20, time.Second)
	narrow.Direction, narrow.PerConnection, narrow.Burst = catalogv1.Direction_DIRECTION_FROM_CLIENT, true, 3<<19
	for want, l := range map[string]*catalogv1.Limit{
		"5,000 messages a minute; more waits":                                                    {Kind: &catalogv1.Limit_Rate{Rate: rate(catalogv1.Unit_UNIT_MESSAGES, 5000, time.Minute)}},
		"1 MiB a second from the client on each connection, 1,536 KiB at once; more is left out": {Kind: &catalogv1.Limit_Rate{Rate: narrow}, Reaction: catalogv1.Limit_REACTION_DROP},
		"1 handshake per 90 s; more is refused":                                                  {Kind: &catalogv1.Limit_Rate{Rate: rate(catalogv1.Unit_UNIT_HANDSHAKES, 1, 90*time.Second)}},
		"10 sessions a day; more is refused":                                                     {Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{Unit: catalogv1.Unit_UNIT_SESSIONS, Amount: 10, Window: catalogv1.Quota_WINDOW_DAY}}},
		"1,001 bytes a month; more is left out":                                                  {Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{Unit: catalogv1.Unit_UNIT_BYTES, Amount: 1001, Window: catalogv1.Quota_WINDOW_MONTH}}},
		"1 message a week; more ends the session":                                                {Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: 1, Window: catalogv1.Quota_WINDOW_WEEK}}, Reaction: catalogv1.Limit_REACTION_CLOSE},
		"3 connections at once; a newcomer ends the oldest":                                      {Kind: &catalogv1.Limit_Connections{Connections: &catalogv1.Connections{Most: 3}}, Reaction: catalogv1.Limit_REACTION_CLOSE_OLDEST},
		"1 connection at once (only counted)":                                                    {Kind: &catalogv1.Limit_Connections{Connections: &catalogv1.Connections{Most: 1}}, Observe: true},
		"messages of at most 64 KiB":                                                             {Kind: &catalogv1.Limit_MessageSize{MessageSize: &catalogv1.MessageSize{Bytes: 64 << 10}}, Reaction: catalogv1.Limit_REACTION_CLOSE},
		"sessions of at most 12 h":                                                               {Kind: &catalogv1.Limit_SessionAge{SessionAge: &catalogv1.SessionAge{Age: durationpb.New(12 * time.Hour)}}, Reaction: catalogv1.Limit_REACTION_CLOSE},
	} {
		if got := Promise(l); got != want {
			t.Errorf("Promise(%v) = %q, want %q", l, got, want)
		}
	}
}
