package api

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

// CreateDenyRule adds a deny rule.
func (a *API) CreateDenyRule(ctx context.Context, req *catalogv1.CreateDenyRuleRequest) (*catalogv1.DenyRule, error) {
	c := identity.From(ctx)
	row, err := withDenyRule(store.DenyRule{}, req.GetDenyRule())
	if err != nil {
		return nil, err
	}
	if row, err = a.store.CreateDenyRule(ctx, requestid.Of(ctx, req), c.Viewer(), row, mayDeny(c)); err != nil {
		return nil, err
	}
	return row.Message(), nil
}

// GetDenyRule returns a deny rule that the caller may see.
func (a *API) GetDenyRule(ctx context.Context, req *catalogv1.GetDenyRuleRequest) (*catalogv1.DenyRule, error) {
	name, err := resourcename.ParseDenyRule("name", req.GetName())
	if err != nil {
		return nil, err
	}
	row, err := a.store.DenyRule(ctx, identity.From(ctx).Viewer(), name.DenyRule)
	if err != nil {
		return nil, err
	}
	return row.Message(), nil
}

// ListDenyRules returns a page of the deny rules that the caller may see.
func (a *API) ListDenyRules(ctx context.Context, req *catalogv1.ListDenyRulesRequest) (*catalogv1.ListDenyRulesResponse, error) {
	v := identity.From(ctx).Viewer()
	filter, err := denyRuleFilter(req.GetFilter(), v)
	if err != nil {
		return nil, err
	}
	p, err := page.New[store.ListPlace](req)
	if err != nil {
		return nil, err
	}
	order := orderOf(req.GetOrderBy())
	rules, next, err := page.Collect(p, a.store.DenyRules(ctx, v, filter, order, p.After),
		func(row store.DenyRule) store.ListPlace { return row.ListPlace(order) }, store.DenyRule.Message)
	if err != nil {
		return nil, err
	}
	return &catalogv1.ListDenyRulesResponse{DenyRules: rules, NextPageToken: next}, nil
}

// denyRuleFilter reads the filter of a list of deny rules.
func denyRuleFilter(text string, v identity.Viewer) (f store.DenyRuleFilter, err error) {
	terms, err := page.Filter(text, "api", "application", "subscription", "creator", "client_address")
	if err != nil {
		return f, err
	}
	if f.API, err = page.Name(terms, "api", resourcename.ParseAPI, func(n resourcename.API) string { return n.API }); err != nil {
		return f, err
	}
	if f.Application, err = page.Name(terms, "application", resourcename.ParseApplication, func(n resourcename.Application) string { return n.Application }); err != nil {
		return f, err
	}
	if f.Subscription, err = page.Name(terms, "subscription", resourcename.ParseSubscription, func(n resourcename.Subscription) string { return n.Subscription }); err != nil {
		return f, err
	}
	f.Creator, err = page.Name(terms, "creator", resourcename.ParseUser, func(n resourcename.User) string {
		if n.User == resourcename.Me {
			return v.User
		}
		return n.User
	})
	if err != nil {
		return f, err
	}
	address, err := page.Name(terms, "client_address", parseClientAddress, netaddr.NetworkText)
	if address != nil {
		network, _ := netaddr.ParseNetwork(*address) // it has been written as one
		f.ClientAddress = &network
	}
	return f, err
}

// UpdateDenyRule changes a deny rule.
func (a *API) UpdateDenyRule(ctx context.Context, req *catalogv1.UpdateDenyRuleRequest) (*catalogv1.DenyRule, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseDenyRule("deny_rule.name", req.GetDenyRule().GetName())
	if err != nil {
		return nil, err
	}
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetDenyRule(),
		"api", "versions", "application", "subscription", "client_address", "reason", "expire_time")
	if err != nil {
		return nil, err
	}
	row, err := a.store.UpdateDenyRule(ctx, c.Viewer(), name.DenyRule, func(old store.DenyRule) (store.DenyRule, error) {
		if err := mayChangeDenyRule(c, old); err != nil {
			return old, err
		}
		next := old.Message()
		if err := u.Apply(next); err != nil {
			return old, err
		}
		return withDenyRule(old, next)
	}, mayDeny(c))
	if err != nil {
		return nil, err
	}
	return row.Message(), nil
}

// DeleteDenyRule removes a deny rule.
func (a *API) DeleteDenyRule(ctx context.Context, req *catalogv1.DeleteDenyRuleRequest) (*emptypb.Empty, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseDenyRule("name", req.GetName())
	if err != nil {
		return nil, err
	}
	err = a.store.DeleteDenyRule(ctx, c.Viewer(), name.DenyRule, func(row store.DenyRule) error {
		if err := mayChangeDenyRule(c, row); err != nil {
			return err
		}
		return page.CheckEtag(req.GetEtag(), row.Etag)
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// mayDeny returns the function that returns why the caller may not make a rule, or nil.
func mayDeny(c identity.Caller) func(store.DenyRule) error {
	return func(row store.DenyRule) error {
		if row.API == "" && !c.Viewer().All {
			return fault.Denied("a deny rule without an API takes an administrator: name an API of yours")
		}
		return c.MayChange(row.Owner)
	}
}

// mayChangeDenyRule returns why the caller may not change or delete a rule, or nil: what
// an administrator denies, no publisher lets in.
func mayChangeDenyRule(c identity.Caller, row store.DenyRule) error {
	if row.Administrative && !c.Viewer().All {
		return fault.Denied("an administrator made or changed this deny rule: only administrators change or delete it")
	}
	return c.MayChange(row.Owner)
}
