package throttle

import (
	"errors"
	"fmt"
	"math"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// plan is what a plan bounds. It does not change: an edited plan is another one.
type plan struct {
	name   string
	proto  *catalogv1.Plan
	limits []limit     // in the order of the plan
	seats  []seatLimit // of connections at once: one that holds and one on observe at most

	maxMessage int64         // 0: no bound
	maxAge     time.Duration // 0: no bound
	wrong      error         // what this gateway does not understand; the plan is not served then
}

// limit is a rate or a quota of a plan. The place is not set in its terms.
type limit struct {
	terms         limits.Terms
	rate          limits.Rate // with an amount of 0: a quota
	perConnection bool

	window catalogv1.Quota_Window
	quota  QuotaTerms
}

// seatLimit bounds connections at once.
type seatLimit struct {
	name  string
	terms limits.SeatTerms
}

// maxLimits is how many limits a plan has at most, so that those of three places fit into
// a chain.
const maxLimits = limits.MostLimits / 3

// longestPause is how long a session may wait where its plan does not say.
const longestPause = 10 * time.Second

// newPlan converts a plan. A message is at most maxMessage bytes by what the gateway
// says; 0 is any number.
func newPlan(p *catalogv1.Plan, maxMessage int64) *plan {
	out := &plan{name: p.GetName(), proto: p}
	var wrong []error
	fail := func(l *catalogv1.Limit, err error) {
		if err != nil {
			wrong = append(wrong, fmt.Errorf("limit %q: %w", l.GetName(), err))
		}
	}
	for _, l := range p.GetLimits() {
		switch kind := l.GetKind().(type) {
		case *catalogv1.Limit_MessageSize:
			fail(l, onlyCloses(l))
			out.maxMessage = smallest(out.maxMessage, kind.MessageSize.GetBytes())
		case *catalogv1.Limit_SessionAge:
			fail(l, onlyCloses(l))
			out.maxAge = smallest(out.maxAge, kind.SessionAge.GetAge().AsDuration())
		}
	}
	if len(p.GetLimits()) > maxLimits {
		wrong = append(wrong, fmt.Errorf("more than %d limits", maxLimits))
	}
	names := map[string]bool{}
	for _, l := range p.GetLimits() {
		var err error
		switch kind := l.GetKind().(type) {
		case *catalogv1.Limit_Rate:
			err = out.addRate(l, kind.Rate, smallest(out.maxMessage, maxMessage))
		case *catalogv1.Limit_Quota:
			err = out.addQuota(l, kind.Quota)
		case *catalogv1.Limit_Connections:
			err = out.addSeats(l, kind.Connections)
		case *catalogv1.Limit_MessageSize, *catalogv1.Limit_SessionAge:
		default:
			err = errors.New("a kind that this gateway does not know")
		}
		if names[l.GetName()] {
			err = errors.Join(err, errors.New("its name comes twice"))
		}
		names[l.GetName()] = true
		fail(l, err)
	}
	out.wrong = errors.Join(wrong...)
	return out
}

// nameOf returns the name of the limit on the size of messages, or on the age of sessions.
func (p *plan) nameOf(kind limits.Kind) string {
	for _, l := range p.proto.GetLimits() {
		switch l.GetKind().(type) {
		case *catalogv1.Limit_MessageSize:
			if kind == limits.KindMessageSize {
				return l.GetName()
			}
		case *catalogv1.Limit_SessionAge:
			if kind == limits.KindSessionAge {
				return l.GetName()
			}
		}
	}
	return ""
}

// sharedRates is how many rates of messages and bytes the sessions of a place share.
func (p *plan) sharedRates() (n int) {
	for i := range p.limits {
		if l := &p.limits[i]; l.rate.Amount != 0 && !l.perConnection && (l.terms.Unit == limits.Messages || l.terms.Unit == limits.Bytes) {
			n++
		}
	}
	return n
}

// smallest returns the smaller one of two bounds, of which 0 is none.
func smallest[N int64 | time.Duration](a, b N) N {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// onlyCloses refuses a greatest message or age that does anything but close.
func onlyCloses(l *catalogv1.Limit) error {
	switch l.GetReaction() {
	case catalogv1.Limit_REACTION_UNSPECIFIED, catalogv1.Limit_REACTION_CLOSE:
	default:
		return errReaction
	}
	if l.GetObserve() {
		return errors.New("it cannot be on observe")
	}
	return nil
}

var errReaction = errors.New("a reaction that this gateway does not know of it")

func (p *plan) terms(l *catalogv1.Limit) limits.Terms {
	return limits.Terms{Plan: p.name, Name: l.GetName(), Observe: l.GetObserve()}
}

func (p *plan) addRate(l *catalogv1.Limit, r *catalogv1.Rate, maxMessage int64) error {
	t := p.terms(l)
	var err error
	if t.Unit, err = unitOf(r.GetUnit()); err != nil {
		return err
	}
	if t.Direction, err = directionOf(r.GetDirection()); err != nil {
		return err
	}
	if t.Reaction, err = reactionOf(l.GetReaction(), t.Unit, limits.Pause); err != nil {
		return err
	}
	if r.GetPerConnection() && t.Unit == limits.Handshakes {
		return errors.New("handshakes are not of a connection")
	}
	if t.Reaction == limits.Pause {
		if t.LongestPause = r.GetLongestPause().AsDuration(); t.LongestPause == 0 {
			t.LongestPause = longestPause
		}
	}
	rate := limits.Rate{Amount: r.GetAmount(), Per: r.GetPer().AsDuration(), Burst: r.GetBurst()}
	if rate.Burst == 0 {
		if rate.Burst = rate.Amount; t.Unit == limits.Bytes {
			rate.Burst = max(rate.Burst, maxMessage)
		}
	}
	if err := rate.Check(); err != nil {
		return err
	}
	if _, err := limits.NewRate(t, limits.NewBucket(0, rate)); err != nil {
		return err
	}
	p.limits = append(p.limits, limit{terms: t, rate: rate, perConnection: r.GetPerConnection()})
	return nil
}

func (p *plan) addQuota(l *catalogv1.Limit, q *catalogv1.Quota) error {
	t := p.terms(l)
	var err error
	if t.Unit, err = unitOf(q.GetUnit()); err != nil {
		return err
	}
	if t.Reaction, err = reactionOf(l.GetReaction(), t.Unit, limits.Drop); err != nil {
		return err
	}
	if q.GetAmount() < 1 {
		return errors.New("amount: must be at least 1")
	}
	if w := q.GetWindow(); w < catalogv1.Quota_WINDOW_MINUTE || w > catalogv1.Quota_WINDOW_MONTH {
		return errors.New("a window that this gateway does not know")
	}
	quota := QuotaTerms{Plan: p.name, Limit: t.Name, Amount: q.GetAmount()}
	switch q.GetOnOutage() {
	case catalogv1.Quota_OUTAGE_UNSPECIFIED, catalogv1.Quota_OUTAGE_ALLOW:
	case catalogv1.Quota_OUTAGE_REFUSE:
		quota.Refuse = true
	default:
		return errors.New("a rule for outages that this gateway does not know")
	}
	if _, err := limits.NewQuotaLimit(t, limits.NewQuota(limits.Window{End: math.MaxInt64})); err != nil {
		return err
	}
	for _, other := range p.limits {
		if other.rate.Amount == 0 && other.terms.Unit == t.Unit && other.terms.Observe == t.Observe && other.window == q.GetWindow() {
			return fmt.Errorf("it counts what %q counts", other.terms.Name)
		}
	}
	p.limits = append(p.limits, limit{terms: t, window: q.GetWindow(), quota: quota})
	return nil
}

func (p *plan) addSeats(l *catalogv1.Limit, k *catalogv1.Connections) error {
	s := seatLimit{name: l.GetName(), terms: limits.SeatTerms{Most: int(k.GetMost())}}
	switch r := l.GetReaction(); {
	case l.GetObserve():
		s.terms.Reaction = limits.ObserveSeats
	case r == catalogv1.Limit_REACTION_UNSPECIFIED, r == catalogv1.Limit_REACTION_REFUSE:
	case r == catalogv1.Limit_REACTION_CLOSE_OLDEST:
		s.terms.Reaction = limits.CloseOldest
	default:
		return errReaction
	}
	if s.terms.Most < 1 {
		return errors.New("most: must be at least 1")
	}
	for _, other := range p.seats {
		if (other.terms.Reaction == limits.ObserveSeats) == l.GetObserve() {
			return fmt.Errorf("it counts what %q counts", other.name)
		}
	}
	p.seats = append(p.seats, s)
	return nil
}

func unitOf(u catalogv1.Unit) (limits.Unit, error) {
	switch u {
	case catalogv1.Unit_UNIT_MESSAGES:
		return limits.Messages, nil
	case catalogv1.Unit_UNIT_BYTES:
		return limits.Bytes, nil
	case catalogv1.Unit_UNIT_HANDSHAKES:
		return limits.Handshakes, nil
	case catalogv1.Unit_UNIT_SESSIONS:
		return limits.Sessions, nil
	}
	return 0, errors.New("a unit that this gateway does not know")
}

func directionOf(d catalogv1.Direction) (limits.Direction, error) {
	switch d {
	case catalogv1.Direction_DIRECTION_UNSPECIFIED, catalogv1.Direction_DIRECTION_BOTH:
		return limits.Both, nil
	case catalogv1.Direction_DIRECTION_FROM_CLIENT:
		return limits.Inbound, nil
	case catalogv1.Direction_DIRECTION_FROM_BACKEND:
		return limits.Outbound, nil
	}
	return 0, errors.New("a direction that this gateway does not know")
}

// reactionOf converts a reaction; one that is not set is the weakest of messages and
// bytes, or a refusal.
func reactionOf(r catalogv1.Limit_Reaction, u limits.Unit, weakest limits.Reaction) (limits.Reaction, error) {
	if u == limits.Handshakes || u == limits.Sessions {
		weakest = limits.RefuseHandshake
	}
	switch r {
	case catalogv1.Limit_REACTION_UNSPECIFIED:
		return weakest, nil
	case catalogv1.Limit_REACTION_PAUSE:
		return limits.Pause, nil
	case catalogv1.Limit_REACTION_DROP:
		return limits.Drop, nil
	case catalogv1.Limit_REACTION_CLOSE:
		return limits.Close, nil
	case catalogv1.Limit_REACTION_REFUSE:
		return limits.RefuseHandshake, nil
	}
	return 0, errReaction
}
