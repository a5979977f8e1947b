package api

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// WaitApplied waits until every connected gateway has applied a change.
func (a *API) WaitApplied(ctx context.Context, req *subscriptionv1.WaitAppliedRequest) (*subscriptionv1.WaitAppliedResponse, error) {
	applied, waiting, err := a.changes.WaitApplied(ctx, req.GetNumber())
	if err != nil {
		return nil, err
	}
	return &subscriptionv1.WaitAppliedResponse{Applied: applied, Waiting: waiting}, nil
}

// ListChanges returns a page of the audit log, newest first.
func (a *API) ListChanges(ctx context.Context, req *subscriptionv1.ListChangesRequest) (*subscriptionv1.ListChangesResponse, error) {
	entries, next, err := a.changes.List(ctx, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	resp := &subscriptionv1.ListChangesResponse{NextPageToken: next}
	for _, e := range entries {
		resp.Changes = append(resp.Changes, &changev1.Change{
			Number: e.Number, Actor: e.Actor, Action: e.Action, Resource: e.Resource, Time: timestamppb.New(e.Time),
		})
	}
	return resp, nil
}

// ListWatchers returns the gateways that watch grants.
func (a *API) ListWatchers(ctx context.Context, _ *subscriptionv1.ListWatchersRequest) (*subscriptionv1.ListWatchersResponse, error) {
	watchers, err := a.changes.Watchers(ctx)
	if err != nil {
		return nil, err
	}
	return &subscriptionv1.ListWatchersResponse{Watchers: watchers}, nil
}
