package api

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// CreateKey adds a key to an application; the answer has its secret.
func (a *API) CreateKey(ctx context.Context, req *subscriptionv1.CreateKeyRequest) (*subscriptionv1.Key, error) {
	app, err := nameOf("parent", applicationsPrefix, req.GetParent())
	if err != nil {
		return nil, err
	}
	if _, err := a.store.Application(ctx, viewer(ctx), app); err != nil {
		return nil, err
	}
	if err := needRole(ctx, identity.RoleSubscriber); err != nil {
		return nil, err
	}
	secret, hash := token.New(token.ClientSecret)
	k, err := a.store.CreateKey(ctx, viewer(ctx), store.Key{
		Application: app, Type: store.KeyType(req.GetKey().GetType()), ConsumerKey: token.NewConsumerKey(),
	}, hash)
	if err != nil {
		return nil, err
	}
	return withSecret(k, secret), nil
}

// withSecret is a key with the secret that was made for it.
func withSecret(k store.Key, secret string) *subscriptionv1.Key {
	out := keyProto(k)
	out.ConsumerSecret = secret
	return out
}

// GetKey returns a key.
func (a *API) GetKey(ctx context.Context, req *subscriptionv1.GetKeyRequest) (*subscriptionv1.Key, error) {
	app, id, err := keyName("name", req.GetName())
	if err != nil {
		return nil, err
	}
	k, err := a.store.Key(ctx, viewer(ctx), app, id)
	if err != nil {
		return nil, err
	}
	return keyProto(k), nil
}

// ListKeys returns a page of the keys of an application.
func (a *API) ListKeys(ctx context.Context, req *subscriptionv1.ListKeysRequest) (*subscriptionv1.ListKeysResponse, error) {
	app, err := nameOf("parent", applicationsPrefix, req.GetParent())
	if err != nil {
		return nil, err
	}
	if _, err := a.store.Application(ctx, viewer(ctx), app); err != nil {
		return nil, err
	}
	p, err := newPage(req.GetPageSize(), req.GetPageToken(), 2, "keys", req.GetParent())
	if err != nil {
		return nil, err
	}
	after, err := p.after()
	if err != nil {
		return nil, err
	}
	rows, err := a.store.Keys(ctx, app, after, p.limit())
	if err != nil {
		return nil, err
	}
	resp := &subscriptionv1.ListKeysResponse{}
	resp.Keys, resp.NextPageToken = cut(p, rows, keyProto, func(k store.Key) []string {
		return timeKeys(k.CreatedAt.UnixMicro(), k.ID)
	})
	return resp, nil
}

// RegenerateSecret makes a new secret for a key; the answer has it.
func (a *API) RegenerateSecret(ctx context.Context, req *subscriptionv1.RegenerateSecretRequest) (*subscriptionv1.Key, error) {
	app, id, err := keyName("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if _, err := a.store.Key(ctx, viewer(ctx), app, id); err != nil {
		return nil, err
	}
	if err := needRole(ctx, identity.RoleSubscriber); err != nil {
		return nil, err
	}
	secret, hash := token.New(token.ClientSecret)
	k, err := a.store.SetSecret(ctx, viewer(ctx), app, id, req.GetEtag(), hash)
	if err != nil {
		return nil, err
	}
	return withSecret(k, secret), nil
}

// DeleteKey removes a key.
func (a *API) DeleteKey(ctx context.Context, req *subscriptionv1.DeleteKeyRequest) (*emptypb.Empty, error) {
	app, id, err := keyName("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.store.DeleteKey(ctx, viewer(ctx), app, id, req.GetEtag()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
