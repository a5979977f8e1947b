package api

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

// CreatePlan adds a plan.
func (a *API) CreatePlan(ctx context.Context, req *catalogv1.CreatePlanRequest) (*catalogv1.Plan, error) {
	if err := completePlan(req.GetPlan()); err != nil {
		return nil, err
	}
	p, err := a.store.CreatePlan(ctx, requestid.Of(ctx, req), withPlan(store.Plan{}, req.GetPlan()))
	if err != nil {
		return nil, err
	}
	return p.Message(), nil
}

// GetPlan returns a plan.
func (a *API) GetPlan(ctx context.Context, req *catalogv1.GetPlanRequest) (*catalogv1.Plan, error) {
	name, err := resourcename.ParsePlan("name", req.GetName())
	if err != nil {
		return nil, err
	}
	p, err := a.store.Plan(ctx, name.Plan)
	if err != nil {
		return nil, err
	}
	return p.Message(), nil
}

// BatchGetPlans returns plans.
func (a *API) BatchGetPlans(ctx context.Context, req *catalogv1.BatchGetPlansRequest) (*catalogv1.BatchGetPlansResponse, error) {
	plans, err := batch(req, resourcename.ParsePlan, func(n resourcename.Plan) string { return n.Plan },
		func(ids []string) (map[string]store.Plan, error) { return a.store.PlansByID(ctx, ids) }, store.Plan.Message)
	if err != nil {
		return nil, err
	}
	return &catalogv1.BatchGetPlansResponse{Plans: plans}, nil
}

// ListPlans returns a page of plans.
func (a *API) ListPlans(ctx context.Context, req *catalogv1.ListPlansRequest) (*catalogv1.ListPlansResponse, error) {
	terms, err := page.Filter(req.GetFilter(), "display_name")
	if err != nil {
		return nil, err
	}
	p, err := page.New[store.ListPlace](req)
	if err != nil {
		return nil, err
	}
	order := orderOf(req.GetOrderBy())
	rows := a.store.Plans(ctx, store.PlanFilter{DisplayName: terms.Value("display_name"), Query: req.GetQuery()}, order, p.After)
	plans, next, err := page.Collect(p, rows, func(row store.Plan) store.ListPlace { return row.ListPlace(order) }, store.Plan.Message)
	if err != nil {
		return nil, err
	}
	return &catalogv1.ListPlansResponse{Plans: plans, NextPageToken: next}, nil
}

// UpdatePlan changes a plan.
func (a *API) UpdatePlan(ctx context.Context, req *catalogv1.UpdatePlanRequest) (*catalogv1.Plan, error) {
	name, err := resourcename.ParsePlan("plan.name", req.GetPlan().GetName())
	if err != nil {
		return nil, err
	}
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetPlan(), "display_name", "description", "limits", "billing", "price_label", "attributes")
	if err != nil {
		return nil, err
	}
	p, err := a.store.UpdatePlan(ctx, name.Plan, func(old store.Plan) (store.Plan, error) {
		next := old.Message()
		if err := u.Apply(next); err != nil {
			return old, err
		}
		if err := completePlan(next); err != nil {
			return old, err
		}
		return withPlan(old, next), nil
	})
	if err != nil {
		return nil, err
	}
	return p.Message(), nil
}

// DeletePlan removes a plan that nothing uses. What the subscription service knows of is
// counted before: a use that begins meanwhile is of a plan that is gone, under which
// gateways let nobody in.
func (a *API) DeletePlan(ctx context.Context, req *catalogv1.DeletePlanRequest) (*emptypb.Empty, error) {
	name, err := resourcename.ParsePlan("name", req.GetName())
	if err != nil {
		return nil, err
	}
	if _, err := a.store.Plan(ctx, name.Plan); err != nil {
		return nil, err
	}
	elsewhere, err := a.countPlanUse(ctx, name)
	if err != nil {
		return nil, err
	}
	err = a.store.DeletePlan(ctx, name.Plan, func(p store.Plan, use store.PlanUse) error {
		if err := page.CheckEtag(req.GetEtag(), p.Etag); err != nil {
			return err
		}
		return checkUnused(name, planUseProto(use, elsewhere))
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// GetPlanUse says what uses a plan.
func (a *API) GetPlanUse(ctx context.Context, req *catalogv1.GetPlanUseRequest) (*catalogv1.PlanUse, error) {
	name, err := resourcename.ParsePlan("name", req.GetName())
	if err != nil {
		return nil, err
	}
	use, err := a.store.PlanUse(ctx, name.Plan)
	if err != nil {
		return nil, err
	}
	elsewhere, err := a.countPlanUse(ctx, name)
	if err != nil {
		return nil, err
	}
	return planUseProto(use, elsewhere), nil
}

// countPlanUse asks the subscription service what has a plan.
func (a *API) countPlanUse(ctx context.Context, name resourcename.Plan) (*backplanev1.CountPlanUseResponse, error) {
	use, err := a.plans.CountPlanUse(ctx, &backplanev1.CountPlanUseRequest{Plan: name.String()})
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable("the subscription service, which knows who has the plan, does not answer now"), err)
	}
	return use, nil
}
