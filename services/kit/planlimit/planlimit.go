// Package planlimit says which limits a plan can have, and what holds where one leaves
// something open. The catalog saves what this completes and does not refuse; gateways can
// arm all of that.
package planlimit

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

const (
	// GreatestMessage is the greatest message of a plan that does not bound it, in bytes:
	// what gateways allow by default.
	GreatestMessage = 1 << 20
	// LongestPause is how long a session may be paused where the limit does not say it.
	LongestPause = 10 * time.Second
	// longestRefill is the longest that a burst may need to come back. A gateway's bucket
	// holds a little more, because it rounds up the time of a token.
	longestRefill = 100 * 24 * time.Hour
)

// Complete returns the limits of a plan with all that they leave open filled in: names,
// reactions, bursts, directions, longest pauses, and what holds in an outage. It also
// returns what is wrong with them, by fields that begin with "plan.limits[i].". It does
// not look at what the rules of the protos refuse; these have let the limits pass.
func Complete(limits []*catalogv1.Limit) ([]*catalogv1.Limit, []fault.Violation) {
	c := completer{greatest: GreatestMessage}
	for _, l := range limits {
		c.limits = append(c.limits, proto.CloneOf(l))
		if size := l.GetMessageSize(); size != nil {
			c.greatest = size.GetBytes()
		}
	}
	for i, l := range c.limits {
		c.at = i
		c.react(l)
		if rate := l.GetRate(); rate != nil {
			c.rate(l, rate)
		}
		if quota := l.GetQuota(); quota != nil && quota.GetOnOutage() == catalogv1.Quota_OUTAGE_UNSPECIFIED {
			quota.OnOutage = catalogv1.Quota_OUTAGE_ALLOW
		}
	}
	c.once()
	c.name()
	return c.limits, c.wrong
}

type completer struct {
	limits   []*catalogv1.Limit
	at       int   // the limit that is looked at
	greatest int64 // message, in bytes
	wrong    []fault.Violation
}

func (c *completer) refuse(field, format string, a ...any) {
	c.wrong = append(c.wrong, fault.Violation{
		Field: fmt.Sprintf("plan.limits[%d].%s", c.at, field), Message: fmt.Sprintf(format, a...),
	})
}

// react fills in the reaction and refuses one that the limit does not have.
func (c *completer) react(l *catalogv1.Limit) {
	has := reactions(l)
	switch {
	case l.GetReaction() == catalogv1.Limit_REACTION_UNSPECIFIED:
		l.Reaction = has[0]
	case !slices.Contains(has, l.GetReaction()):
		var words []string
		for _, r := range has {
			words = append(words, word(r, "REACTION_"))
		}
		c.refuse("reaction", "%s has %s, not %s", describe(l), either(words), word(l.GetReaction(), "REACTION_"))
	}
	if l.GetObserve() && (l.GetMessageSize() != nil || l.GetSessionAge() != nil) {
		c.refuse("observe", "%s always holds: must be false", describe(l))
	}
}

// reactions returns those that a limit has, the default first.
func reactions(l *catalogv1.Limit) []catalogv1.Limit_Reaction {
	unit, rate := unitOf(l), l.GetRate() != nil
	switch {
	case l.GetConnections() != nil:
		return []catalogv1.Limit_Reaction{catalogv1.Limit_REACTION_REFUSE, catalogv1.Limit_REACTION_CLOSE_OLDEST}
	case unit == catalogv1.Unit_UNIT_UNSPECIFIED:
		return []catalogv1.Limit_Reaction{catalogv1.Limit_REACTION_CLOSE}
	case !ofMessages(unit):
		return []catalogv1.Limit_Reaction{catalogv1.Limit_REACTION_REFUSE}
	case rate:
		return []catalogv1.Limit_Reaction{catalogv1.Limit_REACTION_PAUSE, catalogv1.Limit_REACTION_DROP, catalogv1.Limit_REACTION_CLOSE}
	}
	return []catalogv1.Limit_Reaction{catalogv1.Limit_REACTION_DROP, catalogv1.Limit_REACTION_CLOSE}
}

// rate completes and checks what only rates have.
func (c *completer) rate(l *catalogv1.Limit, r *catalogv1.Rate) {
	pauses := l.GetReaction() == catalogv1.Limit_REACTION_PAUSE
	if !ofMessages(r.GetUnit()) {
		if r.GetDirection() != catalogv1.Direction_DIRECTION_UNSPECIFIED {
			c.refuse("rate.direction", "only rates of messages and bytes have one")
		}
		if r.GetPerConnection() {
			c.refuse("rate.per_connection", "only rates of messages and bytes can be for each connection")
		}
	} else if r.GetDirection() == catalogv1.Direction_DIRECTION_UNSPECIFIED {
		r.Direction = catalogv1.Direction_DIRECTION_BOTH
	}
	switch {
	case r.GetLongestPause() != nil && !pauses:
		c.refuse("rate.longest_pause", "only with the reaction PAUSE")
	case r.GetLongestPause() == nil && pauses:
		r.LongestPause = durationpb.New(LongestPause)
	}
	c.burst(l, r)
}

// burst completes the burst, and checks that there is room for each message, in time.
func (c *completer) burst(l *catalogv1.Limit, r *catalogv1.Rate) {
	one, message, smaller := int64(1), "a message", ""
	if r.GetUnit() == catalogv1.Unit_UNIT_BYTES {
		one, message, smaller = c.greatest, fmt.Sprintf("a message of %d bytes", c.greatest), ", bound the message_size"
	}
	if r.GetBurst() == 0 {
		r.Burst = max(r.GetAmount(), one)
	}
	per := r.GetPer().AsDuration()
	need, longest := needs(one, r.GetAmount(), per), r.GetLongestPause().AsDuration()
	switch {
	case need > longestRefill:
		c.refuse("rate.amount", "%s needs more than 100 days at this rate: raise the amount%s", message, smaller)
	case r.GetBurst() < one:
		c.refuse("rate.burst", "must be at least %d, the greatest message of the plan, which a limit of message_size sets", one)
	case needs(r.GetBurst(), r.GetAmount(), per) > longestRefill:
		c.refuse("rate.burst", "must refill within 100 days: at most %d at this rate", within(longestRefill, r.GetAmount(), per))
	case ofMessages(r.GetUnit()) && l.GetReaction() == catalogv1.Limit_REACTION_PAUSE && need > longest:
		c.refuse("rate.longest_pause", "%s can need %v at this rate, more than a pause of %v: raise longest_pause or the amount%s, or have DROP or CLOSE",
			message, need, longest, smaller)
	}
}

// once refuses a second limit of those that there is one of.
func (c *completer) once() {
	first := map[string]int{}
	for i, l := range c.limits {
		if l.GetRate() != nil {
			continue
		}
		key := describe(l)
		if l.GetObserve() {
			key += " on observe"
		}
		if before, ok := first[key]; ok {
			c.at = i
			c.refuse(kind(l), "limits[%d] is %s too, and there is one at most", before, key)
			continue
		}
		first[key] = i
	}
}

// name refuses names that are there twice and gives those that have none one that is free.
func (c *completer) name() {
	taken := map[string]int{}
	for i, l := range c.limits {
		if l.GetName() == "" {
			continue
		}
		if before, ok := taken[l.GetName()]; ok {
			c.at = i
			c.refuse("name", "limits[%d] is called %s too", before, l.GetName())
			continue
		}
		taken[l.GetName()] = i
	}
	for i, l := range c.limits {
		if l.GetName() != "" {
			continue
		}
		base := defaultName(l)
		l.Name = base
		for n := 2; ; n++ {
			if _, ok := taken[l.GetName()]; !ok {
				break
			}
			l.Name = base + "-" + strconv.Itoa(n)
		}
		taken[l.GetName()] = i
	}
}

// defaultName says what a limit is, as messages-rate-from-client-per-connection.
func defaultName(l *catalogv1.Limit) string {
	var name string
	switch unit := strings.ToLower(word(unitOf(l), "UNIT_")); {
	case l.GetRate() != nil:
		name = unit + "-rate"
		if d := l.GetRate().GetDirection(); d > catalogv1.Direction_DIRECTION_BOTH {
			name += "-" + strings.ToLower(strings.ReplaceAll(word(d, "DIRECTION_"), "_", "-"))
		}
		if l.GetRate().GetPerConnection() {
			name += "-per-connection"
		}
	case l.GetQuota() != nil:
		name = unit + "-per-" + strings.ToLower(word(l.GetQuota().GetWindow(), "WINDOW_"))
	default:
		name = strings.ReplaceAll(kind(l), "_", "-")
	}
	if l.GetObserve() {
		name += "-observed"
	}
	return name
}

// kind is the name of the field that says what a limit is.
func kind(l *catalogv1.Limit) string {
	m := l.ProtoReflect()
	if set := m.WhichOneof(m.Descriptor().Oneofs().ByName("kind")); set != nil {
		return string(set.Name())
	}
	return ""
}

// describe says what a limit is, in a sentence.
func describe(l *catalogv1.Limit) string {
	unit := strings.ToLower(word(unitOf(l), "UNIT_"))
	switch {
	case l.GetRate() != nil:
		return "a rate of " + unit
	case l.GetQuota() != nil:
		return "a quota of " + unit + " per " + strings.ToLower(word(l.GetQuota().GetWindow(), "WINDOW_"))
	}
	return "a limit of " + kind(l)
}

func unitOf(l *catalogv1.Limit) catalogv1.Unit {
	if r := l.GetRate(); r != nil {
		return r.GetUnit()
	}
	return l.GetQuota().GetUnit()
}

func ofMessages(unit catalogv1.Unit) bool {
	return unit == catalogv1.Unit_UNIT_MESSAGES || unit == catalogv1.Unit_UNIT_BYTES
}

// word is the value of an enum without the prefix that all its values have.
func word(value fmt.Stringer, prefix string) string {
	return strings.TrimPrefix(value.String(), prefix)
}

// either joins words with commas and "or".
func either(words []string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0] + " only"
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// needs is how long n take to come at a rate, rounded up.
func needs(n, amount int64, per time.Duration) time.Duration {
	quotient, rest := divide(n, int64(per), amount)
	if rest {
		quotient = max(quotient, quotient+1) // math.MaxInt64 stays
	}
	return time.Duration(quotient)
}

// within is how many come at a rate in a time.
func within(in time.Duration, amount int64, per time.Duration) int64 {
	quotient, _ := divide(int64(in), amount, int64(per))
	return quotient
}

// divide returns a × b / by, at most math.MaxInt64, and whether there is a rest. All are
// positive.
func divide(a, b, by int64) (quotient int64, rest bool) {
	high, low := bits.Mul64(uint64(a), uint64(b))
	if high >= uint64(by) {
		return math.MaxInt64, false
	}
	q, r := bits.Div64(high, low, uint64(by))
	return int64(min(q, math.MaxInt64)), r > 0
}
