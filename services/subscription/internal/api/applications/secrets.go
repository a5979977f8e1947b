package applications

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/madesecret"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// CreateOAuthClientSecret adds a secret to an OAuth client. Only its first answer has the
// value.
func (a *API) CreateOAuthClientSecret(ctx context.Context, req *subscriptionv1.CreateOAuthClientSecretRequest) (*subscriptionv1.OAuthClientSecret, error) {
	c := identity.From(ctx)
	client, err := resourcename.ParseOAuthClient("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	expires, err := a.secretExpiry(req.GetOauthClientSecret().GetExpireTime())
	if err != nil {
		return nil, err
	}
	value, hash := token.New(madesecret.ClientSecret)
	s, made, err := a.store.CreateSecret(ctx, requestid.Of(ctx, req), c.Viewer(), client, expires, hash, func(row store.OAuthClient) error {
		return c.MayChange(row.Owner)
	})
	if err != nil {
		return nil, err
	}
	out := secretProto(s)
	if made {
		a.security.Write(ctx, securitylog.Event{Kind: securitylog.SecretMade, What: s.Name.String()})
		out.Secret = value
	}
	return out, nil
}

// secretExpiry reads when a new secret expires; the zero time means never.
func (a *API) secretExpiry(t *timestamppb.Timestamp) (time.Time, error) {
	if t == nil {
		return time.Time{}, nil
	}
	if t.CheckValid() != nil || !t.AsTime().After(a.now()) {
		return time.Time{}, fault.Invalid("oauth_client_secret.expire_time", "must be in the future")
	}
	return t.AsTime(), nil
}

// GetOAuthClientSecret returns a secret, without its value.
func (a *API) GetOAuthClientSecret(ctx context.Context, req *subscriptionv1.GetOAuthClientSecretRequest) (*subscriptionv1.OAuthClientSecret, error) {
	name, err := resourcename.ParseOAuthClientSecret("name", req.GetName())
	if err != nil {
		return nil, err
	}
	s, err := a.store.Secret(ctx, identity.From(ctx).Viewer(), name)
	if err != nil {
		return nil, err
	}
	return secretProto(s), nil
}

// ListOAuthClientSecrets returns a page of the secrets of an OAuth client,
// without their values.
func (a *API) ListOAuthClientSecrets(ctx context.Context, req *subscriptionv1.ListOAuthClientSecretsRequest) (*subscriptionv1.ListOAuthClientSecretsResponse, error) {
	client, err := resourcename.ParseOAuthClient("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	v := identity.From(ctx).Viewer()
	if _, err := a.store.OAuthClient(ctx, v, client); err != nil {
		return nil, err
	}
	p, err := page.New[sqldb.TimeKey](req)
	if err != nil {
		return nil, err
	}
	secrets, next, err := page.Collect(p, a.store.Secrets(ctx, v, client, p.After), store.Secret.ListKey, secretProto)
	if err != nil {
		return nil, err
	}
	return &subscriptionv1.ListOAuthClientSecretsResponse{OauthClientSecrets: secrets, NextPageToken: next}, nil
}

// DeleteOAuthClientSecret removes a secret.
func (a *API) DeleteOAuthClientSecret(ctx context.Context, req *subscriptionv1.DeleteOAuthClientSecretRequest) (*emptypb.Empty, error) {
	name, err := resourcename.ParseOAuthClientSecret("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.store.DeleteSecret(ctx, identity.From(ctx).Viewer(), name); err != nil {
		return nil, err
	}
	a.security.Write(ctx, securitylog.Event{Kind: securitylog.Revoked, What: name.String()})
	return &emptypb.Empty{}, nil
}
