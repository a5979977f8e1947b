package handshake

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/permit"
)

// authorize takes the credential out of the request, and whatever else is a credential
// of ours, so that the backend does not see it, and asks what it is good for. Where the version
// is not published all that keeps it from being good has one answer, that of no version: any
// other would tell whoever has made up a try-out token what there is.
func (h *Handler) authorize(ctx context.Context, a *attempt) error {
	err := h.take(ctx, a)
	switch {
	case a.grant != nil || a.match.Route.Published:
		return err
	case err == nil:
		return notFound("the version is not published, and there is no try-out token where it takes one")
	}
	return notFound("the version is not published, and its try-out token is not good: " + err.Error())
}

// take is authorize for a version that all may know.
func (h *Handler) take(ctx context.Context, a *attempt) error {
	r := a.match.Route
	schemes := r.Schemes
	if a.tryOut {
		schemes = credential.TryOutSchemes(schemes)
	}
	taken, err := credential.Take(schemes, &a.shown)
	a.taken = taken
	a.shown.Protocols, a.shown.Query = h.Ours.Remove(a.shown.Header, a.shown.Protocols, a.shown.Query)
	switch c := taken.Credential; {
	case errors.Is(err, credential.ErrMissing):
		if a.first = firstOf(schemes); a.first != nil && !a.plain {
			return nil
		}
		return missing(r.Schemes)
	case errors.Is(err, credential.ErrAlone):
		return &problem.Problem{Status: http.StatusBadRequest, Code: problem.BadRequest, Detail: err.Error()}
	case err != nil:
		return invalid(err)
	case c.Type == credential.None:
		return a.checkEndpoint()
	}
	return h.verify(ctx, a, taken.Credential)
}

// verify asks what a credential is good for.
func (h *Handler) verify(ctx context.Context, a *attempt, c credential.Credential) (err error) {
	r := a.match.Route
	if c.Type == credential.APIKey && !h.Ours.IsKey(c.Value) {
		return invalid(errNoKey)
	}
	if c.Type == credential.Ticket {
		if a.plain {
			return invalid(errTicket)
		}
		if err := a.origin(); err != nil { // before the ticket is spent
			return err
		}
		c.Use = a.use()
	}
	if a.grant, a.position, err = h.Grants.Verify(a.client(ctx), c, r.Name); err != nil {
		if d, ok := errors.AsType[*grant.DeniedError](err); ok {
			a.application = d.Application
		}
		return refusedGrant(err)
	}
	a.application = a.grant.Application
	if r.PassCredential && !a.grant.TryOut() && (c.Type == credential.OAuth2 || c.Type == credential.APIKey) {
		a.passed = c.Value
	}
	if a.grant.SessionRef != "" {
		a.ref = a.grant.SessionRef
	}
	if !r.Serves(a.grant) {
		return notFound("the version is not published")
	}
	if err := a.served(); err != nil {
		return err
	}
	if err := a.permitted(); err != nil {
		return err
	}
	return a.checkEndpoint()
}

// errTicket is what is said of a ticket in a plain request, which does not spend it.
var errTicket = errors.New("a ticket opens a session, and is good for nothing else")

// permitted returns why an API key is not good from where the client is. That is judged for
// each handshake: a grant that is kept serves them all.
func (a *attempt) permitted() error {
	if a.grant.APIKey == "" {
		return nil
	}
	referer, origin := a.Header["Referer"], a.Header["Origin"]
	var page permit.Page
	if len(referer)+len(origin) > 0 {
		page = permit.PageOf(referer, origin)
		a.page = &page
	}
	err := a.grant.Permits(a.Remote.Addr(), page)
	switch {
	case errors.Is(err, grant.ErrAddress):
		p := forbidden(problem.AddressRefused, "the API key is not good from this address")
		p.Why = a.Remote.Addr().String()
		return p
	case errors.Is(err, grant.ErrReferer):
		p := forbidden(problem.RefererRefused, "the API key is not good from this page")
		p.Why = page.Origin()
		p.Why = p.Why[:min(len(p.Why), maxOrigin)]
		return p
	}
	return nil
}

// use is the handshake as the ticket in it needs it.
func (a *attempt) use() credential.Use {
	u := credential.Use{Attempt: a.ref}
	if lines := a.Header["Origin"]; len(lines) == 1 {
		u.Origin = lines[0][:min(len(lines[0]), maxOrigin)]
	}
	if !a.Proxy {
		u.Client = a.Remote.Addr()
	}
	return u
}

// errNoKey says that what is at a place of API keys has the form of none.
var errNoKey = errors.New("it is malformed: it has the form of no API key")

// client returns ctx with the client's address, unless that is a trusted proxy's, which
// stands for many clients.
func (a *attempt) client(ctx context.Context) context.Context {
	if a.Proxy {
		return ctx
	}
	return clientaddr.With(ctx, a.Remote.Addr())
}

func (a *attempt) checkEndpoint() error {
	if a.stage() == nil {
		return forbidden(problem.NoEndpoint, "the API has no endpoint of the stage "+a.grant.Stage.String())
	}
	return nil
}

// refusedGrant is the answer to a credential that has no grant.
func refusedGrant(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, grant.ErrUnauthenticated):
		return invalid(err)
	case errors.Is(err, grant.ErrNotSubscribed):
		return forbidden(problem.NotSubscribed, "the application is not subscribed to this version of the API")
	case errors.Is(err, grant.ErrBlocked):
		return forbidden(problem.Blocked, "the application's subscription to this version of the API is blocked")
	case errors.Is(err, grant.ErrSuspended):
		return forbidden(problem.Blocked, "the application's owner is suspended")
	case errors.Is(err, grant.ErrBusy):
		return unavailable(problem.Busy, "too many credentials are being checked", time.Second, err)
	case errors.Is(err, grant.ErrUnavailable):
		return unavailable(problem.CredentialUnchecked, "the credential cannot be checked now", 2*time.Second, err)
	default:
		return err
	}
}

// realm starts every challenge (RFC 6750 section 3).
const realm = `Bearer realm="tidegate"`

// missing is the answer to a request without a credential. Its challenge has no
// error code, as RFC 6750 section 3.1 says.
func missing(schemes []credential.Scheme) *problem.Problem {
	return &problem.Problem{
		Status: 401, Code: problem.CredentialMissing, Detail: "the API needs a credential; it is looked for in " + credential.Names(schemes),
		Header: []head.Field{{Name: "WWW-Authenticate", Value: realm}},
	}
}

// invalid is the answer to a credential that is not valid, whatever is wrong with
// it: only the record says that.
func invalid(cause error) *problem.Problem {
	why := strings.TrimPrefix(cause.Error(), grant.ErrUnauthenticated.Error()+": ")
	if cause == grant.ErrUnauthenticated { //nolint:errorlint // others that are it say more
		why = "it is malformed, not known, or for another address"
	}
	return &problem.Problem{
		Status: 401, Code: problem.CredentialInvalid, Detail: "the credential is not valid", Why: why, Cause: cause,
		Header: []head.Field{{Name: "WWW-Authenticate", Value: realm + `, error="invalid_token"`}},
	}
}
