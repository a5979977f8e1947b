package handshake

import (
	"context"
	"net/http"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/kit/ref"
)

// Caller judges a plain request as a handshake to a path is judged, up to its grant, and
// returns that. A version without credentials has no callers. The credential is taken out of
// the request.
func (h *Handler) Caller(ctx context.Context, r *listener.Request, path string) (*grant.Grant, error) {
	as := *r
	as.Path = path
	a := &attempt{Request: &as, plain: true, ref: ref.New(time.Now()), shown: credential.Handshake{Header: r.Header, Query: r.Query}}
	if err := denied(h.Deny.Load().ByAddress(a.Remote.Addr())); err != nil {
		return nil, err
	}
	if err := h.route(a); err != nil {
		return nil, err
	}
	// That there is a version which is not published is told to nobody before the credential,
	// and whether a credential is good to no page that the version does not take.
	if a.match.Route.Published {
		if err := a.origin(); err != nil {
			return nil, err
		}
		if err := denied(h.Deny.Load().ByRoute(a.judged())); err != nil {
			return nil, err
		}
	}
	if err := h.authorize(ctx, a); err != nil {
		return nil, err
	}
	if a.grant == nil {
		return nil, &problem.Problem{Status: http.StatusBadRequest, Code: problem.BadRequest, Detail: "path: the API needs no credential, and so knows nobody's sessions"}
	}
	if err := a.origin(); err != nil {
		return nil, err
	}
	return a.grant, denied(h.Deny.Load().Match(a.judged()))
}

// Reads reports whether the version at a path of the host of a request takes pages of an origin.
func (h *Handler) Reads(r *listener.Request, path, origin string) bool {
	if !h.Routes.Loaded() {
		return false
	}
	m, err := h.Routes.Load().Match(r.AskedHost(), path)
	return err == nil && m.Route.Origins.Allow(origin)
}

// Problem returns the answer to an error of Caller.
func (h *Handler) Problem(err error) *problem.Problem { return h.problemOf(&attempt{}, err) }
