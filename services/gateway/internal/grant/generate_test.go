package grant_test

import (
	"slices"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
)

// start starts something new, chosen by the seed.
func (w *world) start(delivering *atomic.Bool) {
	pick := func(list []string) string {
		if w.narrow {
			return list[0]
		}
		return list[w.rnd.IntN(len(list))]
	}
	app, version := pick(w.control.apps()), pick(w.control.versions())
	token := pick(w.control.tokens(app))
	w.control.away = w.control.away && w.rnd.IntN(4) > 0
	switch n := w.rnd.IntN(24); {
	case n >= 20:
		if live := w.live(); len(live) > 0 {
			h := live[w.rnd.IntN(len(live))]
			token := pick(w.control.tokens(appOf(h.token)))
			w.control.issue(token)
			w.note("renew session %d by %s", h.id, token)
			go w.renew(h, token)
		}
	case n < 12 && (len(w.control.queue) > 2 || w.narrow && len(w.control.queue) > 0 && n < 9):
		w.deliverNext(delivering)
	case n < 6:
		if len(w.all) > 0 && w.rnd.IntN(4) == 0 {
			before := w.all[w.rnd.IntN(len(w.all))]
			token, version = before.token, before.version
		}
		w.control.issue(token)
		h := &handshake{id: len(w.all), token: token, version: version}
		w.showTicket(h)
		w.all = append(w.all, h)
		w.note("handshake %d of %s to %s", h.id, h.token, h.version)
		go w.connect(h)
	case n < 12:
		what := w.rnd.IntN(acts)
		switch {
		case w.control.restored() && w.rnd.IntN(3) == 0: // what was revoked since the backup is revoked again
			what = revokeActs + w.rnd.IntN(acts-revokeActs)
		case w.narrow && what < groupActs:
			what = groupActs + w.rnd.IntN(groupsEnd-groupActs)
		}
		w.note("%s", w.control.act(what, app, token, version))
	case n < 16:
		w.deliverNext(delivering)
	case n < 18:
		w.pass([]time.Duration{150 * time.Millisecond, 150 * time.Millisecond, 150 * time.Millisecond, time.Second, 61 * time.Second}[w.rnd.IntN(5)])
	case n < 19:
		w.mishap()
	default:
		w.control.away = true
		w.note("away: %t", w.control.away)
	}
}

// showTicket has some handshakes show a ticket, of which some were shown before.
func (w *world) showTicket(h *handshake) {
	switch all := w.control.tickets; w.rnd.IntN(6) {
	case 0:
		h.ticket = w.control.sell(h.token, h.version)
	case 1:
		if len(all) > 0 {
			h.ticket = all[w.rnd.IntN(len(all))]
			h.token, h.version = h.ticket.token, h.ticket.version
		}
	}
}

// pass lets time pass, and ends the sessions that expire, as the relay does.
func (w *world) pass(d time.Duration) {
	w.note("%s pass", d)
	time.Sleep(d)
	synctest.Wait()
	for _, h := range w.all {
		if h.session != nil && !h.left && expired(h.session) && h.session.End(ending.New(ending.Expired, "")) {
			w.note("session %d expires", h.id)
		}
	}
}

// mishap is a rare event.
func (w *world) mishap() {
	switch w.rnd.IntN(5) {
	case 0:
		w.note("events are lost")
		w.control.lose()
	case 1:
		w.note("another history")
		w.control.restore(func() bool { return w.rnd.IntN(3) > 0 })
	case 2:
		app := w.control.apps()[0]
		go w.deny(app)
	default:
		if live := w.live(); len(live) > 0 {
			h := live[w.rnd.IntN(len(live))]
			w.note("session %d leaves", h.id)
			h.left = true
			h.session.Abandon()
		}
	}
}

// live returns the handshakes that have become sessions, of which some have ended.
func (w *world) live() []*handshake {
	return slices.DeleteFunc(slices.Clone(w.all), func(h *handshake) bool { return h.session == nil || h.left })
}

// drain lets everything finish: all that is under way, the delivery of all changes,
// and all refreshes.
func (w *world) drain(delivering *atomic.Bool) {
	w.control.away, w.slow = false, ""
	steps := 0
	for quiet := 0; quiet < 20; quiet++ {
		for w.step() || w.deliverNext(delivering) {
			quiet = 0
			if steps++; steps > 10_000 {
				w.failf("the world does not become idle")
				return
			}
		}
		w.pass(grant.MaxBackoff / 10)
	}
}

// deliverNext starts the next delivery to the gateway, unless one is under way.
func (w *world) deliverNext(delivering *atomic.Bool) bool {
	if !w.control.reset && len(w.control.queue) == 0 || !delivering.CompareAndSwap(false, true) {
		return false
	}
	go func() {
		defer delivering.Store(false)
		w.deliver()
	}()
	return true
}
