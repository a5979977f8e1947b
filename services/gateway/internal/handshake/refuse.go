package handshake

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/deny"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/gateway/internal/refusal"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
	"github.com/tidegatehq/tidegate/services/kit/frame"
)

// refuse answers a handshake that failed, unless the client has left.
func (h *Handler) refuse(ctx context.Context, a *attempt, err error) {
	if context.Cause(ctx) == errClientGone { //nolint:errorlint // a cause is given as it is
		if a.heard() {
			_ = problem.Send(a.Conn, nil) // so that it can read the answer to its close
		} else {
			_ = a.Conn.Close()
		}
		h.Metrics.Handshake(0)
		h.Log.Debug("client left during the handshake", "ref", a.ref, "client", a.Remote)
		return
	}
	p := h.problemOf(a, err)
	code := a.closeCode(p, err)
	h.Refused.Note(ctx, &refusal.Refusal{
		Ref: a.ref, Problem: p, CloseCode: code, Err: err, At: time.Now(), Route: a.near, Grant: a.grant, Application: a.application, From: a.Remote,
		Host: a.Host, Path: a.Path, UserAgent: strings.Join(a.Header["User-Agent"], ", "),
		Plans: h.plansOf(a), Limit: limitOf(err),
	})
	answer := p.Response(a.ref, false)
	if code != 0 {
		answer = closeFrame(code, p, a.ref)
	}
	if err := problem.Send(a.Conn, answer); err != nil {
		h.Log.Debug("refusal not sent", "ref", a.ref, "error", err)
	}
}

// problemOf returns the answer to what went wrong.
func (h *Handler) problemOf(a *attempt, err error) *problem.Problem {
	var p *problem.Problem
	var ended *session.EndedError
	var backend *upstream.Error
	var limit *throttle.LimitError
	var unknown *throttle.UnknownError
	var violation frame.Violation
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &violation):
		return &problem.Problem{Status: http.StatusBadRequest, Code: problem.BadRequest, Detail: "the client sent what it must not before its session began", Why: err.Error()}
	case errors.As(err, &ended):
		return h.problemOfEnd(a, ended)
	case errors.As(err, &backend):
		return problemOfBackend(backend)
	case errors.As(err, &limit):
		return problemOfLimit(limit)
	case errors.As(err, &unknown):
		return unavailable(problem.PlanUnknown, "the gateway does not know the limits of the plan yet", 2*time.Second, err)
	case errors.Is(err, session.ErrFull):
		return unavailable(problem.SessionsFull, "the gateway has as many sessions as it can", 5*time.Second, err)
	case errors.Is(err, session.ErrAddressFull):
		return &problem.Problem{
			Status: http.StatusTooManyRequests, Code: problem.AddressFull, Detail: "there are too many sessions of this address", Cause: err,
			Header: []head.Field{problem.RetryAfter(5 * time.Second)},
		}
	case errors.Is(err, session.ErrDraining), errors.Is(err, context.Canceled):
		return draining(err)
	case errors.Is(err, errTooSlow), errors.Is(err, context.DeadlineExceeded):
		return &problem.Problem{
			Status: http.StatusGatewayTimeout, Code: problem.HandshakeTimeout, Detail: "the handshake took too long", Cause: err,
		}
	default:
		return unavailable(problem.Unavailable, "the gateway cannot serve the request now", time.Second, err)
	}
}

// problemOfEnd returns the answer for a session that was ended before its 101. If
// its route was withdrawn, the answer is the one that later requests get.
func (h *Handler) problemOfEnd(a *attempt, e *session.EndedError) *problem.Problem {
	if !h.Routes.Load().Get(a.match.Route.Name).Serves(a.grant) {
		return notFound(noLonger)
	}
	if r := h.Deny.Load().Match(a.judged()); r != nil {
		return problemOfRule(r)
	}
	switch e.Ending.Reason {
	case ending.Expired, ending.Revoked:
		return invalid(e)
	case ending.Blocked:
		return forbidden(problem.Blocked, "access to the API was withdrawn")
	case ending.Drain:
		return draining(e)
	case ending.Replaced, ending.Throttled:
		p := &problem.Problem{
			Status: http.StatusTooManyRequests, Code: problem.ConnectionsFull, Detail: "another connection got the seat", Record: e.Ending.Detail, Cause: e,
			Header: []head.Field{problem.RetryAfter(seatRetry)},
		}
		if l := e.Ending.Limit; l != nil && l.Place == limits.Version {
			p.Detail = reached(l.Place)
		}
		return p
	case ending.OperatorClose:
		return unavailable(problem.OperatorClose, "the session was closed by an operator", time.Second, e)
	default:
		return unavailable(problem.Unavailable, "the gateway cannot serve the request now", time.Second, e)
	}
}

// seatRetry is when to come back where it is not known when there will be a seat.
const seatRetry = 5 * time.Second

// problemOfLimit returns the answer to a handshake that a limit of a plan refuses. Who has
// the plan may know the limit; that of a version is its owner's.
func problemOfLimit(e *throttle.LimitError) *problem.Problem {
	p := &problem.Problem{Status: http.StatusTooManyRequests, Record: reached(e.Place), Cause: e}
	unit, wait := "", e.Reset
	request := e.Unit == limits.Messages || e.Unit == limits.Bytes
	switch {
	case e.Kind == limits.KindRate && request:
		p.Code = problem.RequestRate
	case e.Kind == limits.KindRate:
		p.Code = problem.HandshakeRate
	case e.Kind == limits.KindQuota && request:
		p.Code = problem.RequestQuota
	case e.Kind == limits.KindQuota:
		p.Code = problem.SessionQuota
	default:
		p.Code, unit, wait = problem.ConnectionsFull, "concurrent-requests", seatRetry
	}
	seconds := func(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
	if e.Place == limits.Version {
		p.Detail = p.Record
		p.Header = []head.Field{problem.RetryAfter(wait)}
		return p
	}
	place := "subscription"
	if e.Place == limits.Application {
		place = "application"
	}
	p.Detail = fmt.Sprintf("the limit %q of the %s is reached", e.Name, place)
	p.Limit = &problem.Limit{
		Name: e.Name, Place: place, Limit: e.Limit, Window: seconds(e.Window), Burst: e.Burst, Used: e.Used, Reset: seconds(e.Reset), Unit: unit,
	}
	p.Header = append(p.Limit.Fields(), problem.RetryAfter(wait))
	return p
}

// reached is all that is told of a limit to those whose it is not.
func reached(at limits.Place) string { return at.Limit() + " is reached" }

// limitOf returns what of a plan refused, nil where nothing did.
func limitOf(err error) *refusal.Limit {
	var e *throttle.LimitError
	var unknown *throttle.UnknownError
	var ended *session.EndedError
	switch {
	case errors.As(err, &e):
		return &refusal.Limit{Kind: e.Kind, Unit: e.Unit, Place: e.Place, Plan: e.Plan, Name: e.Name, Words: e.Taken()}
	case errors.As(err, &unknown):
		return &refusal.Limit{Place: unknown.Place, Plan: unknown.Plan, Name: unknown.Limit, Words: unknown.Why, Unknown: true}
	case errors.As(err, &ended) && ended.Ending.Limit != nil:
		l := ended.Ending.Limit
		return &refusal.Limit{Kind: l.Kind(), Unit: l.Unit, Place: l.Place, Plan: l.Plan, Name: l.Name}
	}
	return nil
}

// plansOf returns the plans that hold for whom is refused; nil where it is not known who
// that is.
func (h *Handler) plansOf(a *attempt) *session.Plans {
	if a.who == nil {
		return nil
	}
	return h.Throttle.PlansOf(*a.who)
}

func problemOfBackend(e *upstream.Error) *problem.Problem {
	if e.Kind == upstream.Exhausted {
		return unavailable(problem.OutOfDescriptors, e.Detail(), 5*time.Second, e)
	}
	p := &problem.Problem{Status: http.StatusBadGateway, Detail: e.Detail(), Cause: e}
	switch e.Kind {
	case upstream.Timeout:
		p.Status, p.Code = http.StatusGatewayTimeout, problem.BackendTimeout
	case upstream.Refused:
		p.Code = problem.BackendRefused
		if isForClient(e.Status) {
			p.Status, p.Header = e.Status, e.Header
		}
	case upstream.Forbidden:
		p.Code = problem.BackendForbidden
	case upstream.Incorrect:
		p.Code = problem.BackendIncorrect
	case upstream.Broken:
		p.Code = problem.BackendBroken
	case upstream.NotAuthorized:
		p.Code = problem.BackendCredential
	case upstream.NoToken:
		p.Code, p.Why = problem.BackendCredential, e.Error()
	default:
		p.Code = problem.BackendUnreachable
	}
	return p
}

// noLonger is why there is no version that there was when the handshake began.
const noLonger = "the version is no longer published"

func notFound(why string) *problem.Problem {
	return &problem.Problem{Status: http.StatusNotFound, Code: problem.NotFound, Detail: "no such API or version", Why: why}
}

// problemOfRule returns the answer to a handshake that a deny rule matches. Clients are not
// told which rule, nor why: the reason may be what nobody else is to know.
func problemOfRule(r *deny.Rule) *problem.Problem {
	p := forbidden(problem.Denied, "the API's owner or an administrator has denied this")
	p.Record = session.DeniedBy(r)
	return p
}

func forbidden(code problem.Code, detail string) *problem.Problem {
	return &problem.Problem{Status: http.StatusForbidden, Code: code, Detail: detail}
}

func draining(cause error) *problem.Problem {
	return unavailable(problem.Draining, "the gateway is stopping", time.Second, cause)
}

func unavailable(code problem.Code, detail string, retry time.Duration, cause error) *problem.Problem {
	return &problem.Problem{
		Status: http.StatusServiceUnavailable, Code: code, Detail: detail, Cause: cause,
		Header: []head.Field{problem.RetryAfter(retry)},
	}
}
