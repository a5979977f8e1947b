package api

import (
	"fmt"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

func TestAllowEndpointCheck(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		v := f.version(f.api("Echo"), "1.0.0")
		portal := backplanev1.NewEndpointCheckServiceClient(f.dial(f.services, identity.Portal))
		gateway := backplanev1.NewEndpointCheckServiceClient(f.dial(f.services, identity.Gateway))
		production := &backplanev1.AllowEndpointCheckRequest{Version: v.GetName()}
		sandbox := &backplanev1.AllowEndpointCheckRequest{Version: v.GetName(), Stage: catalogv1.Stage_STAGE_SANDBOX}
		plain := &backplanev1.AllowEndpointCheckRequest{Version: v.GetName(), Http: true}
		none := &backplanev1.AllowEndpointCheckRequest{Version: "apis/none/versions/none"}
		for _, c := range []struct {
			name    string
			client  backplanev1.EndpointCheckServiceClient
			req     *backplanev1.AllowEndpointCheckRequest
			opts    []grpc.CallOption
			code    codes.Code
			message string
		}{
			{"a gateway", gateway, production, []grpc.CallOption{f.ann}, codes.PermissionDenied, "only services call this method"},
			{"nobody", portal, production, nil, codes.Unauthenticated, "sign in first: the call carries no token"},
			{"a user who does not see it", portal, production, []grpc.CallOption{f.bob}, codes.NotFound, v.GetName() + " not found"},
			{"a publisher who does not own it", portal, production, []grpc.CallOption{f.pete}, codes.PermissionDenied, "only its owner and administrators may do this"},
			{"a stage without an endpoint", portal, sandbox, []grpc.CallOption{f.ann}, codes.FailedPrecondition, "the version has no endpoint for the stage sandbox"},
			{"HTTP that the version does not have", portal, plain, []grpc.CallOption{f.ann}, codes.FailedPrecondition, "the version has no endpoint for HTTP in the stage production"},
			{"no version", portal, none, []grpc.CallOption{f.ann}, codes.NotFound, "apis/none/versions/none not found"},
		} {
			_, err := c.client.AllowEndpointCheck(ctx, c.req, c.opts...)
			wantError(t, "AllowEndpointCheck by "+c.name, err, c.code, c.message)
		}
		// Ten a minute, at once too, and refused ones do not count.
		errs := make(chan error)
		for range 15 {
			go func() {
				_, err := portal.AllowEndpointCheck(ctx, production, f.ann)
				errs <- err
			}()
		}
		allowed := 0
		for range 15 {
			err := <-errs
			if err == nil {
				allowed++
				continue
			}
			wantError(t, "AllowEndpointCheck", err, codes.ResourceExhausted,
				"you have had 10 endpoints checked within a minute, as many as a user may: try again in a minute")
			if fault.RetryDelay(err) == 0 {
				t.Errorf("%v does not say when to try again", err)
			}
		}
		if allowed != 10 {
			t.Errorf("%d of 15 checks were allowed, want 10", allowed)
		}
		if _, err := portal.AllowEndpointCheck(ctx, production, f.root); err != nil {
			t.Errorf("AllowEndpointCheck by another user: %v", err)
		}
		list, err := f.ListChanges(ctx, &changev1.ListChangesRequest{Parent: "services/catalog", Filter: `action = "CheckEndpoint"`}, f.root)
		if err != nil {
			t.Fatal(err)
		}
		actors := map[string]int{}
		for _, c := range list.GetChanges() {
			actors[fmt.Sprintf("%s checks %s %s", c.GetActor(), c.GetResourceDisplayName(), c.GetResource())]++
		}
		echo := " checks Echo/1.0.0 " + v.GetName()
		if len(actors) != 2 || actors["users/ann"+echo] != 10 || actors["users/root"+echo] != 1 {
			t.Errorf("the audit log says %v, want 10 checks by ann and one by root", actors)
		}
	})
}
