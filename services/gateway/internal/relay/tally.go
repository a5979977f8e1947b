package relay

import (
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// minute is the number of a minute since 1970, by the clock of Engine.SetMinute.
type minute int32

// tally is what a session used and was not collected yet, and what limits did to it. The
// relay has the minute that it counts for. It is guarded by Relay.mu.
//
// Whoever admits something calls Relay.turnMinute, keeps the minute in the chunk, and
// counts with Relay.relayed when it has gone on, which may be later.
type tally struct {
	collected ending.Totals // of the totals, what is not of the minute any more
	notes     *notes        // nil: no limit did anything, and no minute waits to be collected
}

// notes are what most sessions do not have.
type notes struct {
	earlier []ending.Usage      // minutes that are over
	limits  []ending.LimitCount // of the minute
	before  []ending.LimitCount // of all minutes that are over, collected or not
	pauses  [2]pause            // of the client's leg and the backend's
}

// pause is a leg that waits.
type pause struct {
	limit   *limits.Limit // nil: it does not wait
	since   int64         // engine's time
	counted int64         // up to when it is in the counts
}

func (t *tally) note() *notes {
	if t.notes == nil {
		t.notes = &notes{}
	}
	return t.notes
}

// limit returns the counts of a limit, to add to at once. It allocates for the first time
// of each in a minute.
func (t *tally) limit(l *limits.Limit) *ending.LimitCount {
	n := t.note()
	for i := range n.limits {
		if n.limits[i].Limit == l {
			return &n.limits[i]
		}
	}
	n.limits = append(n.limits, ending.LimitCount{Limit: l})
	return &n.limits[len(n.limits)-1]
}

// pause counts that a leg waits at l from now on. It may wait already: then nothing
// changes, or it has got from one limit to another. A wait for a slice of a quota, which
// does not pause, is not counted.
func (t *tally) pause(from ending.Party, l *limits.Limit, now int64) {
	if l.Reaction != limits.Pause {
		t.resume(from, now)
		return
	}
	p := t.pauseOf(from)
	if p.limit == l {
		return
	}
	if p.limit == nil {
		p.since = now
	}
	t.count(p, now)
	p.limit, p.counted = l, now
	t.limit(l).Pauses++
}

// resume counts that a leg does not wait any more, if it does.
func (t *tally) resume(from ending.Party, now int64) {
	if t.notes == nil {
		return
	}
	p := t.pauseOf(from)
	t.count(p, now)
	*p = pause{}
}

func (t *tally) pauseOf(from ending.Party) *pause {
	if from == ending.Client {
		return &t.note().pauses[0]
	}
	return &t.note().pauses[1]
}

// pausedSince returns since when a leg waits, the longest if both do; 0 for none. Where a
// leg waited at one limit after the other, it is since the first.
func (t *tally) pausedSince() (since int64) {
	if t.notes == nil {
		return 0
	}
	for _, p := range t.notes.pauses {
		if p.limit != nil && (since == 0 || p.since < since) {
			since = p.since
		}
	}
	return since
}

// count adds the time of a pause up to now.
func (t *tally) count(p *pause, now int64) {
	if p.limit != nil && now > p.counted {
		t.limit(p.limit).Paused += time.Duration(now - p.counted)
		p.counted = now
	}
}

func (t *tally) countPauses(now int64) {
	if t.notes != nil {
		t.count(&t.notes.pauses[0], now)
		t.count(&t.notes.pauses[1], now)
	}
}

// all returns what limits did from the session's start on.
func (t *tally) all() []ending.LimitCount {
	if t.notes == nil {
		return nil
	}
	return ending.AddLimits(ending.AddLimits(nil, t.notes.before), t.notes.limits)
}

// take returns what is not collected, of which now is what the totals are.
func (t *tally) take(of minute, now ending.Totals) (used []ending.Usage) {
	if t.notes != nil {
		used, t.notes.earlier = t.notes.earlier, nil
	}
	u := ending.Usage{Minute: int64(of) * 60, Totals: now.Minus(t.collected)}
	t.collected = now
	if t.notes != nil {
		u.Limits, t.notes.limits = t.notes.limits, nil
		t.notes.before = ending.AddLimits(t.notes.before, u.Limits)
	}
	if u.Totals != (ending.Totals{}) || len(u.Limits) > 0 {
		used = append(used, u)
	}
	return used
}

// relayed counts n more of src, for the minute in which it was admitted.
func (r *Relay) relayed(src *leg, n *ending.Count, admitted minute) {
	src.in.count.Add(n)
	if admitted == r.minute {
		return
	}
	collected, to := &r.tally.collected, &r.tally.note().usageOf(admitted).Totals
	if src == &r.client {
		collected.FromClient.Add(n)
		to.FromClient.Add(n)
	} else {
		collected.FromBackend.Add(n)
		to.FromBackend.Add(n)
	}
}

// usageOf returns what is counted of a minute that is over.
func (n *notes) usageOf(of minute) *ending.Usage {
	for i := range n.earlier {
		if n.earlier[i].Minute == int64(of)*60 {
			return &n.earlier[i]
		}
	}
	n.earlier = append(n.earlier, ending.Usage{Minute: int64(of) * 60})
	return &n.earlier[len(n.earlier)-1]
}

// turnMinute tells that something is admitted in a minute. What limits do from now on
// belongs to it, unless it is over already.
func (r *Relay) turnMinute(to minute) {
	if to <= r.minute {
		return
	}
	r.tally.countPauses(r.engine.coarse())
	if used := r.tally.take(r.minute, r.totals()); len(used) > 0 {
		r.tally.note().earlier = used
	}
	r.minute = to
}

// Totals returns what was relayed up to now.
func (r *Relay) Totals() ending.Totals {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.totals()
}

func (r *Relay) totals() ending.Totals {
	return ending.Totals{FromClient: r.client.in.count, FromBackend: r.backend.in.count}
}

// Limits returns what limits did so far, and since when a leg waits; zero: none does.
func (r *Relay) Limits() (did []ending.LimitCount, pausedSince time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.countPauses(r.engine.now())
	return r.tally.all(), r.wall(r.tally.pausedSince())
}

// Collect returns what was used since the last Collect, a minute each. After the end it
// is nothing: the Outcome has the rest.
func (r *Relay) Collect() []ending.Usage {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return nil
	}
	return r.collect()
}

func (r *Relay) collect() []ending.Usage {
	now := r.engine.now()
	r.tally.countPauses(now)
	used := r.tally.take(r.minute, r.totals())
	r.minute = max(r.minute, r.engine.minuteOf(now))
	return used
}
