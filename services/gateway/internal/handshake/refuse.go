package handshake

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
)

// refuse answers a handshake that failed, unless the client has left.
func (h *Handler) refuse(ctx context.Context, a *attempt, err error) {
	if context.Cause(ctx) == errClientGone { //nolint:errorlint // a cause is given as it is
		_ = a.Conn.Close()
		h.Metrics.Handshake(0)
		h.Log.Debug("client left during the handshake", "ref", a.ref, "client", a.Remote)
		return
	}
	p := h.problemOf(a, err)
	h.Metrics.Handshake(p.Status)
	h.logRefusal(ctx, a, p, err)
	if err := problem.Send(a.Conn, p.Response(a.ref, false)); err != nil {
		h.Log.Debug("refusal not sent", "ref", a.ref, "error", err)
	}
}

// logRefusal logs what operators or publishers may have to act on; of the same code only
// so many lines in a second, with the number of those left out.
func (h *Handler) logRefusal(ctx context.Context, a *attempt, p *problem.Problem, err error) {
	level, left := slog.LevelDebug, 0
	if p.Status >= http.StatusInternalServerError || p.Code == "BACKEND_REFUSED" {
		level = slog.LevelInfo
	}
	if !h.Log.Enabled(ctx, level) {
		return
	}
	if level == slog.LevelInfo {
		var ok bool
		if left, ok = h.refusals.log(p.Code, time.Now()); !ok {
			return
		}
	}
	var route string
	if r := a.match.Route; r != nil {
		route = r.Name
	}
	h.Log.Log(ctx, level, "handshake refused", "ref", a.ref, "client", a.Remote, "version", route,
		"status", p.Status, "code", p.Code, "error", err, "left_out", left)
}

// problemOf returns the answer to what went wrong.
func (h *Handler) problemOf(a *attempt, err error) *problem.Problem {
	var p *problem.Problem
	var ended *session.EndedError
	var backend *upstream.Error
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &ended):
		return h.problemOfEnd(a, ended)
	case errors.As(err, &backend):
		return problemOfBackend(backend)
	case errors.Is(err, session.ErrFull):
		return unavailable("SESSIONS_FULL", "the gateway has as many sessions as it can", 5*time.Second, err)
	case errors.Is(err, session.ErrAddressFull):
		return &problem.Problem{
			Status: http.StatusTooManyRequests, Code: "ADDRESS_FULL", Detail: "there are too many sessions of this address", Cause: err,
			Header: []head.Field{problem.RetryAfter(5 * time.Second)},
		}
	case errors.Is(err, session.ErrDraining), errors.Is(err, context.Canceled):
		return draining(err)
	case errors.Is(err, errTooSlow), errors.Is(err, context.DeadlineExceeded):
		return &problem.Problem{
			Status: http.StatusGatewayTimeout, Code: "HANDSHAKE_TIMEOUT", Detail: "the handshake took too long", Cause: err,
		}
	default:
		return unavailable("UNAVAILABLE", "the gateway cannot serve the request now", time.Second, err)
	}
}

// problemOfEnd returns the answer for a session that was ended before its 101. If
// its route was withdrawn, the answer is the one that later requests get.
func (h *Handler) problemOfEnd(a *attempt, e *session.EndedError) *problem.Problem {
	if r := h.Routes.Load().Get(a.match.Route.Name); r == nil || !r.Published {
		return notFound()
	}
	switch e.Ending.Reason {
	case ending.Expired, ending.Revoked:
		return invalid(e)
	case ending.Blocked:
		return forbidden(e.Ending.Reason.String(), "access to the API was withdrawn")
	case ending.Drain:
		return draining(e)
	default:
		return unavailable(e.Ending.Reason.String(), "the session was closed by an operator", time.Second, e)
	}
}

func problemOfBackend(e *upstream.Error) *problem.Problem {
	if e.Kind == upstream.Exhausted {
		return unavailable("OUT_OF_DESCRIPTORS", e.Detail(), 5*time.Second, e)
	}
	p := &problem.Problem{Status: http.StatusBadGateway, Detail: e.Detail(), Cause: e}
	switch e.Kind {
	case upstream.Timeout:
		p.Status, p.Code = http.StatusGatewayTimeout, "BACKEND_TIMEOUT"
	case upstream.Refused:
		p.Code = "BACKEND_REFUSED"
		if isForClient(e.Status) {
			p.Status, p.Header = e.Status, e.Header
		}
	case upstream.Forbidden:
		p.Code = "BACKEND_FORBIDDEN"
	case upstream.Incorrect:
		p.Code = "BACKEND_INCORRECT"
	case upstream.Broken:
		p.Code = "BACKEND_BROKEN"
	default:
		p.Code = "BACKEND_UNREACHABLE"
	}
	return p
}

// isForClient reports whether a status with which a backend refuses tells the client
// what to do: to authenticate, to go away, or to come back later.
func isForClient(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone,
		http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return true
	}
	return false
}

func notFound() *problem.Problem {
	return &problem.Problem{Status: http.StatusNotFound, Code: "NOT_FOUND", Detail: "no such API or version"}
}

func forbidden(code, detail string) *problem.Problem {
	return &problem.Problem{Status: http.StatusForbidden, Code: code, Detail: detail}
}

func draining(cause error) *problem.Problem {
	return unavailable("DRAINING", "the gateway is stopping", time.Second, cause)
}

func unavailable(code, detail string, retry time.Duration, cause error) *problem.Problem {
	return &problem.Problem{
		Status: http.StatusServiceUnavailable, Code: code, Detail: detail, Cause: cause,
		Header: []head.Field{problem.RetryAfter(retry)},
	}
}
