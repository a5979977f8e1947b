package grant_test

import (
	"errors"
	"slices"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// judge checks that an answer was true at some instant between the handshake's
// since and now, and that a grant expires with its token or earlier by at most the
// time that the answer took. A grant may have expired already only if it was on its
// way when the handshake began. A denial may be one that is kept from before the
// token expired.
func (w *world) judge(h *handshake, g *grant.Grant, position grant.Position, err error) {
	if g != nil {
		w.note("handshake %d: at %d until %s", h.id, position, g.Expires.Format(time.StampMicro))
	} else {
		w.note("handshake %d: %v", h.id, err)
	}
	if err != nil && !errors.Is(err, grant.ErrUnauthenticated) && !errors.Is(err, grant.ErrNotSubscribed) {
		return
	}
	if errors.Is(err, grant.ErrSpent) {
		if h.ticket == nil || h.ticket.spent == h.attempt() {
			w.failf("handshake %d has not spent another's ticket: %v", h.id, err)
		}
		return
	}
	if h.ticket != nil && h.ticket.spent != h.attempt() {
		w.failf("handshake %d got %v for a ticket that %q has spent", h.id, err, h.ticket.spent)
	}
	c := w.control
	early, end := c.early[h.token], c.expires[h.token]
	over := [2]bool{false, !time.Now().Before(early)}
	if err == nil {
		if g.Expires.Before(early) || g.Expires.After(end) {
			w.failf("handshake %d: the grant ends at %s, want %s, or from %s on", h.id, g.Expires, end, early)
		}
		over[0] = h.expired && c.given[g].Before(h.began)
	}
	for _, s := range c.history[h.since:] {
		for _, over := range over {
			a := s.judge(h.token, h.version, over)
			if err != nil && a.Denial != nil && errors.Is(err, a.Denial.Reason) || err == nil && a.Grant != nil && a.Grant.Subscription == g.Subscription {
				return
			}
		}
	}
	w.failf("handshake %d of %s to %s got %v, which was true at no instant since it began", h.id, h.token, h.version, err)
}

// check compares the surviving sessions with those of the model.
func (w *world) check() {
	opened := map[*ticket]int{}
	for _, h := range w.all {
		if h.ticket != nil && h.session != nil {
			if opened[h.ticket]++; opened[h.ticket] > 1 {
				w.failf("%s has opened %d sessions", h.ticket.value, opened[h.ticket])
			}
		}
		switch {
		case h.left:
		case h.session != nil:
			w.checkSession(h)
		case h.err == nil:
			w.failf("handshake %d did not end", h.id)
		default:
			w.checkEnd(h, "handshake", h.err)
		}
	}
}

func (w *world) checkSession(h *handshake) {
	if end := h.session.Grant().Expires; !end.Equal(h.expires) {
		w.failf("session %d expires at %s, its grant at %s", h.id, end, h.expires)
	}
	err := h.session.Err()
	if err == nil && w.deniedNow(h) {
		w.failf("session %d survived, though a deny rule matches it", h.id)
	}
	// What it rests on now has a subscription that it may have got since.
	valid := w.control.holds(appOf(h.token), slices.Concat(h.restsOn, h.session.Grant().RestsOn)) && time.Now().Before(h.expires)
	if w.control.gone[voidAt(h.token, h.version)] || h.free && w.control.judge(h.token, h.version, false).Grant == nil {
		valid = false
	}
	if err == nil && !valid {
		w.failf("session %d survived, though its grant %v until %s is void", h.id, h.restsOn, h.expires)
	}
	w.checkEnd(h, "session", err)
}

// checkEnd checks that a session or handshake that was ended ended for a true
// reason.
func (w *world) checkEnd(h *handshake, what string, err error) {
	holds := w.control.holds(appOf(h.token), h.restsOn) && !w.control.gone[voidAt(h.token, h.version)] && !w.interrupted(h)
	inTime := time.Now().Before(h.expires)
	var end *session.EndedError
	switch {
	case !errors.As(err, &end):
	case end.Ending.Detail == "denied by denyRules/"+appOf(h.token):
		if w.denied[appOf(h.token)] == h.denials {
			w.failf("%s %d was ended (%v), though no rule has denied it", what, h.id, err)
		}
	case holds && inTime:
		w.failf("%s %d was ended (%v), though its grant was valid all the time", what, h.id, err)
	case hasExpired(err) && inTime, !hasExpired(err) && holds:
		w.failf("%s %d was ended (%v), which is not why its grant %v until %s is void", what, h.id, err, h.restsOn, h.expires)
	}
}

// interrupted reports whether a handshake without a subscription can have lost its right
// at some instant since it began: the version needed a subscription and there was none, or
// a subscription that it may have moved to is gone.
func (w *world) interrupted(h *handshake) bool {
	at := pair(appOf(h.token), h.version)
	return h.free && slices.ContainsFunc(w.control.history[h.since:], func(s state) bool {
		sub := s.subs[at]
		return sub != "" && w.control.gone[sub] || !s.free[h.version] && (sub == "" || s.gone[sub])
	})
}

// hasExpired reports whether a session ended because its credential expired.
func hasExpired(err error) bool {
	var end *session.EndedError
	return errors.As(err, &end) && end.Ending.Reason == ending.Expired
}
