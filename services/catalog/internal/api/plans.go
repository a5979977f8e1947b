package api

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/validate"
)

// CreatePlan adds a plan.
func (a *API) CreatePlan(ctx context.Context, req *catalogv1.CreatePlanRequest) (*catalogv1.Plan, error) {
	p, err := a.store.CreatePlan(ctx, withPlan(store.Plan{}, req.GetPlan()))
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

// ListPlans returns a page of plans.
func (a *API) ListPlans(ctx context.Context, req *catalogv1.ListPlansRequest) (*catalogv1.ListPlansResponse, error) {
	terms, err := page.Filter(req.GetFilter(), "display_name")
	if err != nil {
		return nil, err
	}
	p, err := page.New[sqldb.TimeKey](req)
	if err != nil {
		return nil, err
	}
	rows := a.store.Plans(ctx, store.PlanFilter{DisplayName: terms.Value("display_name")}, p.After)
	plans, next, err := page.Collect(p, rows, store.Plan.ListKey, store.Plan.Message)
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
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetPlan(), "display_name", "description", "limits")
	if err != nil {
		return nil, err
	}
	p, err := a.store.UpdatePlan(ctx, name.Plan, func(old store.Plan) (store.Plan, error) {
		next := old.Message()
		if err := u.Apply(next); err != nil {
			return old, err
		}
		return withPlan(old, next), validate.Message(&catalogv1.CreatePlanRequest{Plan: next})
	})
	if err != nil {
		return nil, err
	}
	return p.Message(), nil
}

// DeletePlan removes a plan that no version offers.
func (a *API) DeletePlan(ctx context.Context, req *catalogv1.DeletePlanRequest) (*emptypb.Empty, error) {
	name, err := resourcename.ParsePlan("name", req.GetName())
	if err != nil {
		return nil, err
	}
	err = a.store.DeletePlan(ctx, name.Plan, func(p store.Plan) error {
		return page.CheckEtag(req.GetEtag(), p.Etag)
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// GetPlanUse says what uses a plan.
func (a *API) GetPlanUse(context.Context, *catalogv1.GetPlanUseRequest) (*catalogv1.PlanUse, error) {
	return nil, status.Error(codes.Unimplemented, "not yet")
}
