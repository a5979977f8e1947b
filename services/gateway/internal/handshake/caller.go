package handshake

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/kit/ref"
)

// Caller judges a plain request as a handshake to a path is judged, up to its grant, and
// returns that. A version without credentials has no callers.
func (h *Handler) Caller(ctx context.Context, r *listener.Request, path string) (*grant.Grant, error) {
	as := *r
	as.Path = path
	a := &attempt{Request: &as, plain: true, ref: ref.NewAt(time.Now(), h.Tag), shown: credential.Handshake{Header: r.Header, Query: r.Query}}
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
	if err := h.show(ctx, a, credential.Header, credential.Query, credential.Cookie); err != nil {
		return nil, err
	}
	if a.grant == nil {
		return nil, &problem.Problem{Status: http.StatusBadRequest, Code: problem.BadRequest, Detail: "path: the API needs no credential, and so knows nobody's sessions"}
	}
	return a.grant, denied(h.Deny.Load().Match(a.judged()))
}

// show finds the credential that a request which opens no session shows for its version, in
// these parts, and asks what it is good for. Without one it leaves no grant where the version
// needs none.
func (h *Handler) show(ctx context.Context, a *attempt, parts ...credential.Part) error {
	schemes := a.match.Route.Schemes
	if a.tryOut {
		schemes = credential.TryOutSchemes(schemes)
	}
	taken, err := credential.TakePlain(credential.PlainSchemes(schemes, parts...), &a.shown)
	a.taken = taken
	switch {
	case errors.Is(err, credential.ErrMissing):
		return missing(credential.PlainSchemes(a.match.Route.Schemes, parts...))
	case err != nil:
		return invalid(err)
	case taken.Type == credential.None:
		return nil
	}
	if err := h.verify(ctx, a, taken.Credential); err != nil {
		return err
	}
	return a.origin() // which a credential in a cookie needs
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
