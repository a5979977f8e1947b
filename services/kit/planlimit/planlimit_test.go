package planlimit_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"pgregory.net/rapid"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/planlimit"
	"github.com/tidegatehq/tidegate/services/kit/planlimit/planlimittest"
	"github.com/tidegatehq/tidegate/services/kit/validate"
)

const (
	messages   = catalogv1.Unit_UNIT_MESSAGES
	bytes      = catalogv1.Unit_UNIT_BYTES
	handshakes = catalogv1.Unit_UNIT_HANDSHAKES
	sessions   = catalogv1.Unit_UNIT_SESSIONS

	pause       = catalogv1.Limit_REACTION_PAUSE
	drop        = catalogv1.Limit_REACTION_DROP
	closes      = catalogv1.Limit_REACTION_CLOSE
	refuse      = catalogv1.Limit_REACTION_REFUSE
	closeOldest = catalogv1.Limit_REACTION_CLOSE_OLDEST
)

// limit is a limit of the given kind after edits.
func limit[K any](kind func(K) *catalogv1.Limit, of K, edits ...func(*catalogv1.Limit)) *catalogv1.Limit {
	l := kind(of)
	for _, edit := range edits {
		edit(l)
	}
	return l
}

func rate(unit catalogv1.Unit, amount int64, per time.Duration, edits ...func(*catalogv1.Limit)) *catalogv1.Limit {
	return limit(func(r *catalogv1.Rate) *catalogv1.Limit {
		return &catalogv1.Limit{Kind: &catalogv1.Limit_Rate{Rate: r}}
	}, &catalogv1.Rate{Unit: unit, Amount: amount, Per: durationpb.New(per)}, edits...)
}

func quota(unit catalogv1.Unit, window catalogv1.Quota_Window, edits ...func(*catalogv1.Limit)) *catalogv1.Limit {
	return limit(func(q *catalogv1.Quota) *catalogv1.Limit {
		return &catalogv1.Limit{Kind: &catalogv1.Limit_Quota{Quota: q}}
	}, &catalogv1.Quota{Unit: unit, Amount: 10, Window: window}, edits...)
}

func connections(edits ...func(*catalogv1.Limit)) *catalogv1.Limit {
	return limit(func(c *catalogv1.Connections) *catalogv1.Limit {
		return &catalogv1.Limit{Kind: &catalogv1.Limit_Connections{Connections: c}}
	}, &catalogv1.Connections{Most: 3}, edits...)
}

func messageSize(bytes int64, edits ...func(*catalogv1.Limit)) *catalogv1.Limit {
	return limit(func(m *catalogv1.MessageSize) *catalogv1.Limit {
		return &catalogv1.Limit{Kind: &catalogv1.Limit_MessageSize{MessageSize: m}}
	}, &catalogv1.MessageSize{Bytes: bytes}, edits...)
}

func sessionAge(edits ...func(*catalogv1.Limit)) *catalogv1.Limit {
	return limit(func(a *catalogv1.SessionAge) *catalogv1.Limit {
		return &catalogv1.Limit{Kind: &catalogv1.Limit_SessionAge{SessionAge: a}}
	}, &catalogv1.SessionAge{Age: durationpb.New(time.Hour)}, edits...)
}

func named(name string) func(*catalogv1.Limit) { return func(l *catalogv1.Limit) { l.Name = name } }
func observed(l *catalogv1.Limit)              { l.Observe = true }
func reacts(r catalogv1.Limit_Reaction) func(*catalogv1.Limit) {
	return func(l *catalogv1.Limit) { l.Reaction = r }
}

// of changes a rate.
func of(edit func(*catalogv1.Rate)) func(*catalogv1.Limit) {
	return func(l *catalogv1.Limit) { edit(l.GetRate()) }
}
func burst(n int64) func(*catalogv1.Limit) { return of(func(r *catalogv1.Rate) { r.Burst = n }) }
func pausesFor(d time.Duration) func(*catalogv1.Limit) {
	return of(func(r *catalogv1.Rate) { r.LongestPause = durationpb.New(d) })
}
func to(d catalogv1.Direction) func(*catalogv1.Limit) {
	return of(func(r *catalogv1.Rate) { r.Direction = d })
}
func perConnection(l *catalogv1.Limit) { l.GetRate().PerConnection = true }
func allows(l *catalogv1.Limit)        { l.GetQuota().OnOutage = catalogv1.Quota_OUTAGE_ALLOW }

const (
	both        = catalogv1.Direction_DIRECTION_BOTH
	fromClient  = catalogv1.Direction_DIRECTION_FROM_CLIENT
	fromBackend = catalogv1.Direction_DIRECTION_FROM_BACKEND
	day         = catalogv1.Quota_WINDOW_DAY
	month       = catalogv1.Quota_WINDOW_MONTH
)

func TestWhatIsLeftOpenIsFilledIn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want []*catalogv1.Limit }{
		"a rate of messages": {
			[]*catalogv1.Limit{rate(messages, 100, time.Minute)},
			[]*catalogv1.Limit{rate(messages, 100, time.Minute, named("messages-rate"), reacts(pause), burst(100), to(both), pausesFor(10*time.Second))},
		},
		"a rate of bytes has room for the greatest message": {
			[]*catalogv1.Limit{rate(bytes, 200_000, time.Second)},
			[]*catalogv1.Limit{rate(bytes, 200_000, time.Second, named("bytes-rate"), reacts(pause), burst(1<<20), to(both), pausesFor(10*time.Second))},
		},
		"which the plan may bound": {
			[]*catalogv1.Limit{rate(bytes, 200_000, time.Second, reacts(drop), to(fromBackend)), messageSize(1000)},
			[]*catalogv1.Limit{
				rate(bytes, 200_000, time.Second, named("bytes-rate-from-backend"), reacts(drop), to(fromBackend), burst(200_000)),
				messageSize(1000, named("message-size"), reacts(closes)),
			},
		},
		"the other kinds": {
			[]*catalogv1.Limit{
				rate(handshakes, 5, time.Second), quota(messages, day), quota(bytes, month, reacts(closes)),
				quota(sessions, catalogv1.Quota_WINDOW_HOUR), connections(), sessionAge(),
			},
			[]*catalogv1.Limit{
				rate(handshakes, 5, time.Second, named("handshakes-rate"), reacts(refuse), burst(5)),
				quota(messages, day, named("messages-per-day"), reacts(drop), allows),
				quota(bytes, month, named("bytes-per-month"), reacts(closes), allows),
				quota(sessions, catalogv1.Quota_WINDOW_HOUR, named("sessions-per-hour"), reacts(refuse), allows),
				connections(named("connections"), reacts(refuse)), sessionAge(named("session-age"), reacts(closes)),
			},
		},
		"what is given stays": {
			[]*catalogv1.Limit{
				rate(messages, 1, time.Minute, named("slow"), pausesFor(time.Minute), burst(7), to(fromClient), perConnection),
				connections(reacts(closeOldest), observed, named("x")),
			},
			[]*catalogv1.Limit{
				rate(messages, 1, time.Minute, named("slow"), reacts(pause), pausesFor(time.Minute), burst(7), to(fromClient), perConnection),
				connections(reacts(closeOldest), observed, named("x")),
			},
		},
		"names that are taken are counted on": {
			[]*catalogv1.Limit{
				rate(messages, 10, time.Second, reacts(drop)), rate(messages, 100, time.Minute, reacts(drop)),
				rate(messages, 1000, time.Hour, reacts(drop), named("messages-rate-2")),
				rate(messages, 5, time.Second, reacts(drop), to(fromClient), perConnection, observed),
				quota(messages, day, observed), connections(observed), connections(),
			},
			[]*catalogv1.Limit{
				rate(messages, 10, time.Second, reacts(drop), named("messages-rate"), to(both), burst(10)),
				rate(messages, 100, time.Minute, reacts(drop), named("messages-rate-3"), to(both), burst(100)),
				rate(messages, 1000, time.Hour, reacts(drop), named("messages-rate-2"), to(both), burst(1000)),
				rate(messages, 5, time.Second, reacts(drop), to(fromClient), perConnection, observed,
					named("messages-rate-from-client-per-connection-observed"), burst(5)),
				quota(messages, day, observed, named("messages-per-day-observed"), reacts(drop), allows),
				connections(observed, named("connections-observed"), reacts(refuse)), connections(named("connections"), reacts(refuse)),
			},
		},
	} {
		before := make([]*catalogv1.Limit, len(c.in))
		for i, l := range c.in {
			before[i] = proto.CloneOf(l)
		}
		got, wrong := planlimit.Complete(c.in)
		if diff := cmp.Diff(c.want, got, protocmp.Transform()); diff != "" || len(wrong) > 0 {
			t.Errorf("%s: %v (-want +got):\n%s", name, wrong, diff)
		}
		if diff := cmp.Diff(before, c.in, protocmp.Transform()); diff != "" {
			t.Errorf("%s: the argument was changed (-before +after):\n%s", name, diff)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limits []*catalogv1.Limit
		want   string // field and message of each violation
	}{
		{[]*catalogv1.Limit{rate(messages, 9, time.Second, reacts(refuse))},
			"plan.limits[0].reaction: a rate of messages has PAUSE, DROP or CLOSE, not REFUSE"},
		{[]*catalogv1.Limit{rate(bytes, 1<<20, time.Second, reacts(closeOldest))},
			"plan.limits[0].reaction: a rate of bytes has PAUSE, DROP or CLOSE, not CLOSE_OLDEST"},
		{[]*catalogv1.Limit{rate(handshakes, 9, time.Second, reacts(drop))},
			"plan.limits[0].reaction: a rate of handshakes has REFUSE only, not DROP"},
		{[]*catalogv1.Limit{connections(), quota(messages, day, reacts(pause))},
			"plan.limits[1].reaction: a quota of messages per day has DROP or CLOSE, not PAUSE"},
		{[]*catalogv1.Limit{quota(bytes, month, reacts(refuse))},
			"plan.limits[0].reaction: a quota of bytes per month has DROP or CLOSE, not REFUSE"},
		{[]*catalogv1.Limit{quota(sessions, day, reacts(closes))},
			"plan.limits[0].reaction: a quota of sessions per day has REFUSE only, not CLOSE"},
		{[]*catalogv1.Limit{connections(reacts(drop))},
			"plan.limits[0].reaction: a limit of connections has REFUSE or CLOSE_OLDEST, not DROP"},
		{[]*catalogv1.Limit{messageSize(1, reacts(drop))},
			"plan.limits[0].reaction: a limit of message_size has CLOSE only, not DROP"},
		{[]*catalogv1.Limit{sessionAge(reacts(refuse))},
			"plan.limits[0].reaction: a limit of session_age has CLOSE only, not REFUSE"},
		{[]*catalogv1.Limit{messageSize(1, observed), sessionAge(observed)},
			"plan.limits[0].observe: a limit of message_size always holds: must be false; " +
				"plan.limits[1].observe: a limit of session_age always holds: must be false"},
		{[]*catalogv1.Limit{rate(handshakes, 9, time.Second, to(both), perConnection, pausesFor(time.Second))},
			"plan.limits[0].rate.direction: only rates of messages and bytes have one; " +
				"plan.limits[0].rate.per_connection: only rates of messages and bytes can be for each connection; " +
				"plan.limits[0].rate.longest_pause: only with the reaction PAUSE"},
		{[]*catalogv1.Limit{rate(messages, 9, time.Second, reacts(drop), pausesFor(time.Second))},
			"plan.limits[0].rate.longest_pause: only with the reaction PAUSE"},
		{[]*catalogv1.Limit{rate(bytes, 1<<20, time.Second, burst(1<<20-1))},
			"plan.limits[0].rate.burst: must be at least 1048576, the greatest message of the plan, which a limit of message_size sets"},
		{[]*catalogv1.Limit{rate(bytes, 1<<20, time.Second, burst(2<<20)), messageSize(2<<20 + 1)},
			"plan.limits[0].rate.burst: must be at least 2097153, the greatest message of the plan, which a limit of message_size sets"},
		{[]*catalogv1.Limit{rate(messages, 1, time.Hour, reacts(drop), burst(2401))},
			"plan.limits[0].rate.burst: must refill within 100 days: at most 2400 at this rate"},
		{[]*catalogv1.Limit{rate(handshakes, 1, time.Second, burst(1e12))},
			"plan.limits[0].rate.burst: must refill within 100 days: at most 8640000 at this rate"},
		{[]*catalogv1.Limit{rate(bytes, 1, time.Hour, reacts(drop))},
			"plan.limits[0].rate.amount: a message of 1048576 bytes needs more than 100 days at this rate: raise the amount, bound the message_size"},
		{[]*catalogv1.Limit{rate(messages, 5, time.Minute)},
			"plan.limits[0].rate.longest_pause: a message can need 12s at this rate, more than a pause of 10s: raise longest_pause or the amount, or have DROP or CLOSE"},
		{[]*catalogv1.Limit{rate(messages, 7, time.Minute, pausesFor(8*time.Second), observed)},
			"plan.limits[0].rate.longest_pause: a message can need 8.571428572s at this rate, more than a pause of 8s: raise longest_pause or the amount, or have DROP or CLOSE"},
		{[]*catalogv1.Limit{rate(bytes, 100_000, time.Second)},
			"plan.limits[0].rate.longest_pause: a message of 1048576 bytes can need 10.48576s at this rate, more than a pause of 10s: " +
				"raise longest_pause or the amount, bound the message_size, or have DROP or CLOSE"},
		{[]*catalogv1.Limit{connections(named("a")), rate(messages, 9, time.Second), sessionAge(named("a")), messageSize(1, named("a"))},
			"plan.limits[2].name: limits[0] is called a too; plan.limits[3].name: limits[0] is called a too"},
		{[]*catalogv1.Limit{quota(messages, day), quota(messages, month), quota(messages, day, observed), quota(messages, day, reacts(closes))},
			"plan.limits[3].quota: limits[0] is a quota of messages per day too, and there is one at most"},
		{[]*catalogv1.Limit{quota(messages, day, observed), quota(messages, day, observed)},
			"plan.limits[1].quota: limits[0] is a quota of messages per day on observe too, and there is one at most"},
		{[]*catalogv1.Limit{connections(), connections(reacts(closeOldest)), connections(observed), connections(observed)},
			"plan.limits[1].connections: limits[0] is a limit of connections too, and there is one at most; " +
				"plan.limits[3].connections: limits[2] is a limit of connections on observe too, and there is one at most"},
		{[]*catalogv1.Limit{messageSize(1), messageSize(2), sessionAge(), sessionAge()},
			"plan.limits[1].message_size: limits[0] is a limit of message_size too, and there is one at most; " +
				"plan.limits[3].session_age: limits[2] is a limit of session_age too, and there is one at most"},
	} {
		_, wrong := planlimit.Complete(c.limits)
		var got []string
		for _, w := range wrong {
			got = append(got, w.Field+": "+w.Message)
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("Complete(%v) refuses\n%q,\nwant\n%q", c.limits, text, c.want)
		}
	}
}

// What just fits is not refused.
func TestBounds(t *testing.T) {
	t.Parallel()
	for _, l := range []*catalogv1.Limit{
		rate(messages, 1, time.Hour, reacts(drop), burst(2400)),
		rate(messages, 6, time.Minute),
		rate(messages, 1, 10*time.Minute, pausesFor(10*time.Minute)),
		rate(bytes, 104858, time.Second),
		rate(bytes, 1e12, time.Second, burst(1e12)),
		rate(messages, 1e12, time.Hour, burst(1e12)),
	} {
		if _, wrong := planlimit.Complete([]*catalogv1.Limit{l}); len(wrong) > 0 {
			t.Errorf("Complete(%v) refuses %v", l, wrong)
		}
	}
}

// What is completed is a plan that can be sent back: it keeps the rules of the protos, and
// nothing is left to be completed.
func TestCompleteIsComplete(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limits, wrong := planlimit.Complete(planlimittest.Sent().Draw(t, "limits"))
		if len(wrong) > 0 {
			t.Fatalf("refused: %v", wrong)
		}
		plan := &catalogv1.Plan{DisplayName: "P", Limits: limits}
		if err := validate.Message(&catalogv1.CreatePlanRequest{Plan: plan}); err != nil {
			t.Fatalf("%v is not valid: %v", plan, err)
		}
		again, wrong := planlimit.Complete(limits)
		if diff := cmp.Diff(limits, again, protocmp.Transform()); diff != "" || len(wrong) > 0 {
			t.Fatalf("completed once and twice: %v (-once +twice):\n%s", wrong, diff)
		}
	})
}
