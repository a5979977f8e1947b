package grants

import (
	"context"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// verifyKey judges an API key. Where a key is good from is a part of its grant: the
// gateway judges that for each handshake.
func (a *API) verifyKey(ctx context.Context, req *backplanev1.VerifyCredentialRequest) (*backplanev1.VerifyCredentialResponse, error) {
	if _, ok := a.keys.Of(req.GetCredential()); !ok {
		return a.denyInvalid(ctx)
	}
	return a.judgeKey(ctx, token.HashKey(req.GetCredential()), req.GetVersion())
}

// judgeKey judges the API key of which a value has this hash.
func (a *API) judgeKey(ctx context.Context, hash []byte, version string) (*backplanev1.VerifyCredentialResponse, error) {
	st, err := a.store.KeyState(ctx, hash, version)
	if err != nil {
		return nil, err
	}
	v := a.verdict(st.TokenState)
	switch {
	case !st.Known:
		// It was never made, or is gone, and never comes back.
		return v.deny(backplanev1.Denial_REASON_INVALID), nil
	case !st.ExpiresAt.IsZero() && !a.now().Before(st.ExpiresAt):
		return v.deny(backplanev1.Denial_REASON_EXPIRED), nil // an end is never moved to later
	}
	value := store.Token{ID: st.Value, Issued: st.Issued}
	if st.Revoked {
		return v.deny(backplanev1.Denial_REASON_REVOKED, store.GrantName(st.Value)), nil
	}
	return v.ofRights(grantProto(st.Grant, value, version, nil, st.ExpiresAt)), nil
}
