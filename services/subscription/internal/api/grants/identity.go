package grants

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// SignBackendIdentity signs what a backend is told about a client.
func (a *API) SignBackendIdentity(_ context.Context, req *backplanev1.SignBackendIdentityRequest) (*backplanev1.SignBackendIdentityResponse, error) {
	raw, expires, err := a.signer.Sign(token.BackendIdentity{
		Version: req.GetVersion(), Application: req.GetApplication(), OAuthClient: req.GetOauthClient(), APIKey: req.GetApiKey(),
		Subscription: req.GetSubscription(), Stage: stageWord(req.GetStage()), Scopes: req.GetScopes(), Ref: req.GetRef(),
	})
	if err != nil {
		return nil, err
	}
	return &backplanev1.SignBackendIdentityResponse{Token: raw, ExpireTime: timestamppb.New(expires), ServerTime: timestamppb.New(a.now())}, nil
}

// stageWord is a stage as backends read it, "" for none.
func stageWord(s catalogv1.Stage) string {
	switch s {
	case catalogv1.Stage_STAGE_PRODUCTION:
		return "production"
	case catalogv1.Stage_STAGE_SANDBOX:
		return "sandbox"
	default:
		return ""
	}
}
