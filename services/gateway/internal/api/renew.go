package api

import (
	"context"
	"errors"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/renewal"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// maxCredential is the longest credential there is, in bytes.
const maxCredential = 8192

// RenewSession gives a session another credential. That alone is the right to it, so nothing
// else is asked of the caller.
func (a *API) RenewSession(ctx context.Context, req *gatewayv1.RenewSessionRequest) (*gatewayv1.RenewSessionResponse, error) {
	if n := len(req.GetCredential()); n == 0 || n > maxCredential {
		return nil, fault.Invalid("credential", "must be an access token or an API key, of 1 to %d bytes", maxCredential)
	}
	ref, err := a.checkSession(req.GetName())
	if err != nil {
		return nil, err
	}
	g, err := a.gateway.Live.Renew(ctx, ref, renewal.Shown{Credential: req.GetCredential(), Client: clientaddr.From(ctx)})
	switch {
	case errors.Is(err, renewal.ErrNotFound):
		return nil, fault.NotFound("%s that this credential can renew", req.GetName())
	case errors.Is(err, renewal.ErrUnavailable):
		return nil, fault.Unavailable("the credential cannot be checked now")
	case err != nil:
		return nil, err
	}
	return &gatewayv1.RenewSessionResponse{Name: req.GetName(), ExpireTime: stamp(g.ExpireTime), Scopes: g.Scopes}, nil
}
