package applications

import (
	"context"
	"errors"

	"google.golang.org/protobuf/types/known/emptypb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
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
	return a.withVersion(ctx, func() (store.Subscription, error) {
		return a.store.CreateSubscription(ctx, c.Viewer(), row, func(app store.Application) error {
			return c.MayChange(app.Owner)
		})
	})
}

// withVersion calls do, which depends on what is known of a version. When that
// knowledge, which may be old, makes do refuse, it reads the version from the
// catalog and calls do once more.
func (a *API) withVersion(ctx context.Context, do func() (store.Subscription, error)) (*subscriptionv1.Subscription, error) {
	sub, err := do()
	if refusal, ok := errors.AsType[*store.VersionRefusal](err); ok {
		found, readErr := a.catalog.Read(ctx, refusal.Version)
		if readErr != nil {
			return nil, readErr
		}
		if found {
			sub, err = do()
		}
	}
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

// ListSubscriptions returns a page of subscriptions.
func (a *API) ListSubscriptions(ctx context.Context, req *subscriptionv1.ListSubscriptionsRequest) (*subscriptionv1.ListSubscriptionsResponse, error) {
	filter, err := subscriptionFilter(req.GetFilter())
	if err != nil {
		return nil, err
	}
	p, err := page.New[sqldb.TimeKey](req)
	if err != nil {
		return nil, err
	}
	rows := a.store.Subscriptions(ctx, identity.From(ctx).Viewer(), filter, p.After)
	subs, next, err := page.Collect(p, rows, store.Subscription.ListKey, subscriptionProto)
	if err == nil && len(subs) == 0 {
		err = a.catalog.CheckNamed(ctx, identity.From(ctx).Viewer(), store.Named{Application: filter.Application, Version: filter.Version})
	}
	if err != nil {
		return nil, err
	}
	return &subscriptionv1.ListSubscriptionsResponse{Subscriptions: subs, NextPageToken: next}, nil
}

// subscriptionFilter reads the filter of a list of subscriptions.
func subscriptionFilter(text string) (f store.SubscriptionFilter, err error) {
	terms, err := page.Filter(text, "application", "version", "plan")
	if err != nil {
		return f, err
	}
	f.Application, err = page.Name(terms, "application", resourcename.ParseApplication, func(n resourcename.Application) string { return n.Application })
	if err != nil {
		return f, err
	}
	if f.Version, err = page.Name(terms, "version", resourcename.ParseVersion, resourcename.Version.String); err != nil {
		return f, err
	}
	f.Plan, err = page.Name(terms, "plan", resourcename.ParsePlan, resourcename.Plan.String)
	return f, err
}

// UpdateSubscription changes a subscription's plan.
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
		if err := c.MayChange(old.Owner); err != nil {
			return old, err
		}
		next := subscriptionProto(old)
		if err := u.Apply(next); err != nil {
			return old, err
		}
		old.Plan = next.GetPlan()
		return old, validate.Message(&subscriptionv1.CreateSubscriptionRequest{Subscription: next})
	}
	return a.withVersion(ctx, func() (store.Subscription, error) {
		return a.store.UpdateSubscription(ctx, c.Viewer(), name.Subscription, edit)
	})
}

// DeleteSubscription removes a subscription.
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
		return page.CheckEtag(req.GetEtag(), sub.Etag)
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
