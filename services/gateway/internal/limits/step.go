package limits

import "sync/atomic"

// step is a limit in a chain, with all that takeQuick looks at before it comes to the bucket
// or the quota: between two decisions the kernel has had the caches, and what a decision costs
// is lines of memory to be fetched.
type step struct {
	bucket    *Bucket // one of the two
	quota     *Quota
	limit     *Limit
	unit      Unit
	direction Direction
}

func newStep(l *Limit) step {
	return step{bucket: l.bucket, quota: l.quota, limit: l, unit: l.Unit, direction: l.Direction}
}

// claim is what to swap to take something: the word of a bucket or a slice.
type claim struct {
	word     *atomic.Int64
	from, to int64
}

// claim sets x to what takes n, where there is room, nobody waits, and nothing else is to be
// done.
func (s *step) claim(x *claim, now, n int64, whole bool) bool {
	if q := s.quota; q != nil {
		of := q.current(now)
		left := of.left.Load()
		x.word, x.from, x.to = &of.left, left, left-n
		return left >= n && left-n > of.low.Load() && q.waiting.Load() == 0
	}
	b := s.bucket
	v, full := b.current(now)
	x.word, x.from, x.to = &v.full, full, v.after(now, full, n)
	return v.fits(now, full, n, whole) && b.waiting.Load() == 0
}
