package api

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/validate"
)

// CreatePlan adds a plan.
func (a *API) CreatePlan(ctx context.Context, req *catalogv1.CreatePlanRequest) (*catalogv1.Plan, error) {
	row := planRow(req.GetPlan())
	row.ID = id.New()
	var made *catalogv1.Plan
	err := a.write(ctx, func(w *writer) (string, error) {
		row.CreatedAt = w.now
		err := w.CreatePlan(ctx, row)
		if err == nil {
			made, err = w.changedPlan(ctx, row.ID)
		}
		return planName(row.ID), err
	})
	return made, err
}

// changedPlan reads a plan again after a write and adds it to the event.
func (w *writer) changedPlan(ctx context.Context, id string) (*catalogv1.Plan, error) {
	row, err := w.Plan(ctx, id)
	if err != nil {
		return nil, err
	}
	p := planProto(row)
	w.event.Plans = append(w.event.Plans, p)
	return p, nil
}

// GetPlan returns a plan.
func (a *API) GetPlan(ctx context.Context, req *catalogv1.GetPlanRequest) (*catalogv1.Plan, error) {
	row, err := a.store.Plan(ctx, planID(req.GetName()))
	if err != nil {
		return nil, err
	}
	return planProto(row), nil
}

// ListPlans returns a page of plans.
func (a *API) ListPlans(ctx context.Context, req *catalogv1.ListPlansRequest) (*catalogv1.ListPlansResponse, error) {
	terms, err := page.Filter(req.GetFilter(), "display_name")
	if err != nil {
		return nil, err
	}
	p, err := newPage(req.GetPageSize(), req.GetPageToken(), "plans", req.GetFilter())
	if err != nil {
		return nil, err
	}
	filter := store.PlanFilter{DisplayName: term(terms, "display_name")}
	plans, token, err := read(p, func(after store.After, limit int) ([]store.Plan, error) {
		return a.store.ListPlans(ctx, filter, after, limit)
	}, planProto)
	if err != nil {
		return nil, err
	}
	return &catalogv1.ListPlansResponse{Plans: plans, NextPageToken: token}, nil
}

// UpdatePlan changes a plan.
func (a *API) UpdatePlan(ctx context.Context, req *catalogv1.UpdatePlanRequest) (*catalogv1.Plan, error) {
	id, err := nameOfPlan("plan.name", req.GetPlan())
	if err != nil {
		return nil, err
	}
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetPlan(), "display_name", "description", "quota", "quota.messages", "quota.window")
	if err != nil {
		return nil, err
	}
	var changed *catalogv1.Plan
	err = a.write(ctx, func(w *writer) (string, error) {
		old, err := w.Plan(ctx, id)
		if err != nil {
			return "", err
		}
		if err := checkEtag(req.GetPlan().GetEtag(), old.Etag); err != nil {
			return "", err
		}
		next := planProto(old)
		if err := u.Apply(next); err != nil {
			return "", err
		}
		if err := validate.Message(&catalogv1.CreatePlanRequest{Plan: next}); err != nil {
			return "", err
		}
		row := planRow(next)
		row.ID, row.Etag, row.UpdatedAt = old.ID, old.Etag, w.now
		if err := w.UpdatePlan(ctx, row); err != nil {
			return "", err
		}
		changed, err = w.changedPlan(ctx, id)
		return planName(id), err
	})
	return changed, err
}

// DeletePlan removes a plan that no version offers.
func (a *API) DeletePlan(ctx context.Context, req *catalogv1.DeletePlanRequest) (*emptypb.Empty, error) {
	err := a.write(ctx, func(w *writer) (string, error) {
		row, err := w.Plan(ctx, planID(req.GetName()))
		if err != nil {
			return "", err
		}
		if err := checkEtag(req.GetEtag(), row.Etag); err != nil {
			return "", err
		}
		w.event.RemovedPlans = append(w.event.RemovedPlans, req.GetName())
		return req.GetName(), w.DeletePlan(ctx, row.ID, row.Etag)
	})
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
