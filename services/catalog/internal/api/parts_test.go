package api

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// TestPartsOfParts: a mask may name a field of an object within an object, as a PATCH without a
// mask does for what its body has; the rest of it stays.
func TestPartsOfParts(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	v := f.version(f.api("Echo"), "1.0.0")
	update := func(e *catalogv1.Endpoints, paths ...string) (*catalogv1.Version, error) {
		return f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
			Version: &catalogv1.Version{Name: v.GetName(), Endpoints: e}, UpdateMask: &fieldmaskpb.FieldMask{Paths: paths},
		}, f.ann)
	}
	first := &catalogv1.Endpoints{HealthCheck: &catalogv1.HealthCheck{Kind: catalogv1.HealthCheck_KIND_HTTP, HttpPath: "/healthz", UnhealthyAfter: 2}}
	if _, err := update(first, "endpoints.health_check.kind", "endpoints.health_check.http_path", "endpoints.health_check.unhealthy_after"); err != nil {
		t.Fatal(err)
	}
	got, err := update(&catalogv1.Endpoints{HealthCheck: &catalogv1.HealthCheck{HttpPath: "/alive"}}, "endpoints.health_check.http_path")
	want := &catalogv1.Endpoints{Production: v.GetEndpoints().GetProduction(), HealthCheck: first.GetHealthCheck()}
	want.HealthCheck.HttpPath = "/alive"
	if diff := cmp.Diff(want, got.GetEndpoints(), protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("UpdateVersion of a part of a part: %v (-want +got):\n%s", err, diff)
	}
	for _, path := range []string{"endpoints.health_check.colour", "endpoints.production.url"} {
		if _, err := update(first, path); status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), `update_mask: no field "`+path+`"`) {
			t.Errorf("UpdateVersion of %s = %v, want that there is no such field", path, err)
		}
	}
}
