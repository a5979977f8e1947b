package subscription

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/resource"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api/request"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// CreateOAuthClientSecret adds a secret to an OAuth client; the answer has its
// value.
func (a *API) CreateOAuthClientSecret(ctx context.Context, req *subscriptionv1.CreateOAuthClientSecretRequest) (*subscriptionv1.OAuthClientSecret, error) {
	client, err := resource.ParseOAuthClient("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	if _, err := a.store.OAuthClient(ctx, request.Viewer(ctx), client); err != nil {
		return nil, err
	}
	if err := request.MayChange(ctx); err != nil {
		return nil, err
	}
	expires, err := a.secretExpiry(req.GetOauthClientSecret().GetExpireTime())
	if err != nil {
		return nil, err
	}
	value, hash := token.New(token.ClientSecret)
	s, err := a.store.CreateSecret(ctx, request.Viewer(ctx), client, expires, hash)
	if err != nil {
		return nil, err
	}
	out := secretProto(s)
	out.Secret = value
	return out, nil
}

// secretExpiry reads when a new secret is to end; the zero time is never.
func (a *API) secretExpiry(t *timestamppb.Timestamp) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if t.CheckValid() != nil || !t.AsTime().After(a.now()) {
		return time.Time{}, fault.Invalid("oauth_client_secret.expire_time", "must lie in the future")
	}
	return t.AsTime(), nil
}

// GetOAuthClientSecret returns a secret, without its value.
func (a *API) GetOAuthClientSecret(ctx context.Context, req *subscriptionv1.GetOAuthClientSecretRequest) (*subscriptionv1.OAuthClientSecret, error) {
	name, err := resource.ParseOAuthClientSecret("name", req.GetName())
	if err != nil {
		return nil, err
	}
	s, err := a.store.Secret(ctx, request.Viewer(ctx), name)
	if err != nil {
		return nil, err
	}
	return secretProto(s), nil
}

// ListOAuthClientSecrets returns a page of the secrets of an OAuth client,
// without their values.
func (a *API) ListOAuthClientSecrets(ctx context.Context, req *subscriptionv1.ListOAuthClientSecretsRequest) (*subscriptionv1.ListOAuthClientSecretsResponse, error) {
	client, err := resource.ParseOAuthClient("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	if _, err := a.store.OAuthClient(ctx, request.Viewer(ctx), client); err != nil {
		return nil, err
	}
	p, err := request.NewPage(req.GetPageSize(), req.GetPageToken(), 2, "secrets", req.GetParent())
	if err != nil {
		return nil, err
	}
	after, err := p.After()
	if err != nil {
		return nil, err
	}
	rows, err := a.store.Secrets(ctx, client.OAuthClient, after, p.Limit())
	if err != nil {
		return nil, err
	}
	resp := &subscriptionv1.ListOAuthClientSecretsResponse{}
	resp.OauthClientSecrets, resp.NextPageToken = request.Cut(p, rows, secretProto, func(s store.Secret) []string {
		return request.TimeKeys(s.CreatedAt.UnixMicro(), s.Name.Secret)
	})
	return resp, nil
}

// DeleteOAuthClientSecret removes a secret.
func (a *API) DeleteOAuthClientSecret(ctx context.Context, req *subscriptionv1.DeleteOAuthClientSecretRequest) (*emptypb.Empty, error) {
	name, err := resource.ParseOAuthClientSecret("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.store.DeleteSecret(ctx, request.Viewer(ctx), name); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
