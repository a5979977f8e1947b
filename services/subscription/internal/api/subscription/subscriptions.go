package subscription

import (
	"context"
	"errors"

	"google.golang.org/protobuf/types/known/emptypb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resource"
	"github.com/tidegatehq/tidegate/services/kit/validate"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api/request"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// CreateSubscription subscribes an application to a version.
func (a *API) CreateSubscription(ctx context.Context, req *subscriptionv1.CreateSubscriptionRequest) (*subscriptionv1.Subscription, error) {
	row, err := subscriptionRow(req.GetSubscription())
	if err != nil {
		return nil, err
	}
	if _, err := a.store.Application(ctx, request.Viewer(ctx), row.Application); err != nil {
		return nil, err
	}
	if err := request.MayChange(ctx); err != nil {
		return nil, err
	}
	return a.fresh(ctx, func() (store.Subscription, error) {
		return a.store.CreateSubscription(ctx, request.Viewer(ctx), row)
	})
}

// fresh does what rests on a version; when that is refused for what is known of
// the version, it reads the version from the catalog and tries once more.
func (a *API) fresh(ctx context.Context, do func() (store.Subscription, error)) (*subscriptionv1.Subscription, error) {
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
	name, err := resource.ParseSubscription("name", req.GetName())
	if err != nil {
		return nil, err
	}
	sub, err := a.store.Subscription(ctx, request.Viewer(ctx), name.Subscription)
	if err != nil {
		return nil, err
	}
	return subscriptionProto(sub), nil
}

// ListSubscriptions returns a page of subscriptions.
func (a *API) ListSubscriptions(ctx context.Context, req *subscriptionv1.ListSubscriptionsRequest) (*subscriptionv1.ListSubscriptionsResponse, error) {
	terms, err := request.Filter(req.GetFilter(), request.Field{Name: "application", Prefix: request.ApplicationsPrefix},
		request.Field{Name: "version", Form: request.VersionName}, request.Field{Name: "plan", Form: request.PlanName})
	if err != nil {
		return nil, err
	}
	p, err := request.NewPage(req.GetPageSize(), req.GetPageToken(), 2, "subscriptions", req.GetFilter())
	if err != nil {
		return nil, err
	}
	after, err := p.After()
	if err != nil {
		return nil, err
	}
	rows, err := a.store.Subscriptions(ctx, request.Viewer(ctx), terms, after, p.Limit())
	if err != nil {
		return nil, err
	}
	resp := &subscriptionv1.ListSubscriptionsResponse{}
	resp.Subscriptions, resp.NextPageToken = request.Cut(p, rows, subscriptionProto, func(s store.Subscription) []string {
		return request.TimeKeys(s.CreatedAt.UnixMicro(), s.ID)
	})
	return resp, nil
}

// UpdateSubscription changes a subscription's plan.
func (a *API) UpdateSubscription(ctx context.Context, req *subscriptionv1.UpdateSubscriptionRequest) (*subscriptionv1.Subscription, error) {
	name, err := resource.ParseSubscription("subscription.name", req.GetSubscription().GetName())
	if err != nil {
		return nil, err
	}
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetSubscription(), "plan")
	if err != nil {
		return nil, err
	}
	if _, err := a.store.Subscription(ctx, request.Viewer(ctx), name.Subscription); err != nil {
		return nil, err
	}
	if err := request.MayChange(ctx); err != nil {
		return nil, err
	}
	return a.fresh(ctx, func() (store.Subscription, error) {
		return a.store.UpdateSubscription(ctx, request.Viewer(ctx), name.Subscription, req.GetSubscription().GetEtag(), func(s *store.Subscription) error {
			next := subscriptionProto(*s)
			if err := u.Apply(next); err != nil {
				return err
			}
			if err := validate.Message(&subscriptionv1.CreateSubscriptionRequest{Subscription: next}); err != nil {
				return err
			}
			s.Plan = next.GetPlan()
			return nil
		})
	})
}

// DeleteSubscription removes a subscription.
func (a *API) DeleteSubscription(ctx context.Context, req *subscriptionv1.DeleteSubscriptionRequest) (*emptypb.Empty, error) {
	name, err := resource.ParseSubscription("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.store.DeleteSubscription(ctx, request.Viewer(ctx), name.Subscription, req.GetEtag()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
