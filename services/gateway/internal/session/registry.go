package session

import (
	"context"
	mathrand "math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/bound"
	"github.com/tidegatehq/tidegate/services/gateway/internal/deny"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/ref"
)

// Registry holds the sessions of one gateway.
type Registry struct {
	began func(*Session)
	sink  func(Record)
	live  atomic.Int64

	mu       sync.Mutex
	sessions map[string]*Session
	index    index
	draining bool
	most     int           // of open; 0: any number
	open     int           // sessions that have neither left their record nor been abandoned
	empty    chan struct{} // closed when open becomes 0; made by Drain

	addresses *bound.ByKey[netip.Prefix] // open sessions by address; nil: not counted
	rules     *deny.Current              // set by Judge
}

// maxRetry is the longest retry hint of a 1012.
const maxRetry = 5 * time.Second

// Gauges counts the sessions.
type Gauges struct {
	Registered int // in their handshake, and plain requests
	Live       int // relaying or closing: each holds two connections
}

// NewRegistry returns an empty registry. began is called when a session becomes
// live, before its record; it may be nil. sink is given each session's record,
// exactly once, from a goroutine that serves all sessions or the caller's, and must
// not block.
func NewRegistry(began func(*Session), sink func(Record)) *Registry {
	return &Registry{began: began, sink: sink, sessions: map[string]*Session{}, index: newIndex()}
}

// Bound bounds how many sessions there may be at once, those in their handshake
// included, and how many of one address. It is called before the first New; 0 is any
// number.
func (r *Registry) Bound(sessions, perAddress int) {
	r.most = sessions
	if perAddress > 0 {
		r.addresses = bound.NewByKey[netip.Prefix](perAddress)
	}
}

// Most returns how many sessions there may be at once; 0 is any number.
func (r *Registry) Most() int { return r.most }

// Judge has sessions judged by deny rules when their grant is replaced. It is called before
// the first New; nil judges none.
func (r *Registry) Judge(rules *deny.Current) { r.rules = rules }

// New registers a session in its handshake, which must go on to Start or Abandon.
// If the session is ended before that, cancel is called with an *EndedError; cancel
// may be nil. The error is ErrDraining, ErrFull or ErrAddressFull.
func (r *Registry) New(cancel context.CancelCauseFunc, info Info) (*Session, error) {
	s := &Session{registry: r, state: registered, info: info, cancel: cancel}
	if s.info.Ref == "" {
		s.info.Ref = ref.New(time.Now())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return nil, ErrDraining
	}
	if r.most > 0 && r.open >= r.most {
		return nil, ErrFull
	}
	if !r.countIn(s) {
		return nil, ErrAddressFull
	}
	r.open++
	r.sessions[s.info.Ref] = s
	r.index.add(s, info.Route, info.Grant)
	return s, nil
}

// countIn counts a session for its client's address, if that is counted. It returns
// false if that address has as many as it may.
func (r *Registry) countIn(s *Session) bool {
	network := clientaddr.Network(s.info.ClientAddr.Addr())
	if r.addresses == nil || s.info.Proxy || !network.IsValid() {
		return true
	}
	s.counted = r.addresses.Take(network)
	return s.counted
}

// remove takes a session out, so that it can no longer be found.
func (r *Registry) remove(s *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.sessions, s.info.Ref)
	r.index.remove(s)
}

// move indexes a session under the names of another grant.
func (r *Registry) move(s *Session, route *Route, grant *grant.Grant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.index.remove(s)
	r.index.add(s, route, grant)
}

// done notes that a session has left its record or was abandoned.
func (r *Registry) done(s *Session) {
	if s.counted {
		r.addresses.Give(clientaddr.Network(s.info.ClientAddr.Addr()))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open--; r.open == 0 && r.empty != nil {
		close(r.empty)
		r.empty = nil
	}
}

// Get returns the session with this reference, nil if there is none.
func (r *Registry) Get(ref string) *Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sessions[ref]
}

// all returns all sessions.
func (r *Registry) all() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*Session, 0, len(r.sessions))
	for _, s := range r.sessions {
		list = append(list, s)
	}
	return list
}

// Each calls fn for each session, in no order. Meanwhile sessions may come, which it
// leaves out, and go.
func (r *Registry) Each(fn func(*Session)) {
	for _, s := range r.all() {
		fn(s)
	}
}

// RestingOn returns the sessions that rest on any of these names: those of their
// grant, and their route's API and version.
func (r *Registry) RestingOn(names ...string) []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.index.find(names, func(*grant.Grant) bool { return true })
}

// Granted returns the sessions that have a grant.
func (r *Registry) Granted() []grant.Session { return granted(r.all()) }

// GrantedOn returns the sessions with a grant that rest on any of these names.
func (r *Registry) GrantedOn(names ...string) []grant.Session { return granted(r.RestingOn(names...)) }

func granted(list []*Session) []grant.Session {
	found := make([]grant.Session, 0, len(list))
	for _, s := range list {
		if s.Grant() != nil {
			found = append(found, s)
		}
	}
	return found
}

// EndAllOn ends the sessions that rest on any of these names, and returns how many
// of them it ended.
func (r *Registry) EndAllOn(e ending.Ending, names ...string) int {
	return endAll(e, r.RestingOn(names...))
}

// EndThoseOn ends the sessions that rest on any of these names and whose grant, nil for none,
// affected accepts, and returns how many of them it ended.
func (r *Registry) EndThoseOn(e ending.Ending, affected func(*grant.Grant) bool, names ...string) int {
	r.mu.Lock()
	found := r.index.find(names, affected)
	r.mu.Unlock()
	return endAll(e, found)
}

// EndPublic ends those that rest on a name, but for those under try-out tokens.
func (r *Registry) EndPublic(e ending.Ending, name string) int {
	return r.EndThoseOn(e, func(g *grant.Grant) bool { return !g.TryOut() }, name)
}

// EndDenied ends the sessions that a rule of a table matches, and returns how many of them
// it ended.
func (r *Registry) EndDenied(t *deny.Table) (n int) {
	for _, s := range r.all() {
		if s.judge(t) {
			n++
		}
	}
	return n
}

// endTogether is how many sessions are worth a goroutine to end them.
const endTogether = 64

// endAll ends sessions, many of them on all cores at once: each close is written to two
// connections, so the last of thousands would wait for long.
func endAll(e ending.Ending, sessions []*Session) int {
	var n atomic.Int64
	var wg sync.WaitGroup
	for part := range slices.Chunk(sessions, max(endTogether, len(sessions)/runtime.GOMAXPROCS(0)+1)) {
		wg.Go(func() {
			for _, s := range part {
				if s.End(e) {
					n.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return int(n.Load())
}

// Gauges returns how many sessions there are.
func (r *Registry) Gauges() Gauges {
	r.mu.Lock()
	defer r.mu.Unlock()
	live := int(r.live.Load())
	return Gauges{Registered: max(len(r.sessions)-live, 0), Live: live}
}

// Collect calls fn for each started session that used something since the last Collect,
// with what that was, a minute each. What a session used after its last Collect is in
// its record as Uncollected: together they are exact.
func (r *Registry) Collect(fn func(s *Session, used []ending.Usage)) {
	for _, s := range r.all() {
		if used := s.collect(); len(used) > 0 {
			fn(s, used)
		}
	}
}

// drained returns how a session ends when the gateway stops.
func (r *Registry) drained() ending.Ending {
	e := ending.New(ending.Drain, "")
	e.Retry = retry()
	return e
}

// retry returns a retry hint, different for each session.
func retry() time.Duration {
	const minRetry = maxRetry / 10
	return minRetry + mathrand.N(maxRetry-minRetry+1)
}

// Drain refuses new sessions, ends those in their handshake at once and the live
// ones spread over the given time, each with a retry hint, and waits until all have
// left their record or ctx ends. Plain requests have all of the time for their
// answers. Sessions that are still live when ctx ends are aborted.
func (r *Registry) Drain(ctx context.Context, over time.Duration) error {
	empty := r.close()
	r.endAll(ctx, empty, over)
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
	}
	for _, s := range r.all() {
		s.abort(r.drained())
	}
	return context.Cause(ctx)
}

// close refuses new sessions from now on, and returns a channel that is closed once
// there are none left.
func (r *Registry) close() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
	if r.empty != nil {
		return r.empty
	}
	empty := make(chan struct{})
	if r.open == 0 {
		close(empty)
	} else {
		r.empty = empty
	}
	return empty
}

// endAll ends all sessions, the live ones spread over the given time.
func (r *Registry) endAll(ctx context.Context, empty <-chan struct{}, over time.Duration) {
	var live, beside []*Session
	for _, s := range r.all() {
		switch {
		case s.info.Beside:
			beside = append(beside, s)
		case s.inHandshake():
			s.End(r.drained())
		default:
			live = append(live, s)
		}
	}
	begin := time.Now()
	defer func() {
		sleep(ctx, empty, over-time.Since(begin))
		for _, s := range beside {
			s.End(r.drained())
		}
	}()
	for i, s := range live {
		wait := over*time.Duration(i)/time.Duration(len(live)) - time.Since(begin)
		if !sleep(ctx, empty, wait) {
			return
		}
		s.End(r.drained())
	}
}

// sleep waits for d, and returns false if before that ctx ends or all sessions have
// left.
func sleep(ctx context.Context, empty <-chan struct{}, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-empty:
	case <-ctx.Done():
	}
	return false
}
