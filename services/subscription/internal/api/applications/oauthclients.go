package applications

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// CreateOAuthClient adds an OAuth client, which has no secret yet.
func (a *API) CreateOAuthClient(ctx context.Context, req *subscriptionv1.CreateOAuthClientRequest) (*subscriptionv1.OAuthClient, error) {
	c := identity.From(ctx)
	parent, err := resourcename.ParseApplication("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	client := store.OAuthClient{
		Name:  resourcename.OAuthClient{Application: parent.Application},
		Stage: store.Stage(req.GetOauthClient().GetStage()), ClientID: token.NewClientID(),
	}
	client, err = a.store.CreateOAuthClient(ctx, requestid.Of(ctx, req), c.Viewer(), client, func(app store.Application) error {
		return c.MayChange(app.Owner)
	})
	if err != nil {
		return nil, err
	}
	return oauthClientProto(client), nil
}

// GetOAuthClient returns an OAuth client.
func (a *API) GetOAuthClient(ctx context.Context, req *subscriptionv1.GetOAuthClientRequest) (*subscriptionv1.OAuthClient, error) {
	name, err := resourcename.ParseOAuthClient("name", req.GetName())
	if err != nil {
		return nil, err
	}
	c, err := a.store.OAuthClient(ctx, identity.From(ctx).Viewer(), name)
	if err != nil {
		return nil, err
	}
	return oauthClientProto(c), nil
}

// ListOAuthClients returns a page of the OAuth clients of an application.
func (a *API) ListOAuthClients(ctx context.Context, req *subscriptionv1.ListOAuthClientsRequest) (*subscriptionv1.ListOAuthClientsResponse, error) {
	v := identity.From(ctx).Viewer()
	parent, err := resourcename.ParseApplication("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	if _, err := a.store.Application(ctx, v, parent.Application); err != nil {
		return nil, err
	}
	p, err := page.New[sqldb.TimeKey](req)
	if err != nil {
		return nil, err
	}
	rows := a.store.OAuthClients(ctx, v, parent.Application, p.After)
	clients, next, err := page.Collect(p, rows, store.OAuthClient.ListKey, oauthClientProto)
	if err != nil {
		return nil, err
	}
	return &subscriptionv1.ListOAuthClientsResponse{OauthClients: clients, NextPageToken: next}, nil
}

// DeleteOAuthClient removes an OAuth client.
func (a *API) DeleteOAuthClient(ctx context.Context, req *subscriptionv1.DeleteOAuthClientRequest) (*emptypb.Empty, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseOAuthClient("name", req.GetName())
	if err != nil {
		return nil, err
	}
	err = a.store.DeleteOAuthClient(ctx, c.Viewer(), name, func(client store.OAuthClient) error {
		if err := c.MayChange(client.Owner); err != nil {
			return err
		}
		return page.CheckEtag(req.GetEtag(), client.Etag)
	})
	if err != nil {
		return nil, err
	}
	a.security.Write(ctx, securitylog.Event{Kind: securitylog.Revoked, What: name.String()})
	return &emptypb.Empty{}, nil
}
