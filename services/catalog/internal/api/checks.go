package api

import (
	"context"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

// AllowEndpointCheck allows a check of an endpoint of a version that the caller owns.
func (a *API) AllowEndpointCheck(ctx context.Context, req *backplanev1.AllowEndpointCheckRequest) (*backplanev1.AllowEndpointCheckResponse, error) {
	c := identity.From(ctx)
	if c.User.Name == "" {
		return nil, identity.NoToken()
	}
	name, err := resourcename.ParseVersion("version", req.GetVersion())
	if err != nil {
		return nil, err
	}
	err = a.store.AllowEndpointCheck(ctx, c.Viewer(), name, func(v store.Version) error {
		if err := c.MayChange(v.Owner); err != nil {
			return err
		}
		of, what := v.Endpoints, "the stage"
		if req.GetHttp() {
			of, what = store.Endpoints{}, "HTTP in the stage"
			if v.HTTP != nil {
				of = v.HTTP.Endpoints
			}
		}
		stage, endpoints := "production", of.Production
		if req.GetStage() == catalogv1.Stage_STAGE_SANDBOX {
			stage, endpoints = "sandbox", of.Sandbox
		}
		if len(endpoints) == 0 {
			return fault.Precondition("the version has no endpoint for %s %s", what, stage)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &backplanev1.AllowEndpointCheckResponse{}, nil
}
