package handshake

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// authorize finds the credential, asks what it is good for, and cuts it out of
// what goes on to the backend, wherever the API lists a place for one.
func (h *Handler) authorize(ctx context.Context, a *attempt) error {
	r := a.match.Route
	token, err := "", error(nil)
	if !r.Open() {
		token, err = credential.Extract(r.Places, a.Header, a.Query)
	}
	credential.StripHeader(r.Places, a.Header)
	a.query = credential.StripQuery(r.Places, a.Query)
	switch {
	case errors.Is(err, credential.ErrNone):
		return missing(r.Places)
	case err != nil:
		return invalid(err)
	case r.Open():
		return a.checkEndpoint()
	case !r.Accepts(routes.SchemeOAuth2):
		return invalid(errors.New("the API enables no scheme that this credential is of"))
	}
	if a.grant, err = h.Grants.Verify(ctx, token, r.Name); err != nil {
		return refusedGrant(err)
	}
	return a.checkEndpoint()
}

func (a *attempt) checkEndpoint() error {
	if a.endpoint() == nil {
		return forbidden("NO_ENDPOINT", "the API has no endpoint for keys of the type "+a.grant.KeyType.String())
	}
	return nil
}

// refusedGrant is the answer to a credential that has no grant.
func refusedGrant(err error) error {
	switch {
	case errors.Is(err, grant.ErrUnauthenticated):
		return invalid(err)
	case errors.Is(err, grant.ErrNotSubscribed):
		return forbidden("NOT_SUBSCRIBED", "the application is not subscribed to this version of the API")
	case errors.Is(err, grant.ErrBusy):
		return unavailable("BUSY", "too many credentials are being checked", time.Second, err)
	case errors.Is(err, grant.ErrUnavailable):
		return unavailable("CREDENTIAL_UNCHECKED", "the credential cannot be checked now", 2*time.Second, err)
	default:
		return err
	}
}

// realm is what the challenge of RFC 6750 section 3 names.
const realm = `Bearer realm="tidegate"`

// missing is the answer to a request without a credential. As RFC 6750 has it,
// its challenge says nothing of an error.
func missing(places []credential.Place) *problem.Problem {
	names := make([]string, len(places))
	for i, p := range places {
		names[i] = p.String()
	}
	return &problem.Problem{
		Status: 401, Code: "CREDENTIAL_MISSING", Detail: "the API needs a credential; it is looked for in " + strings.Join(names, ", then in "),
		Header: []problem.Field{{Name: "WWW-Authenticate", Value: realm}},
	}
}

// invalid is the answer to every credential that is not good, whatever is wrong
// with it.
func invalid(cause error) *problem.Problem {
	return &problem.Problem{
		Status: 401, Code: "CREDENTIAL_INVALID", Detail: "the credential is not valid", Cause: cause,
		Header: []problem.Field{{Name: "WWW-Authenticate", Value: realm + `, error="invalid_token"`}},
	}
}
