package usage

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/ref"
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
	if filter.Begun, err = page.NewTimeRange(req); err != nil {
		return nil, err
	}
	if filter.Subscription, filter.Application, filter.Version, err = nameTerms(terms); err != nil {
		return nil, err
	}
	p, err := page.New[store.UsageKey](req)
	if err != nil {
		return nil, err
	}
	rows := a.store.Usage(ctx, identity.From(ctx).Viewer(), filter, p.After)
	usage, next, err := page.Collect(p, rows, store.Usage.ListKey, usageProto)
	if err == nil && len(usage) == 0 {
		err = a.catalog.CheckNamed(ctx, identity.From(ctx).Viewer(), store.Named{
			Application: filter.Application, Subscription: filter.Subscription, Version: filter.Version,
		})
	}
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
	if n := usagev1.EndReason_value["END_REASON_"+*word]; n != 0 {
		return new(int64(n)), nil
	}
	n, err := strconv.ParseInt(*word, 10, 32)
	if err != nil || n <= 0 {
		return nil, fault.Invalid("filter", "no end_reason %q: there are %s, and the numbers of newer gateways", *word, strings.Join(reasonWords(), ", "))
	}
	return &n, nil
}

// refusedTerm reads in a filter whether records are of refused handshakes.
func refusedTerm(terms page.Terms) (*bool, error) {
	switch word := terms.Value("refused"); {
	case word == nil:
		return nil, nil
	case *word == "true" || *word == "false":
		return new(*word == "true"), nil
	default:
		return nil, fault.Invalid("filter", `refused must be "true" or "false"`)
	}
}

// reasonWords returns the words of all end reasons, in the order of their numbers.
func reasonWords() (words []string) {
	values := usagev1.EndReason(0).Descriptor().Values()
	for i := range values.Len() {
		if v := values.Get(i); v.Number() != 0 {
			words = append(words, strings.TrimPrefix(string(v.Name()), "END_REASON_"))
		}
	}
	return words
}

// GetSessionRecord returns the record of an ended session or a refused handshake.
func (a *API) GetSessionRecord(ctx context.Context, req *usagev1.GetSessionRecordRequest) (*usagev1.SessionRecord, error) {
	viewer := identity.From(ctx).Viewer()
	r, err := a.store.SessionRecord(ctx, viewer, recordRef(req.GetName()))
	if fault.Is(err, codes.NotFound) {
		return nil, a.leftOut(ctx, viewer, req.GetName(), err)
	}
	if err != nil {
		return nil, err
	}
	return recordProto(r), nil
}

// leftOut returns why there is no record of this name: notFound, unless records of its
// hour that the viewer may see were left out. Its ref may be made up: only the hour is
// known, and nothing that the viewer may not know of the hour. The metadata of the error
// have the hour and, as CODE=NUMBER with a comma between, how many were left out.
func (a *API) leftOut(ctx context.Context, viewer identity.Viewer, name string, notFound error) error {
	hour, ok := ref.Hour(recordRef(name))
	if !ok {
		return notFound
	}
	reasons, err := a.store.ReasonsLeftOut(ctx, viewer, hour)
	if err != nil {
		return err
	}
	if len(reasons) == 0 {
		return notFound
	}
	var text, list []string
	for _, r := range reasons {
		word := cmp.Or(r.Code, endReasonWord(r.EndReason))
		text = append(text, fmt.Sprintf("%d %s", r.Number, word))
		list = append(list, fmt.Sprintf("%s=%d", word, r.Number))
	}
	from := hour.Format(time.RFC3339)
	return fault.WithReason(fault.NotFound(
		"of the hour from %s, these records were left out, as there were more than are kept: %s; %s is one of them, or was never given: it is not found",
		from, strings.Join(text, ", "), name), fault.ReasonRecordLeftOut, "hour", from, "leftOut", strings.Join(list, ","))
}

// ListSessionRecords returns a page of records.
func (a *API) ListSessionRecords(ctx context.Context, req *usagev1.ListSessionRecordsRequest) (*usagev1.ListSessionRecordsResponse, error) {
	terms, err := page.Filter(req.GetFilter(), "version", "application", "subscription", "end_reason", "code", "refused")
	if err != nil {
		return nil, err
	}
	var filter store.RecordFilter
	filter.Code = terms.Value("code")
	if filter.EndReason, err = reasonTerm(terms); err != nil {
		return nil, err
	}
	if filter.Refused, err = refusedTerm(terms); err != nil {
		return nil, err
	}
	if filter.Ended, err = page.NewTimeRange(req); err != nil {
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
	if err == nil && len(records) == 0 {
		err = a.catalog.CheckNamed(ctx, identity.From(ctx).Viewer(), store.Named{
			Application: filter.Application, Subscription: filter.Subscription, Version: filter.Version,
		})
	}
	if err != nil {
		return nil, err
	}
	return &usagev1.ListSessionRecordsResponse{SessionRecords: records, NextPageToken: next}, nil
}
