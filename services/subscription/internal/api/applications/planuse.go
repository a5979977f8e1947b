package applications

import (
	"context"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
)

// CountPlanUse tells the catalog how much has a plan.
func (a *API) CountPlanUse(ctx context.Context, req *backplanev1.CountPlanUseRequest) (*backplanev1.CountPlanUseResponse, error) {
	use, err := a.store.PlanUse(ctx, req.GetPlan())
	if err != nil {
		return nil, err
	}
	return &backplanev1.CountPlanUseResponse{Subscriptions: use.Subscriptions, Applications: use.Applications}, nil
}
