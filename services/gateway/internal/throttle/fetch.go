package throttle

import (
	"context"
	"sync"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

const (
	// fetchTime is how long one fetch may take.
	fetchTime = 2 * time.Second
	// notFoundFor is how long a plan that could not be had is not asked for again.
	notFoundFor = 2 * time.Second
	// maxFetches is how many plans are fetched at once, and how many are remembered that
	// could not be had.
	maxFetches = 64
)

// fetcher fetches plans that are not known yet: each once at a time.
type fetcher struct {
	get  func(ctx context.Context, name string) (*catalogv1.Plan, error)
	take func(*catalogv1.Plan)

	base    context.Context
	stop    context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	fetches map[string]*fetch
}

// fetch is a plan that is being fetched, or could not be had.
type fetch struct {
	done   chan struct{} // closed when it is over
	over   bool
	failed time.Time
}

func newFetcher(get func(context.Context, string) (*catalogv1.Plan, error), take func(*catalogv1.Plan)) *fetcher {
	f := &fetcher{get: get, take: take, fetches: map[string]*fetch{}}
	f.base, f.stop = context.WithCancel(context.Background())
	return f
}

func (f *fetcher) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.stop()
	f.running.Wait()
}

// start has a plan fetched, and returns a channel that is closed when that is over; nil
// where it could not be had lately, or too many are being fetched.
func (f *fetcher) start(name string) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	x := f.fetches[name]
	if x != nil && !x.over {
		return x.done
	}
	if f.closed || x != nil && time.Since(x.failed) < notFoundFor {
		return nil
	}
	for other, y := range f.fetches {
		if y.over && time.Since(y.failed) >= notFoundFor {
			delete(f.fetches, other)
		}
	}
	if len(f.fetches) >= maxFetches {
		return nil
	}
	x = &fetch{done: make(chan struct{})}
	f.fetches[name] = x
	f.running.Go(func() { f.run(name, x) })
	return x.done
}

func (f *fetcher) run(name string, x *fetch) {
	ctx, cancel := context.WithTimeout(f.base, fetchTime)
	defer cancel()
	p, err := f.get(ctx, name)
	if err == nil {
		f.take(p)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if x.over, x.failed = true, time.Now(); err == nil {
		delete(f.fetches, name)
	}
	close(x.done)
}
