package quota

import (
	"context"
	"strings"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// ListQuotaUses returns a page of what was used of quotas.
func (a *API) ListQuotaUses(ctx context.Context, req *usagev1.ListQuotaUsesRequest) (*usagev1.ListQuotaUsesResponse, error) {
	terms, err := page.Filter(req.GetFilter(), "application", "version", "unit", "window")
	if err != nil {
		return nil, err
	}
	filter, err := nameTerms(terms)
	if err != nil {
		return nil, err
	}
	if filter.Unit, err = wordTerm(terms, "unit", units()); err != nil {
		return nil, err
	}
	if filter.Window, err = wordTerm(terms, "window", windows()); err != nil {
		return nil, err
	}
	p, err := page.New[store.QuotaUseKey](req)
	if err != nil {
		return nil, err
	}
	viewer := identity.From(ctx).Viewer()
	uses, next, err := page.Collect(p, a.store.QuotaUses(ctx, viewer, filter, p.After), store.QuotaUse.ListKey, useProto)
	if err == nil && len(uses) == 0 {
		err = a.catalog.CheckNamed(ctx, viewer, store.Named{Application: filter.Application, Version: filter.Version})
	}
	if err != nil {
		return nil, err
	}
	return &usagev1.ListQuotaUsesResponse{QuotaUses: uses, NextPageToken: next}, nil
}

// ListQuotaEvents returns a page of events.
func (a *API) ListQuotaEvents(ctx context.Context, req *usagev1.ListQuotaEventsRequest) (*usagev1.ListQuotaEventsResponse, error) {
	terms, err := page.Filter(req.GetFilter(), "application", "version")
	if err != nil {
		return nil, err
	}
	filter, err := nameTerms(terms)
	if err != nil {
		return nil, err
	}
	if filter.Noted, err = page.NewTimeRange(req); err != nil {
		return nil, err
	}
	p, err := page.New[store.QuotaEventKey](req)
	if err != nil {
		return nil, err
	}
	viewer := identity.From(ctx).Viewer()
	events, next, err := page.Collect(p, a.store.QuotaEvents(ctx, viewer, filter, p.After), store.QuotaEvent.ListKey, eventProto)
	if err == nil && len(events) == 0 {
		err = a.catalog.CheckNamed(ctx, viewer, store.Named{Application: filter.Application, Version: filter.Version})
	}
	if err != nil {
		return nil, err
	}
	return &usagev1.ListQuotaEventsResponse{QuotaEvents: events, NextPageToken: next}, nil
}

// ResetQuota sets what was used of a quota to zero.
func (a *API) ResetQuota(ctx context.Context, req *usagev1.ResetQuotaRequest) (*usagev1.QuotaUse, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseQuotaUse("name", req.GetName())
	if err != nil {
		return nil, err
	}
	use, err := a.store.ResetQuota(ctx, c.Viewer(), name.QuotaUse, mayChange(c))
	if err != nil {
		return nil, err
	}
	return useProto(use), nil
}

// AddQuota adds to a quota.
func (a *API) AddQuota(ctx context.Context, req *usagev1.AddQuotaRequest) (*usagev1.QuotaUse, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseQuotaUse("name", req.GetName())
	if err != nil {
		return nil, err
	}
	use, err := a.store.AddQuota(ctx, c.Viewer(), name.QuotaUse, req.GetAmount(), mayChange(c))
	if err != nil {
		return nil, err
	}
	return useProto(use), nil
}

// mayChange returns what refuses a caller who may see a quota and not change it.
func mayChange(c identity.Caller) func(store.QuotaUse) error {
	return func(q store.QuotaUse) error {
		switch {
		case c.Viewer().All:
			return nil
		case q.Key.Version == "":
			return fault.Denied("only administrators may change what is left of a quota of an application")
		case !c.Viewer().Sees(q.VersionOwner):
			return fault.Denied("only the version's owner and administrators may change what is left of a quota")
		}
		return c.MayChange(q.VersionOwner)
	}
}

// nameTerms reads the names in a filter.
func nameTerms(terms page.Terms) (f store.QuotaFilter, err error) {
	f.Application, err = page.Name(terms, "application", resourcename.ParseApplication, func(n resourcename.Application) string { return n.Application })
	if err != nil {
		return f, err
	}
	f.Version, err = page.Name(terms, "version", resourcename.ParseVersion, resourcename.Version.String)
	return f, err
}

// wordTerm reads a field of a filter that is one of some words.
func wordTerm(terms page.Terms, field string, words []word) (*int64, error) {
	value := terms.Value(field)
	if value == nil {
		return nil, nil
	}
	var all []string
	for _, w := range words {
		if w.text == *value {
			return new(w.number), nil
		}
		all = append(all, w.text)
	}
	return nil, fault.Invalid("filter", "no %s %q: there are %s", field, *value, strings.Join(all, ", "))
}
