package subscription

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/resource"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api/request"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// CreateOAuthClient adds an OAuth client, which has no secret yet.
func (a *API) CreateOAuthClient(ctx context.Context, req *subscriptionv1.CreateOAuthClientRequest) (*subscriptionv1.OAuthClient, error) {
	app, err := resource.ParseApplication("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	if _, err := a.store.Application(ctx, request.Viewer(ctx), app.Application); err != nil {
		return nil, err
	}
	if err := request.MayChange(ctx); err != nil {
		return nil, err
	}
	c, err := a.store.CreateOAuthClient(ctx, request.Viewer(ctx), store.OAuthClient{
		Name:  resource.OAuthClient{Application: app.Application},
		Stage: store.Stage(req.GetOauthClient().GetStage()), ClientID: token.NewClientID(),
	})
	if err != nil {
		return nil, err
	}
	return oauthClientProto(c), nil
}

// GetOAuthClient returns an OAuth client.
func (a *API) GetOAuthClient(ctx context.Context, req *subscriptionv1.GetOAuthClientRequest) (*subscriptionv1.OAuthClient, error) {
	name, err := resource.ParseOAuthClient("name", req.GetName())
	if err != nil {
		return nil, err
	}
	c, err := a.store.OAuthClient(ctx, request.Viewer(ctx), name)
	if err != nil {
		return nil, err
	}
	return oauthClientProto(c), nil
}

// ListOAuthClients returns a page of the OAuth clients of an application.
func (a *API) ListOAuthClients(ctx context.Context, req *subscriptionv1.ListOAuthClientsRequest) (*subscriptionv1.ListOAuthClientsResponse, error) {
	app, err := resource.ParseApplication("parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	if _, err := a.store.Application(ctx, request.Viewer(ctx), app.Application); err != nil {
		return nil, err
	}
	p, err := request.NewPage(req.GetPageSize(), req.GetPageToken(), 2, "oauthClients", req.GetParent())
	if err != nil {
		return nil, err
	}
	after, err := p.After()
	if err != nil {
		return nil, err
	}
	rows, err := a.store.OAuthClients(ctx, app.Application, after, p.Limit())
	if err != nil {
		return nil, err
	}
	resp := &subscriptionv1.ListOAuthClientsResponse{}
	resp.OauthClients, resp.NextPageToken = request.Cut(p, rows, oauthClientProto, func(c store.OAuthClient) []string {
		return request.TimeKeys(c.CreatedAt.UnixMicro(), c.Name.OAuthClient)
	})
	return resp, nil
}

// DeleteOAuthClient removes an OAuth client.
func (a *API) DeleteOAuthClient(ctx context.Context, req *subscriptionv1.DeleteOAuthClientRequest) (*emptypb.Empty, error) {
	name, err := resource.ParseOAuthClient("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.store.DeleteOAuthClient(ctx, request.Viewer(ctx), name, req.GetEtag()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
