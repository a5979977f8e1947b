package limits

import "sync/atomic"

// step is a limit in a chain, with all that Pass looks at before it comes to the level or
// the slice: between two decisions the kernel has had the caches, and what a decision costs
// is lines of memory to be fetched.
type step struct {
	// One of the two, as of late: another one may have taken its place.
	level atomic.Pointer[level]
	slice atomic.Pointer[slice]

	limit     *Limit
	unit      Unit
	direction Direction
}

func (s *step) init(l *Limit) {
	s.limit, s.unit, s.direction = l, l.Unit, l.Direction
	s.renew()
}

// renew takes the newest level or slice. Where it has that already nothing is written.
func (s *step) renew() {
	if q := s.limit.quota; q == nil {
		s.level.Store(s.limit.bucket.level.Load())
	} else if newest := q.slice.Load(); newest != s.slice.Load() {
		s.slice.Store(newest)
	}
}

// mostClaims is how many limits a chain has that is asked in the quick way.
const mostClaims = 12

// claim is what to swap to take something: the word of a level, or of a slice. There is none
// where a limit does not count what is demanded.
type claim struct {
	word     *atomic.Int64
	from, to int64
}

// claimAll makes the claims of steps, for which there is space in claims, in the plain case:
// there is room in every limit, nobody waits, and no owner of a quota need be told. Each limit
// is looked at once. It returns false where something is not plain.
func claimAll(claims []claim, steps []step, now int64, d *Demand) bool {
	claims = claims[:len(steps)]
	amounts := [...]int64{Messages: d.Messages, Bytes: d.Bytes, Handshakes: d.Handshakes, Sessions: d.Sessions}
	for i := range steps {
		s, x := &steps[i], &claims[i]
		n := amounts[s.unit&3]
		if n == 0 || s.direction != Both && s.direction != d.Direction {
			continue
		}
		if l := s.level.Load(); l != nil {
			word, at, cost := l.word.Load(), l.ticks(now), l.cost(n)
			from := max(word, at) // with waits, or replaced, later than any burst fills
			if now-l.origin > lasts || from-at > l.depth-cost {
				if word == replaced {
					s.renew()
				}
				return false
			}
			x.word, x.from, x.to = &l.word, word, from+cost
			continue
		}
		of := s.slice.Load()
		left := of.left.Load()
		if left < n || left-n <= of.low.Load() || now < of.opened || now >= of.end.Load() || !of.plain.Load() {
			s.renew()
			return false
		}
		x.word, x.from, x.to = &of.left, left, left-n
	}
	return true
}

// takeAll swaps what was claimed. It returns false where another was quicker, and how many
// were swapped before.
func takeAll(claims []claim) (taken int, all bool) {
	for i := range claims {
		if x := &claims[i]; x.word != nil && !x.word.CompareAndSwap(x.from, x.to) {
			return i, false
		}
	}
	return len(claims), true
}
