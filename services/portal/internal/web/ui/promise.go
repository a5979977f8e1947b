package ui

import (
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// Promise says what a limit of a plan lets pass, and what happens to what does not fit.
func Promise(l *catalogv1.Limit) string {
	text, more := "", reactionWords(l)
	switch {
	case l.GetRate() != nil:
		r := l.GetRate()
		text = Amount(r.GetAmount(), r.GetUnit()) + " " + perTime(r.GetPer().AsDuration())
		switch r.GetDirection() {
		case catalogv1.Direction_DIRECTION_FROM_CLIENT:
			text += " from the client"
		case catalogv1.Direction_DIRECTION_FROM_BACKEND:
			text += " from the backend"
		}
		if r.GetPerConnection() {
			text += " on each connection"
		}
		if r.GetBurst() > 0 {
			text += ", " + Amount(r.GetBurst(), r.GetUnit()) + " at once"
		}
	case l.GetQuota() != nil:
		q := l.GetQuota()
		text = Amount(q.GetAmount(), q.GetUnit()) + " " + windowWords(q.GetWindow())
	case l.GetConnections() != nil:
		text = Plural(l.GetConnections().GetMost(), "connection") + " at once"
	case l.GetMessageSize() != nil:
		text, more = "messages of at most "+Bytes(l.GetMessageSize().GetBytes()), ""
	case l.GetSessionAge() != nil:
		text, more = "sessions of at most "+Span(l.GetSessionAge().GetAge().AsDuration()), ""
	default:
		return l.GetName()
	}
	switch {
	case l.GetObserve():
		return text + " (only counted)"
	case more != "":
		return text + "; " + more
	}
	return text
}

// Promises are what the limits of a plan let pass, in their order.
func Promises(p *catalogv1.Plan) []string {
	var all []string
	for _, l := range p.GetLimits() {
		all = append(all, Promise(l))
	}
	return all
}

// reactionWords say what happens to what does not fit a limit.
func reactionWords(l *catalogv1.Limit) string {
	unit := l.GetRate().GetUnit()
	switch l.GetReaction() {
	case catalogv1.Limit_REACTION_PAUSE:
		return "more waits"
	case catalogv1.Limit_REACTION_DROP:
		return "more is left out"
	case catalogv1.Limit_REACTION_CLOSE:
		return "more ends the session"
	case catalogv1.Limit_REACTION_CLOSE_OLDEST:
		return "a newcomer ends the oldest"
	case catalogv1.Limit_REACTION_UNSPECIFIED:
		switch {
		case unit == catalogv1.Unit_UNIT_MESSAGES, unit == catalogv1.Unit_UNIT_BYTES:
			return "more waits"
		case l.GetQuota() != nil && l.GetQuota().GetUnit() != catalogv1.Unit_UNIT_SESSIONS:
			return "more is left out"
		}
	}
	return "more is refused"
}

// Amount writes a number of what a limit counts.
func Amount(n int64, unit catalogv1.Unit) string {
	switch unit {
	case catalogv1.Unit_UNIT_BYTES:
		return Bytes(n)
	case catalogv1.Unit_UNIT_HANDSHAKES:
		return Plural(n, "handshake")
	case catalogv1.Unit_UNIT_SESSIONS:
		return Plural(n, "session")
	}
	return Plural(n, "message")
}

func perTime(d time.Duration) string {
	switch d {
	case time.Second:
		return "a second"
	case time.Minute:
		return "a minute"
	case time.Hour:
		return "an hour"
	}
	return "per " + Span(d)
}

func windowWords(w catalogv1.Quota_Window) string {
	switch w {
	case catalogv1.Quota_WINDOW_MINUTE:
		return "a minute"
	case catalogv1.Quota_WINDOW_HOUR:
		return "an hour"
	case catalogv1.Quota_WINDOW_DAY:
		return "a day"
	case catalogv1.Quota_WINDOW_WEEK:
		return "a week"
	case catalogv1.Quota_WINDOW_MONTH:
		return "a month"
	}
	return "per window"
}
