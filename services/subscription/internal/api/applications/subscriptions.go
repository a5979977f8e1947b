package applications

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/validate"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// CreateSubscription subscribes an application to a version.
func (a *API) CreateSubscription(ctx context.Context, req *subscriptionv1.CreateSubscriptionRequest) (*subscriptionv1.Subscription, error) {
	c := identity.From(ctx)
	row, err := subscriptionRow(req.GetSubscription())
	if err != nil {
		return nil, err
	}
	sub, err := withCatalog(ctx, a.catalog, func() (store.Subscription, error) {
		return a.store.CreateSubscription(ctx, requestid.Of(ctx, req), c.Viewer(), row, func(app store.Application) error {
			return c.MayChange(app.Owner)
		})
	})
	if err != nil {
		return nil, err
	}
	return subscriptionProto(sub), nil
}

// GetSubscription returns a subscription.
func (a *API) GetSubscription(ctx context.Context, req *subscriptionv1.GetSubscriptionRequest) (*subscriptionv1.Subscription, error) {
	name, err := resourcename.ParseSubscription("name", req.GetName())
	if err != nil {
		return nil, err
	}
	sub, err := a.store.Subscription(ctx, identity.From(ctx).Viewer(), name.Subscription)
	if err != nil {
		return nil, err
	}
	return subscriptionProto(sub), nil
}

// BatchGetSubscriptions returns subscriptions in the order of their names.
func (a *API) BatchGetSubscriptions(ctx context.Context, req *subscriptionv1.BatchGetSubscriptionsRequest) (*subscriptionv1.BatchGetSubscriptionsResponse, error) {
	ids, err := ids(req, resourcename.ParseSubscription, func(n resourcename.Subscription) string { return n.Subscription })
	if err != nil {
		return nil, err
	}
	rows, err := a.store.SubscriptionsNamed(ctx, identity.From(ctx).Viewer(), ids)
	if err != nil {
		return nil, err
	}
	all, err := inOrder(req, rows, subscriptionProto)
	return &subscriptionv1.BatchGetSubscriptionsResponse{Subscriptions: all}, err
}

// ListSubscriptions returns a page of subscriptions.
func (a *API) ListSubscriptions(ctx context.Context, req *subscriptionv1.ListSubscriptionsRequest) (*subscriptionv1.ListSubscriptionsResponse, error) {
	v := identity.From(ctx).Viewer()
	filter, err := subscriptionFilter(req.GetFilter(), v)
	if err != nil {
		return nil, err
	}
	p, err := page.New[sqldb.TimeKey](req)
	if err != nil {
		return nil, err
	}
	rows := a.store.Subscriptions(ctx, v, filter, p.After)
	subs, next, err := page.Collect(p, rows, store.Subscription.ListKey, subscriptionProto)
	if err == nil && len(subs) == 0 {
		err = a.catalog.CheckNamed(ctx, v, store.Named{
			Application: filter.Application, Version: filter.Version, Plan: filter.Plan,
		})
	}
	if err != nil {
		return nil, err
	}
	return &subscriptionv1.ListSubscriptionsResponse{Subscriptions: subs, NextPageToken: next}, nil
}

// subscriptionFilter reads the filter of a list of subscriptions.
func subscriptionFilter(text string, v identity.Viewer) (f store.SubscriptionFilter, err error) {
	terms, err := page.Filter(text, "application", "version", "plan", "state", "application_owner", "version_owner")
	if err != nil {
		return f, err
	}
	if f.State = terms.Value("state"); f.State != nil && *f.State != "ACTIVE" && *f.State != "BLOCKED" {
		return f, fault.Invalid("filter", "no state %q: there are ACTIVE, BLOCKED", *f.State)
	}
	f.Application, err = page.Name(terms, "application", resourcename.ParseApplication, func(n resourcename.Application) string { return n.Application })
	if err != nil {
		return f, err
	}
	if f.Version, err = page.Name(terms, "version", resourcename.ParseVersion, resourcename.Version.String); err != nil {
		return f, err
	}
	if f.Plan, err = page.Name(terms, "plan", resourcename.ParsePlan, resourcename.Plan.String); err != nil {
		return f, err
	}
	if f.Owner, err = userTerm(terms, "application_owner", v); err != nil {
		return f, err
	}
	f.VersionOwner, err = userTerm(terms, "version_owner", v)
	return f, err
}

// UpdateSubscription changes a subscription's plan. Who publishes the version may move it
// to any plan; who only owns the application chooses among those on offer.
func (a *API) UpdateSubscription(ctx context.Context, req *subscriptionv1.UpdateSubscriptionRequest) (*subscriptionv1.Subscription, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseSubscription("subscription.name", req.GetSubscription().GetName())
	if err != nil {
		return nil, err
	}
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetSubscription(), "plan")
	if err != nil {
		return nil, err
	}
	edit := func(old store.Subscription) (store.Subscription, error) {
		if err := mayMove(c, old); err != nil {
			return old, err
		}
		next := subscriptionProto(old)
		if err := u.Apply(next); err != nil {
			return old, err
		}
		old.Plan = next.GetPlan()
		return old, validate.Message(&subscriptionv1.CreateSubscriptionRequest{Subscription: next})
	}
	anyPlan := func(old store.Subscription) bool { return publishes(c, old) == nil }
	sub, err := withCatalog(ctx, a.catalog, func() (store.Subscription, error) {
		return a.store.UpdateSubscription(ctx, c.Viewer(), name.Subscription, anyPlan, edit)
	})
	if err != nil {
		return nil, err
	}
	return subscriptionProto(sub), nil
}

// mayMove returns why a caller who sees a subscription may not change its plan: it takes
// what MayChange asks of the application's owner, or what publishes asks.
func mayMove(c identity.Caller, sub store.Subscription) error {
	if publishes(c, sub) == nil {
		return nil
	}
	if c.Viewer().Sees(sub.Owner) {
		return c.MayChange(sub.Owner)
	}
	return publishes(c, sub)
}

// publishes returns why a caller may not do to a subscription what takes the version's
// owner with the role publisher, or an administrator.
func publishes(c identity.Caller, sub store.Subscription) error {
	if !c.Viewer().Sees(sub.VersionOwner) {
		return fault.Denied("only the version's owner and administrators may do this")
	}
	return c.MayActAs(identity.RolePublisher, sub.VersionOwner)
}

// BlockSubscription blocks a subscription.
func (a *API) BlockSubscription(ctx context.Context, req *subscriptionv1.BlockSubscriptionRequest) (*subscriptionv1.Subscription, error) {
	return a.setBlocked(ctx, req, a.store.BlockSubscription)
}

// RestoreSubscription lets a blocked subscription be used again.
func (a *API) RestoreSubscription(ctx context.Context, req *subscriptionv1.RestoreSubscriptionRequest) (*subscriptionv1.Subscription, error) {
	return a.setBlocked(ctx, req, a.store.RestoreSubscription)
}

// blocking is a request to block or to restore.
type blocking interface {
	GetName() string
	GetEtag() string
}

func (a *API) setBlocked(
	ctx context.Context, req blocking,
	set func(context.Context, identity.Viewer, string, func(store.Subscription) error) (store.Subscription, error),
) (*subscriptionv1.Subscription, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseSubscription("name", req.GetName())
	if err != nil {
		return nil, err
	}
	sub, err := set(ctx, c.Viewer(), name.Subscription, func(sub store.Subscription) error {
		if err := publishes(c, sub); err != nil {
			return err
		}
		return page.CheckEtag(req.GetEtag(), sub.Etag)
	})
	if err != nil {
		return nil, err
	}
	return subscriptionProto(sub), nil
}

// DeleteSubscription removes a subscription. A block is not lifted by subscribing again,
// so only administrators, who may restore it, delete one that is blocked.
func (a *API) DeleteSubscription(ctx context.Context, req *subscriptionv1.DeleteSubscriptionRequest) (*emptypb.Empty, error) {
	c := identity.From(ctx)
	name, err := resourcename.ParseSubscription("name", req.GetName())
	if err != nil {
		return nil, err
	}
	err = a.store.DeleteSubscription(ctx, c.Viewer(), name.Subscription, func(sub store.Subscription) error {
		if err := c.MayChange(sub.Owner); err != nil {
			return err
		}
		if sub.Blocked && !c.User.Has(identity.RoleAdmin) {
			return fault.WithReason(fault.Precondition("%s is blocked: it can be deleted once the version's owner or an administrator has restored it", name),
				fault.ReasonSubscriptionBlocked)
		}
		return page.CheckEtag(req.GetEtag(), sub.Etag)
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
