package limits

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// fraction is how many binary digits of a nanosecond a bucket counts: a token of a
	// fast rate takes little more than one nanosecond.
	fraction = 8
	// deepest is the longest that a bucket may need to fill, in ticks: about 104 days.
	deepest = 1 << 61
	// latest is the latest time that a bucket can hold, in ticks. Debt ends there. Two of it
	// are no overflow.
	latest = 1<<62 - 1
	// lasts is how long a bucket counts from one origin, in nanoseconds: about 52 days.
	lasts = 1 << 52
	// waits is set in the word of a bucket while somebody is in the line of one of its limits,
	// so that who takes in the quick way need not look elsewhere. It is above all times.
	waits = 1 << 62
	// replaced stands in the word of a bucket's level that another one took the place of.
	replaced = math.MaxInt64
)

// Rate is an amount per time, and how much of it may pass at once.
type Rate struct {
	Amount int64         // from 1
	Per    time.Duration // of Amount, from 1 ns
	Burst  int64         // from 1
}

// Check refuses a rate that a bucket cannot hold.
func (r Rate) Check() error {
	switch {
	case r.Amount < 1:
		return errors.New("amount: must be at least 1")
	case r.Per < 1:
		return errors.New("per: must be positive")
	case r.Burst < 1:
		return errors.New("burst: must be at least 1")
	}
	// Per is below 2^63 ns, so the ticks of one token may need more than 64 bits.
	if r.Per > lasts {
		return fmt.Errorf("per: must be at most %v", time.Duration(lasts))
	}
	if high, low := bits.Mul64(uint64(r.token()), uint64(r.Burst)); high > 0 || low > deepest {
		return fmt.Errorf("burst: must refill within %v", time.Duration(deepest>>fraction))
	}
	return nil
}

// token is how many ticks one token takes. It is rounded up, so that a bucket never
// gives more than the rate.
func (r Rate) token() int64 {
	ticks := int64(r.Per) << fraction
	return (ticks-1)/r.Amount + 1
}

// Bucket holds a rate: a token bucket whose level is one number, the time at which it
// is full again (the generic cell rate algorithm, ITU-T I.371). It begins full. Any
// number of goroutines may use it.
//
// What a decision needs of it is its level: half a cache line. Levels of buckets that
// decisions look at together are in the same lines, see Block.
type Bucket struct {
	level   atomic.Pointer[level]
	mu      sync.Mutex // of those who replace the level, and of what follows
	waiting int32      // how many are in the lines of its limits
	rate    *Rate      // that holds; it does not change, another one takes its place
}

// level is a bucket's word with what it must be read by.
type level struct {
	word   atomic.Int64 // when the bucket is full again, and waits
	origin int64        // nanoseconds; ticks count from here
	token  int64        // ticks of one token
	depth  int64        // ticks of a whole burst
}

// NewBucket returns a full bucket. It panics where rate.Check refuses.
func NewBucket(now int64, rate Rate) *Bucket { return NewBlock(1).NewBucket(now, rate) }

// Block is memory for the levels of buckets from which the same messages take.
type Block struct{ free []level }

// NewBlock returns a block for a number of buckets.
func NewBlock(buckets int) *Block { return &Block{make([]level, buckets)} }

// NewBucket returns a full bucket, whose level is in the block if there is room. It panics
// where rate.Check refuses.
func (k *Block) NewBucket(now int64, rate Rate) *Bucket {
	b := &Bucket{rate: &rate}
	l := k.next()
	l.init(now, rate)
	b.level.Store(l)
	return b
}

func (k *Block) next() *level {
	if len(k.free) == 0 {
		return new(level)
	}
	l := &k.free[0]
	k.free = k.free[1:]
	return l
}

func (l *level) init(now int64, rate Rate) {
	if err := rate.Check(); err != nil {
		panic("limits: " + err.Error())
	}
	l.origin, l.token = now, rate.token()
	l.depth = l.token * rate.Burst
}

// Rearm gives the bucket another rate. What was taken stays taken: a bucket that lacks
// n tokens lacks n of its new burst, or is empty where that is smaller. Debt stays.
// Where the rate is the same nothing changes. It panics where rate.Check refuses.
func (b *Bucket) Rearm(now int64, rate Rate) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if *b.rate != rate {
		b.replace(now, &rate)
	}
}

// Rate returns the rate that holds now.
func (b *Bucket) Rate() Rate {
	b.mu.Lock()
	defer b.mu.Unlock()
	return *b.rate
}

// replace carries the level over to a new one. From the swap to the store those who
// find the word replaced look again, so nothing that is taken meanwhile is lost. b.mu is
// held.
func (b *Bucket) replace(now int64, rate *Rate) {
	next := &level{}
	next.init(now, *rate)
	old := b.level.Load()
	// Longer ago than the word reaches the bucket is full, whatever the word was.
	at := min(now-old.origin, latest>>fraction) << fraction
	word := old.word.Swap(replaced)
	lack := max(fullAt(word)-at, 0)
	if *b.rate != *rate {
		tokens := (lack + old.token - 1) / old.token
		debt := max(tokens-b.rate.Burst, 0)
		tokens = min(tokens-debt, rate.Burst) + debt
		lack = next.cost(tokens)
	}
	next.word.Store(min(lack, latest) | word&waits)
	b.rate = rate
	b.level.Store(next)
}

// addWaiting counts who is in the lines of the bucket's limits.
func (b *Bucket) addWaiting(n int32) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting += n
	if word := &b.level.Load().word; b.waiting > 0 {
		word.Or(waits)
	} else {
		word.And(^waits)
	}
}

// fullAt is when a bucket with this word is full.
func fullAt(word int64) int64 { return word &^ waits }

// current returns the level and its word.
func (b *Bucket) current(now int64) (l *level, word int64) {
	l = b.level.Load()
	if word = l.word.Load(); word != replaced && now-l.origin <= lasts {
		return l, word
	}
	return b.renew(now)
}

// renew returns a level that is not being replaced, with an origin that is not too old.
func (b *Bucket) renew(now int64) (*level, int64) {
	for {
		b.mu.Lock()
		l := b.level.Load()
		if now-l.origin > lasts {
			b.replace(now, b.rate)
			l = b.level.Load()
		}
		b.mu.Unlock()
		if word := l.word.Load(); word != replaced {
			return l, word
		}
	}
}

// swap sets when the bucket is full, unless the word is another one by now.
func (l *level) swap(word, full int64) bool {
	return l.word.CompareAndSwap(word, full|word&waits)
}

func (l *level) ticks(now int64) int64 { return (now - l.origin) << fraction }

// cost is how many ticks n tokens take, at most latest, which is more than any depth.
func (l *level) cost(n int64) int64 {
	if high, low := bits.Mul64(uint64(n), uint64(l.token)); high == 0 && low < latest {
		return int64(low)
	}
	return latest
}

// fits tells whether n tokens can be taken, with this word. Where whole is set, n are one
// message, and one that is greater than the burst fits into a full bucket.
func (l *level) fits(now, word, n int64, whole bool) bool {
	at, cost, full := l.ticks(now), l.cost(n), fullAt(word)
	if cost <= l.depth {
		return max(full, at)-at <= l.depth-cost
	}
	return whole && full <= at
}

// after is when the bucket is full when n tokens were taken.
func (l *level) after(now, word, n int64) int64 {
	return min(max(fullAt(word), l.ticks(now))+l.cost(n), latest)
}

// fits tells whether n tokens can be taken now.
func (b *Bucket) fits(now, n int64, whole bool) bool {
	l, word := b.current(now)
	return l.fits(now, word, n, whole)
}

// take takes n tokens where they fit.
func (b *Bucket) take(now, n int64, whole bool) bool {
	for {
		l, word := b.current(now)
		if !l.fits(now, word, n, whole) {
			return false
		}
		if l.swap(word, l.after(now, word, n)) {
			return true
		}
	}
}

// takeSome takes up to n tokens and returns how many.
func (b *Bucket) takeSome(now, n int64) int64 {
	for {
		l, word := b.current(now)
		n = min(n, l.room(now, word))
		if n == 0 || l.swap(word, l.after(now, word, n)) {
			return n
		}
	}
}

// interval is how long n tokens take to come, in nanoseconds.
func (b *Bucket) interval(n int64) int64 {
	return b.level.Load().cost(n) >> fraction
}

// charge takes n tokens, into debt if need be.
func (b *Bucket) charge(now, n int64) {
	for {
		l, word := b.current(now)
		if l.swap(word, l.after(now, word, n)) {
			return
		}
	}
}

// giveBack gives back n tokens that were taken at a time. Since then the bucket may have
// been full: what has come meanwhile is not given once more, so that nobody can save tokens
// up by taking them and giving them back.
func (b *Bucket) giveBack(taken, now, n int64) {
	for {
		l, word := b.current(now)
		full := fullAt(word)
		ticks := l.cost(n) - min(max(now-taken, 0), latest>>fraction)<<fraction
		to := max(full-ticks, min(l.ticks(now), full), 0)
		if ticks <= 0 || l.swap(word, to) {
			return
		}
	}
}

// room returns how many tokens there are, 0 in debt.
func (b *Bucket) room(now int64) int64 {
	l, word := b.current(now)
	return l.room(now, word)
}

func (l *level) room(now, word int64) int64 {
	at := l.ticks(now)
	return max((l.depth-(max(fullAt(word), at)-at))/l.token, 0)
}

// free returns when n tokens, or a full bucket, will be there: not before now.
func (b *Bucket) free(now, n int64) int64 {
	l, word := b.current(now)
	ticks := fullAt(word)
	if cost := l.cost(n); cost <= l.depth {
		ticks -= l.depth - cost
	}
	at := l.origin + (ticks+1<<fraction-1)>>fraction
	return max(at, now)
}
