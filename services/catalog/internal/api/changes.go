package api

import (
	"context"

	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
)

// WaitApplied waits until every connected gateway has applied a change.
func (a *API) WaitApplied(ctx context.Context, req *catalogv1.WaitAppliedRequest) (*catalogv1.WaitAppliedResponse, error) {
	applied, waiting, err := a.log.WaitApplied(ctx, req.GetNumber())
	if err != nil {
		return nil, err
	}
	return &catalogv1.WaitAppliedResponse{Applied: applied, Waiting: waiting}, nil
}

// ListChanges returns a page of the audit log, newest first.
func (a *API) ListChanges(ctx context.Context, req *catalogv1.ListChangesRequest) (*catalogv1.ListChangesResponse, error) {
	entries, token, err := a.log.List(ctx, req.GetPageSize(), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	resp := &catalogv1.ListChangesResponse{NextPageToken: token}
	for _, e := range entries {
		resp.Changes = append(resp.Changes, &changev1.Change{
			Number: e.Number, Actor: e.Actor, Action: e.Action, Resource: e.Resource, Time: timestamppb.New(e.Time),
		})
	}
	return resp, nil
}

// ListWatchers returns who watches the catalog.
func (a *API) ListWatchers(ctx context.Context, _ *catalogv1.ListWatchersRequest) (*catalogv1.ListWatchersResponse, error) {
	watchers, err := a.log.Watchers(ctx)
	if err != nil {
		return nil, err
	}
	return &catalogv1.ListWatchersResponse{Watchers: watchers}, nil
}
