package usage

import (
	"context"
	"strconv"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api/request"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// ListUsage returns a page of usage.
func (a *API) ListUsage(ctx context.Context, req *usagev1.ListUsageRequest) (*usagev1.ListUsageResponse, error) {
	terms, err := request.Filter(req.GetFilter(), request.Field{Name: "subscription", Prefix: request.SubscriptionsPrefix},
		request.Field{Name: "application", Prefix: request.ApplicationsPrefix}, request.Field{Name: "version", Form: request.VersionName})
	if err != nil {
		return nil, err
	}
	p, err := request.NewPage(req.GetPageSize(), req.GetPageToken(), 4, "usage", req.GetFilter())
	if err != nil {
		return nil, err
	}
	var after store.UsagePlace
	if p.Keys != nil {
		after = store.UsagePlace{Version: p.Keys[1], Subscription: p.Keys[2], Application: p.Keys[3]}
		if after.Hour, err = p.Time(); err != nil {
			return nil, err
		}
	}
	rows, err := a.store.Usage(ctx, request.Viewer(ctx), terms, after, p.Limit())
	if err != nil {
		return nil, err
	}
	resp := &usagev1.ListUsageResponse{}
	resp.Usage, resp.NextPageToken = request.Cut(p, rows, usageProto, func(u store.Usage) []string {
		return []string{strconv.FormatInt(u.Hour.UnixMicro(), 10), u.Version, u.Subscription, u.Application}
	})
	return resp, nil
}

// GetSessionRecord returns the record of an ended session.
func (a *API) GetSessionRecord(ctx context.Context, req *usagev1.GetSessionRecordRequest) (*usagev1.SessionRecord, error) {
	r, err := a.store.SessionRecord(ctx, request.Viewer(ctx), recordRef(req.GetName()))
	if err != nil {
		return nil, err
	}
	return recordProto(r), nil
}

// ListSessionRecords returns a page of records.
func (a *API) ListSessionRecords(ctx context.Context, req *usagev1.ListSessionRecordsRequest) (*usagev1.ListSessionRecordsResponse, error) {
	terms, err := request.Filter(req.GetFilter(), request.Field{Name: "version", Form: request.VersionName}, request.Field{Name: "application", Prefix: request.ApplicationsPrefix},
		request.Field{Name: "subscription", Prefix: request.SubscriptionsPrefix}, request.Field{Name: "cause"})
	if err != nil {
		return nil, err
	}
	p, err := request.NewPage(req.GetPageSize(), req.GetPageToken(), 2, "sessionRecords", req.GetFilter())
	if err != nil {
		return nil, err
	}
	before, err := p.Before()
	if err != nil {
		return nil, err
	}
	rows, err := a.store.SessionRecords(ctx, request.Viewer(ctx), terms, before, p.Limit())
	if err != nil {
		return nil, err
	}
	resp := &usagev1.ListSessionRecordsResponse{}
	resp.SessionRecords, resp.NextPageToken = request.Cut(p, rows, recordProto, func(r store.SessionRecord) []string {
		return request.TimeKeys(r.EndedAt.UnixMicro(), r.Ref)
	})
	return resp, nil
}
