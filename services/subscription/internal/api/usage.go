package api

import (
	"context"
	"strconv"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// ListUsage returns a page of usage.
func (a *API) ListUsage(ctx context.Context, req *usagev1.ListUsageRequest) (*usagev1.ListUsageResponse, error) {
	terms, err := filter(req.GetFilter(), field{name: "subscription", prefix: subscriptionsPrefix},
		field{name: "application", prefix: applicationsPrefix}, field{name: "version", form: versionName})
	if err != nil {
		return nil, err
	}
	p, err := newPage(req.GetPageSize(), req.GetPageToken(), 4, "usage", req.GetFilter())
	if err != nil {
		return nil, err
	}
	var after store.UsagePlace
	if p.keys != nil {
		after = store.UsagePlace{Version: p.keys[1], Subscription: p.keys[2], Application: p.keys[3]}
		if after.Hour, err = p.time(); err != nil {
			return nil, err
		}
	}
	rows, err := a.store.Usage(ctx, viewer(ctx), terms, after, p.limit())
	if err != nil {
		return nil, err
	}
	resp := &usagev1.ListUsageResponse{}
	resp.Usage, resp.NextPageToken = cut(p, rows, usageProto, func(u store.Usage) []string {
		return []string{strconv.FormatInt(u.Hour.UnixMicro(), 10), u.Version, u.Subscription, u.Application}
	})
	return resp, nil
}

// GetSessionRecord returns the record of an ended session.
func (a *API) GetSessionRecord(ctx context.Context, req *usagev1.GetSessionRecordRequest) (*usagev1.SessionRecord, error) {
	r, err := a.store.SessionRecord(ctx, viewer(ctx), recordRef(req.GetName()))
	if err != nil {
		return nil, err
	}
	return recordProto(r), nil
}

// ListSessionRecords returns a page of records.
func (a *API) ListSessionRecords(ctx context.Context, req *usagev1.ListSessionRecordsRequest) (*usagev1.ListSessionRecordsResponse, error) {
	terms, err := filter(req.GetFilter(), field{name: "version", form: versionName}, field{name: "application", prefix: applicationsPrefix},
		field{name: "subscription", prefix: subscriptionsPrefix}, field{name: "cause"})
	if err != nil {
		return nil, err
	}
	p, err := newPage(req.GetPageSize(), req.GetPageToken(), 2, "sessionRecords", req.GetFilter())
	if err != nil {
		return nil, err
	}
	before, err := p.before()
	if err != nil {
		return nil, err
	}
	rows, err := a.store.SessionRecords(ctx, viewer(ctx), terms, before, p.limit())
	if err != nil {
		return nil, err
	}
	resp := &usagev1.ListSessionRecordsResponse{}
	resp.SessionRecords, resp.NextPageToken = cut(p, rows, recordProto, func(r store.SessionRecord) []string {
		return timeKeys(r.EndedAt.UnixMicro(), r.Ref)
	})
	return resp, nil
}
