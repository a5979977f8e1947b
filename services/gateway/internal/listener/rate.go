package listener

import (
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
)

const (
	// burstSeconds is how many seconds' handshakes an address may send at once.
	burstSeconds = 10
	// maxRated is how many addresses are counted. What is forgotten beyond that may send
	// a burst again.
	maxRated = 100_000
	// fewRated is how many addresses are kept before any of them is looked at.
	fewRated = 1024
)

// addressRate bounds the handshakes of each address in a second. An address is forgotten
// when it may send a whole burst again.
type addressRate struct {
	rate limits.Rate
	most int
	now  func() int64

	mu      sync.Mutex
	buckets map[netip.Prefix]*rated
	sweepAt int // when so many are kept, those that are full are forgotten
}

// rated is the rate of an address.
type rated struct {
	bucket *limits.Bucket
	chain  *limits.Chain
}

// newAddressRate returns nil, which bounds nothing, for 0.
func newAddressRate(perSecond int) *addressRate {
	if perSecond == 0 {
		return nil
	}
	began := time.Now()
	return &addressRate{
		rate:    limits.Rate{Amount: int64(perSecond), Per: time.Second, Burst: burstSeconds * int64(perSecond)},
		most:    maxRated,
		now:     func() int64 { return int64(time.Since(began)) },
		buckets: map[netip.Prefix]*rated{}, sweepAt: fewRated,
	}
}

// refusal counts a handshake of a network, which is not valid if it does not count, and
// returns the answer to one that is too many.
func (a *addressRate) refusal(network netip.Prefix) *problem.Problem {
	if a == nil || !network.IsValid() {
		return nil
	}
	now := a.now()
	d := a.chain(network, now).Ask(now, limits.Demand{Handshakes: 1}, nil)
	if d.Verdict == limits.Go {
		return nil
	}
	return &problem.Problem{
		Status: http.StatusTooManyRequests, Code: problem.AddressRate, Detail: "too many handshakes of this address in a second",
		Why:    fmt.Sprintf("-max-handshake-rate is %d", a.rate.Amount),
		Header: []head.Field{problem.RetryAfter(time.Duration(d.At - now))},
	}
}

// chain returns the limit of a network.
func (a *addressRate) chain(network netip.Prefix, now int64) *limits.Chain {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.buckets[network]
	if r == nil {
		a.sweep(now)
		b := limits.NewBucket(now, a.rate)
		// The terms are right, so there is no error.
		l, _ := limits.NewRate(limits.Terms{Unit: limits.Handshakes, Reaction: limits.RefuseHandshake}, b)
		chain, _ := limits.NewChain(l)
		r = &rated{b, chain}
		a.buckets[network] = r
	}
	return r.chain
}

// sweep makes room for another address.
func (a *addressRate) sweep(now int64) {
	if len(a.buckets) < a.sweepAt {
		return
	}
	for network, r := range a.buckets {
		if r.bucket.Full(now) {
			delete(a.buckets, network)
		}
	}
	for network := range a.buckets { // any
		if len(a.buckets) < a.most {
			break
		}
		delete(a.buckets, network)
	}
	a.sweepAt = min(max(2*len(a.buckets), fewRated), a.most)
}
