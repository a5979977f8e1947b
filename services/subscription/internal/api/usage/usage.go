package usage

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"

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
	query, err := usageQuery(req)
	if err != nil {
		return nil, err
	}
	p, err := page.New[store.UsageKey](req)
	if err != nil {
		return nil, err
	}
	viewer := identity.From(ctx).Viewer()
	// One more shows whether another page follows.
	rows, err := a.store.Usage(ctx, viewer, query, p.After, p.Size+1)
	if err != nil {
		return nil, err
	}
	if len(rows) == 0 {
		f := query.Filter
		if err := a.catalog.CheckNamed(ctx, viewer, store.Named{
			Application: f.Application, Subscription: f.Subscription, Version: f.Version, API: f.API, Plan: f.Plan,
		}); err != nil {
			return nil, err
		}
	}
	usage, next, err := page.Collect(p, each(rows), store.Usage.ListKey, usageProto)
	if err != nil {
		return nil, err
	}
	return &usagev1.ListUsageResponse{Usage: usage, NextPageToken: next}, nil
}

// each returns rows one after another.
func each[T any](rows []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, row := range rows {
			if !yield(row, nil) {
				return
			}
		}
	}
}

// usageQuery reads a request.
func usageQuery(req *usagev1.ListUsageRequest) (q store.UsageQuery, err error) {
	terms, err := page.Filter(req.GetFilter(), "subscription", "application", "version", "api", "plan")
	if err != nil {
		return q, err
	}
	f := &q.Filter
	if f.Subscription, f.Application, f.Version, err = nameTerms(terms); err != nil {
		return q, err
	}
	if f.API, err = page.Name(terms, "api", resourcename.ParseAPI, resourcename.API.String); err != nil {
		return q, err
	}
	if f.Plan, err = page.Name(terms, "plan", resourcename.ParsePlan, resourcename.Plan.String); err != nil {
		return q, err
	}
	f.Versions = req.GetVersions()
	begun, err := page.NewTimeRange(req)
	if err != nil {
		return q, err
	}
	for _, bound := range []struct {
		field  string
		micros *int64
		to     *time.Time
	}{{"start_time", begun.Start, &q.Start}, {"end_time", begun.End, &q.End}} {
		switch {
		case bound.micros == nil:
		case *bound.micros <= 0:
			return q, fault.Invalid(bound.field, "must be after 1970 began")
		default:
			*bound.to = time.UnixMicro(*bound.micros)
		}
	}
	if q.Step, err = step(req.GetStep()); err != nil {
		return q, err
	}
	q.GroupBy, q.Top, q.OrderBy = req.GetGroupBy(), int(req.GetTop()), cmp.Or(req.GetOrderBy(), "messages")
	if req.GetOrderBy() != "" && q.Top == 0 {
		return q, fault.Invalid("order_by", "says what top compares: set top too, or neither")
	}
	return q, nil
}

// step reads the length of the spans of usage; nil is 0.
func step(d *durationpb.Duration) (time.Duration, error) {
	length := d.AsDuration()
	const day = 24 * time.Hour
	for _, unit := range []struct{ of, in time.Duration }{{time.Minute, time.Hour}, {time.Hour, day}} {
		if length%unit.of == 0 && (length == 0 || unit.in%length == 0) {
			return length, nil
		}
	}
	if length%day != 0 {
		return 0, fault.Invalid("step", "must be whole minutes that divide an hour, whole hours that divide a day, or whole days")
	}
	return length, nil
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
	terms, err := page.Filter(req.GetFilter(), "version", "application", "subscription", "api_key", "end_reason", "code", "refused")
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
	if filter.APIKey, err = page.Name(terms, "api_key", resourcename.ParseAPIKey, resourcename.APIKey.String); err != nil {
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
			Application: filter.Application, Subscription: filter.Subscription, Version: filter.Version, APIKey: filter.APIKey,
		})
	}
	if err != nil {
		return nil, err
	}
	return &usagev1.ListSessionRecordsResponse{SessionRecords: records, NextPageToken: next}, nil
}
