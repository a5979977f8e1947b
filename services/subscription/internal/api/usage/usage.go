package usage

import (
	"context"
	"strconv"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// ListUsage returns a page of usage.
func (a *API) ListUsage(ctx context.Context, req *usagev1.ListUsageRequest) (*usagev1.ListUsageResponse, error) {
	terms, err := page.Filter(req.GetFilter(), "subscription", "application", "version")
	if err != nil {
		return nil, err
	}
	var filter store.UsageFilter
	if filter.Subscription, filter.Application, filter.Version, err = nameTerms(terms); err != nil {
		return nil, err
	}
	p, err := page.New[store.UsageKey](req)
	if err != nil {
		return nil, err
	}
	rows := a.store.Usage(ctx, identity.From(ctx).Viewer(), filter, p.After)
	usage, next, err := page.Collect(p, rows, store.Usage.ListKey, usageProto)
	if err != nil {
		return nil, err
	}
	return &usagev1.ListUsageResponse{Usage: usage, NextPageToken: next}, nil
}

// nameTerms reads the names in a filter: it returns the ids of a subscription and
// of an application, and the name of a version.
func nameTerms(terms page.Terms) (subscription, application, version *string, err error) {
	subscription, err = page.Name(terms, "subscription", resourcename.ParseSubscription, func(n resourcename.Subscription) string { return n.Subscription })
	if err != nil {
		return nil, nil, nil, err
	}
	application, err = page.Name(terms, "application", resourcename.ParseApplication, func(n resourcename.Application) string { return n.Application })
	if err != nil {
		return nil, nil, nil, err
	}
	version, err = page.Name(terms, "version", resourcename.ParseVersion, resourcename.Version.String)
	return subscription, application, version, err
}

// reasonTerm reads the end reason in a filter: its word, or its number when this
// release has no word for it.
func reasonTerm(terms page.Terms) (*int64, error) {
	word := terms.Value("end_reason")
	if word == nil {
		return nil, nil
	}
	if n, ok := usagev1.EndReason_value["END_REASON_"+*word]; ok {
		return new(int64(n)), nil
	}
	n, err := strconv.ParseInt(*word, 10, 32)
	if err != nil {
		return nil, fault.Invalid("filter", "no end reason %q: use a word such as REVOKED", *word)
	}
	return &n, nil
}

// GetSessionRecord returns the record of an ended session.
func (a *API) GetSessionRecord(ctx context.Context, req *usagev1.GetSessionRecordRequest) (*usagev1.SessionRecord, error) {
	r, err := a.store.SessionRecord(ctx, identity.From(ctx).Viewer(), recordRef(req.GetName()))
	if err != nil {
		return nil, err
	}
	return recordProto(r), nil
}

// ListSessionRecords returns a page of records.
func (a *API) ListSessionRecords(ctx context.Context, req *usagev1.ListSessionRecordsRequest) (*usagev1.ListSessionRecordsResponse, error) {
	terms, err := page.Filter(req.GetFilter(), "version", "application", "subscription", "end_reason")
	if err != nil {
		return nil, err
	}
	var filter store.RecordFilter
	if filter.EndReason, err = reasonTerm(terms); err != nil {
		return nil, err
	}
	if filter.Subscription, filter.Application, filter.Version, err = nameTerms(terms); err != nil {
		return nil, err
	}
	p, err := page.New[sqldb.TimeKey](req)
	if err != nil {
		return nil, err
	}
	rows := a.store.SessionRecords(ctx, identity.From(ctx).Viewer(), filter, p.After)
	records, next, err := page.Collect(p, rows, store.SessionRecord.ListKey, recordProto)
	if err != nil {
		return nil, err
	}
	return &usagev1.ListSessionRecordsResponse{SessionRecords: records, NextPageToken: next}, nil
}
