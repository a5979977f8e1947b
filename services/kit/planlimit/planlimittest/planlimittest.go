// Package planlimittest makes limits for tests.
package planlimittest

import (
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/planlimit"
)

// Sent makes the limits of plans as users may send them: with something left open, and
// nothing that planlimit.Complete refuses.
func Sent() *rapid.Generator[[]*catalogv1.Limit] {
	return rapid.Custom(func(t *rapid.T) []*catalogv1.Limit {
		var sent []*catalogv1.Limit
		for _, l := range rapid.SliceOfN(rapid.Custom(limit), 1, 16).Draw(t, "limits") {
			with := append(slices.Clip(sent), l)
			if _, wrong := planlimit.Complete(with); len(wrong) == 0 {
				sent = with
			}
		}
		return sent
	})
}

// Saved makes the limits of plans as the catalog saves them.
func Saved() *rapid.Generator[[]*catalogv1.Limit] {
	return rapid.Map(Sent(), func(sent []*catalogv1.Limit) []*catalogv1.Limit {
		saved, _ := planlimit.Complete(sent)
		return saved
	})
}

// limit is within the rules of the protos.

func limit(t *rapid.T) *catalogv1.Limit {
	l := &catalogv1.Limit{
		Name:    rapid.SampledFrom([]string{"", "", "", "a", "messages-rate", "connections-2"}).Draw(t, "name"),
		Observe: rapid.IntRange(0, 3).Draw(t, "observe") == 0,
	}
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 0:
		l.Kind = &catalogv1.Limit_Connections{Connections: &catalogv1.Connections{Most: rapid.Int32Range(1, 1e6).Draw(t, "most")}}
	case 1:
		l.Kind = &catalogv1.Limit_MessageSize{MessageSize: &catalogv1.MessageSize{Bytes: upTo(t, "bytes", 1<<30)}}
	case 2:
		l.Kind = &catalogv1.Limit_SessionAge{SessionAge: &catalogv1.SessionAge{Age: between(t, "age", 30*24*time.Hour)}}
	case 3, 4:
		l.Kind = &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{
			Unit:     rapid.SampledFrom([]catalogv1.Unit{catalogv1.Unit_UNIT_MESSAGES, catalogv1.Unit_UNIT_BYTES, catalogv1.Unit_UNIT_SESSIONS}).Draw(t, "unit"),
			Amount:   upTo(t, "amount", 1e15),
			Window:   catalogv1.Quota_Window(rapid.Int32Range(1, 5).Draw(t, "window")),
			OnOutage: catalogv1.Quota_Outage(rapid.Int32Range(0, 2).Draw(t, "outage")),
		}}
	default:
		l.Kind = &catalogv1.Limit_Rate{Rate: rate(t)}
	}
	if rapid.Bool().Draw(t, "reacts") {
		l.Reaction = catalogv1.Limit_Reaction(rapid.Int32Range(1, 5).Draw(t, "reaction"))
	}
	return l
}

func rate(t *rapid.T) *catalogv1.Rate {
	r := &catalogv1.Rate{
		Unit:          rapid.SampledFrom([]catalogv1.Unit{catalogv1.Unit_UNIT_MESSAGES, catalogv1.Unit_UNIT_BYTES, catalogv1.Unit_UNIT_HANDSHAKES}).Draw(t, "unit"),
		Amount:        upTo(t, "amount", 1e12),
		Per:           between(t, "per", time.Hour),
		Direction:     catalogv1.Direction(rapid.Int32Range(0, 3).Draw(t, "direction")),
		PerConnection: rapid.Bool().Draw(t, "per_connection"),
	}
	if r.Unit == catalogv1.Unit_UNIT_HANDSHAKES && rapid.Bool().Draw(t, "plain") {
		r.Direction, r.PerConnection = 0, false
	}
	switch rapid.IntRange(0, 3).Draw(t, "bursts") {
	case 0:
		r.Burst = upTo(t, "burst", 1e12)
	case 1: // about as much as may refill
		days := rapid.Float64Range(90, 130).Draw(t, "days")
		r.Burst = max(1, int64(min(days*24*float64(time.Hour)/float64(r.Per.AsDuration())*float64(r.Amount), 1e12)))
	}
	if rapid.IntRange(0, 3).Draw(t, "pauses") == 0 {
		r.LongestPause = between(t, "longest_pause", 10*time.Minute)
	}
	return r
}

// upTo is from 1 to most, each number of digits as likely.
func upTo(t *rapid.T, label string, most int64) int64 {
	top := int64(1)
	for range rapid.IntRange(0, 15).Draw(t, label+" digits") {
		top *= 10
	}
	return rapid.Int64Range(1, min(top, most)).Draw(t, label)
}

// between is from a second to most.
func between(t *rapid.T, label string, most time.Duration) *durationpb.Duration {
	return durationpb.New(time.Duration(rapid.Int64Range(int64(time.Second), int64(most)).Draw(t, label)))
}
