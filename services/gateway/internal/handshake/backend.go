package handshake

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
)

// patience is how long an endpoint may leave a client without an answer, at least, before
// the client's leaving is taken for the endpoint's failure: of one that hangs, clients that
// leave before the time is over would never be the last.
const patience = 2 * time.Second

// stage returns the endpoints that the grant leads to, nil if there are none.
func (a *attempt) stage() *routes.Stage { return a.match.Route.For(a.grant) }

// dial connects to one of the stage's endpoints: each is tried at most once, until one
// takes the handshake or its answer is for the client. The error is that of the last. A
// client that has been answered already has the sub-protocol that the backend must choose.
func (h *Handler) dial(ctx context.Context, a *attempt) (*upstream.Backend, *balance.Member, error) {
	r, stage := a.match.Route, a.stage()
	if err := h.identify(ctx, a); err != nil {
		return nil, nil, err
	}
	req := h.outgoing(a)
	req.Protocols, req.Offers = a.shown.Protocols, a.offers
	// That there is no token says nothing of an endpoint, and takes none of its time.
	req.Endpoint = stage.Endpoints[0]
	failed := h.Dialer.Authorize(ctx, req)
	if failed != nil {
		return nil, nil, failed
	}
	turn := stage.Turn()
	for turn.Next(time.Now()) {
		if err := a.fill(req, stage.Endpoints[turn.Index()]); err != nil {
			turn.Skip()
			return nil, nil, err
		}
		within := r.Timeouts.Handshake
		if within == 0 && turn.Left() > 0 {
			within = h.EndpointTimeout
		}
		backend, err := h.dialOne(ctx, req, within)
		if err == nil {
			member, recovered := turn.Done(time.Now())
			if recovered {
				h.Log.Info("endpoint works again", "version", r.Name, "host", req.Endpoint.Host)
			}
			h.Metrics.Attempt(metrics.Connected)
			if a.first != nil && backend.Protocol != a.first.protocol {
				member.Release()
				_ = backend.Conn.Close()
				return nil, nil, errProtocol
			}
			return backend, member, nil
		}
		failed = err
		if !h.judge(ctx, a, &turn, req.Endpoint, err) {
			break
		}
	}
	return nil, nil, failed
}

// outgoing returns what a backend gets on behalf of a client, but for its endpoint.
func (h *Handler) outgoing(a *attempt) *upstream.Request {
	r := a.match.Route
	return &upstream.Request{
		Backends: r.Backends, Suffix: a.match.Suffix, Query: a.shown.Query, Header: a.shown.Header,
		Way: a.Way, Secure: a.Secure, Host: a.Host, DialTimeout: r.Timeouts.Dial,
		Own: a.own, Installation: h.Routes.Installation(),
	}
}

// fill sets the endpoint of what a backend gets, with the variables of its URL filled in.
func (a *attempt) fill(req *upstream.Request, e *routes.Endpoint) (err error) {
	req.Endpoint, req.Suffix, req.Query, err = e.Fill(a.match.Suffix, a.shown.Query)
	var wrong *routes.FillError
	switch {
	case !errors.As(err, &wrong):
		return err
	case wrong.Missing && wrong.Variable.Segment > 0:
		return &problem.Problem{Status: http.StatusNotFound, Code: problem.NotFound, Detail: wrong.Error(), Why: wrong.Error()}
	case wrong.Variable.Segment > 0:
		return &problem.Problem{Status: http.StatusBadRequest, Code: problem.BadPath, Detail: wrong.Error()}
	default:
		return &problem.Problem{Status: http.StatusBadRequest, Code: problem.BadRequest, Detail: wrong.Error()}
	}
}

// dialOne connects to an endpoint, within a time; 0 is that of ctx.
func (h *Handler) dialOne(ctx context.Context, req *upstream.Request, within time.Duration) (*upstream.Backend, error) {
	address := strings.ToLower(req.Endpoint.Addr)
	if !h.backends.Take(address) {
		return nil, unavailable(problem.BackendBusy, "too many handshakes for this backend are in progress", time.Second, nil)
	}
	defer h.backends.Give(address)
	if within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, within, upstream.ErrTooSlow)
		defer cancel()
	}
	return h.Dialer.Dial(ctx, req)
}

// judge notes what an error says of an endpoint, and reports whether the next one is tried.
func (h *Handler) judge(ctx context.Context, a *attempt, turn *balance.Turn, e *routes.Endpoint, err error) (goOn bool) {
	now, taken := time.Now(), time.Since(turn.Began())
	var backend *upstream.Error
	switch isBackends := errors.As(err, &backend); {
	case ctx.Err() != nil:
		switch cause := context.Cause(ctx); {
		case cause == errTooSlow && taken >= min(h.EndpointTimeout, patience), cause == errClientGone && taken >= patience: //nolint:errorlint // a cause is given as it is
			h.suspended(a, e, turn.Failed(now, upstream.ErrTooSlow.Detail()), upstream.ErrTooSlow)
			h.Metrics.Attempt(metrics.Failed)
		default:
			turn.Skip()
			h.Metrics.Attempt(metrics.GivenUp)
		}
		return false
	case !isBackends: // too many handshakes for it are in progress
		turn.Skip()
		h.Metrics.Attempt(metrics.TooMany)
		return true
	case backend.Kind == upstream.Exhausted, backend.Kind == upstream.NoToken:
		turn.Skip()
		h.Metrics.Attempt(metrics.GivenUp)
		return false
	case backend.Answered():
		if m, recovered := turn.Done(now); m != nil {
			m.Release()
			if recovered {
				h.Log.Info("endpoint works again", "version", a.match.Route.Name, "host", e.Host)
			}
		}
		h.Metrics.Attempt(metrics.Refused)
		return false
	}
	h.suspended(a, e, turn.Failed(now, backend.Detail()), err)
	h.Metrics.Attempt(metrics.Failed)
	return true
}

// suspended logs that an endpoint is suspended for a time; 0: it is not.
func (h *Handler) suspended(a *attempt, e *routes.Endpoint, within time.Duration, err error) {
	if within > 0 {
		h.Metrics.Suspended()
		h.Log.Warn("endpoint suspended", "version", a.match.Route.Name, "host", e.Host, "for", within, "error", err)
	}
}

// isForClient reports whether a status with which a backend refuses tells the client
// what to do: to authenticate, to go away, or to come back later. 502 and 504 are what
// proxies before a backend say of it.
func isForClient(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone,
		http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	}
	return false
}
