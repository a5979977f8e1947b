// Package health checks the endpoints of published versions that ask for it, at their
// intervals and at the end of their suspensions, whether or not clients connect.
package health

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
)

// maxChecks is how many checks a gateway makes at once.
const maxChecks = 16

// tick is how often it is looked for what is due.
const tick = 100 * time.Millisecond

// Checker makes the health checks of one gateway.
type Checker struct {
	Routes  *routes.Current
	Dialer  *upstream.Dialer
	Metrics *metrics.Metrics
	Log     *slog.Logger

	mu    sync.Mutex
	due   map[*balance.Member]time.Time // when the next check is due; zero: one is under way
	slots chan struct{}
}

// Run makes checks until ctx ends, and returns when the last one is over.
func (c *Checker) Run(ctx context.Context) error {
	c.due, c.slots = map[*balance.Member]time.Time{}, make(chan struct{}, maxChecks)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	var checks sync.WaitGroup
	defer checks.Wait()
	for {
		c.round(ctx, &checks)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// round begins the checks that are due and for which there is room, and forgets the
// endpoints that are gone.
func (c *Checker) round(ctx context.Context, checks *sync.WaitGroup) {
	now, seen := time.Now(), map[*balance.Member]bool{}
	c.Routes.Load().Checked(func(r *routes.Route, of *routes.Endpoints) {
		for _, stage := range []*routes.Stage{of.Production, of.Sandbox} {
			if stage == nil {
				continue
			}
			for i, e := range stage.Endpoints {
				m := stage.Member(i)
				seen[m] = true
				if c.begin(m, now) {
					checks.Go(func() { c.check(ctx, r, of, e, m) })
				}
			}
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	for m := range c.due {
		if !seen[m] {
			delete(c.due, m)
		}
	}
}

// begin reports whether a check of an endpoint is due and has a slot, which it takes.
func (c *Checker) begin(m *balance.Member, now time.Time) bool {
	s := m.Status(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	at, known := c.due[m]
	underWay := known && at.IsZero()
	if underWay || s.State == balance.Suspended || s.State == balance.Healthy && now.Before(at) {
		return false
	}
	select {
	case c.slots <- struct{}{}:
		c.due[m] = time.Time{}
		return true
	default:
		return false
	}
}

func (c *Checker) check(ctx context.Context, r *routes.Route, of *routes.Endpoints, e *routes.Endpoint, m *balance.Member) {
	defer func() { <-c.slots }()
	began := time.Now()
	within, cancel := context.WithTimeoutCause(ctx, of.Check.Timeout, upstream.ErrTooSlow)
	defer cancel()
	req := &upstream.Request{
		Endpoint: e, Backends: r.Backends, Header: http.Header{}, Host: e.Host, Secure: true, DialTimeout: of.Timeouts.Dial,
		Way: proxies.Chain{Addrs: []netip.AddrPort{{}}}, Installation: c.Routes.Installation(),
	}
	noToken := c.Dialer.Authorize(within, req)
	why := ""
	if noToken == nil {
		why = c.Dialer.CheckHealth(within, req, of.Check.HTTPPath)
	}
	now := time.Now()
	c.mu.Lock()
	c.due[m] = now.Add(of.Check.Interval)
	c.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return
	case noToken != nil: // which says nothing of the endpoint
		c.Metrics.EndpointChecked(false)
		c.Log.Debug("health check not made: there is no access token", "version", r.Name, "host", e.Host, "error", noToken)
		return
	}
	c.Metrics.EndpointChecked(why == "")
	suspended, recovered := m.Checked(began, now, why)
	switch {
	case suspended > 0:
		c.Metrics.Suspended()
		c.Log.Warn("endpoint suspended by health checks", "version", r.Name, "host", e.Host, "for", suspended, "error", why)
	case recovered:
		c.Log.Info("endpoint works again", "version", r.Name, "host", e.Host)
	}
}
