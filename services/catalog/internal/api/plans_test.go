package api

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

func TestSeededPlansSayWhetherTheirLimitsHold(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	list, err := f.ListPlans(ctx, &catalogv1.ListPlansRequest{}, f.sue)
	if err != nil || len(list.GetPlans()) != 8 || list.GetNextPageToken() != "" {
		t.Fatalf("ListPlans = %v, %v", list, err)
	}
	for _, p := range list.GetPlans() {
		if p.GetLimitsEnforced() != (p.GetQuota() == nil) {
			t.Errorf("%s: limits_enforced = %t with the quota %v", p.GetName(), p.GetLimitsEnforced(), p.GetQuota())
		}
	}
	list, err = f.ListPlans(ctx, &catalogv1.ListPlansRequest{Filter: `display_name = "asyncgold"`}, f.sue)
	if err != nil || len(list.GetPlans()) != 1 {
		t.Fatalf("ListPlans(asyncgold) = %v, %v", list, err)
	}
	got := list.GetPlans()[0]
	want := &catalogv1.Plan{
		Name: "plans/async-gold", DisplayName: "AsyncGold", Description: "50000 events a day.",
		Quota:      &catalogv1.Quota{Messages: 50000, Window: catalogv1.Quota_WINDOW_DAY},
		CreateTime: got.GetCreateTime(), UpdateTime: got.GetCreateTime(), Etag: "1",
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("AsyncGold (-want +got):\n%s", diff)
	}
}

func TestPlan(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	made, err := f.CreatePlan(ctx, &catalogv1.CreatePlanRequest{Plan: &catalogv1.Plan{
		DisplayName: "Platinum", Quota: &catalogv1.Quota{Messages: 10, Window: catalogv1.Quota_WINDOW_HOUR}, LimitsEnforced: true,
	}}, f.root)
	if err != nil {
		t.Fatal(err)
	}
	want := &catalogv1.Plan{
		Name: made.GetName(), DisplayName: "Platinum", Quota: &catalogv1.Quota{Messages: 10, Window: catalogv1.Quota_WINDOW_HOUR},
		CreateTime: made.GetCreateTime(), UpdateTime: made.GetCreateTime(), Etag: "1",
	}
	if diff := cmp.Diff(want, made, protocmp.Transform()); diff != "" {
		t.Errorf("CreatePlan (-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		mask []string
		plan *catalogv1.Plan
		want *catalogv1.Quota
	}{
		{[]string{"quota.messages"}, &catalogv1.Plan{Quota: &catalogv1.Quota{Messages: 20}}, &catalogv1.Quota{Messages: 20, Window: catalogv1.Quota_WINDOW_HOUR}},
		{[]string{"quota.window"}, &catalogv1.Plan{Quota: &catalogv1.Quota{Window: catalogv1.Quota_WINDOW_DAY}}, &catalogv1.Quota{Messages: 20, Window: catalogv1.Quota_WINDOW_DAY}},
		{nil, &catalogv1.Plan{Description: "Best."}, &catalogv1.Quota{Messages: 20, Window: catalogv1.Quota_WINDOW_DAY}},
		{[]string{"*"}, &catalogv1.Plan{DisplayName: "Platinum"}, nil},
	} {
		c.plan.Name = made.GetName()
		got, err := f.UpdatePlan(ctx, &catalogv1.UpdatePlanRequest{Plan: c.plan, UpdateMask: &fieldmaskpb.FieldMask{Paths: c.mask}}, f.root)
		if diff := cmp.Diff(c.want, got.GetQuota(), protocmp.Transform()); err != nil || diff != "" || got.GetLimitsEnforced() != (c.want == nil) {
			t.Errorf("UpdatePlan(%v) = %v, %v, want the quota %v", c.mask, got, err, c.want)
		}
	}
	if _, err := f.DeletePlan(ctx, &catalogv1.DeletePlanRequest{Name: made.GetName(), Etag: "5"}, f.root); err != nil {
		t.Fatal(err)
	}
	_, err = f.GetPlan(ctx, &catalogv1.GetPlanRequest{Name: made.GetName()}, f.root)
	wantError(t, "GetPlan of a deleted one", err, codes.NotFound, made.GetName()+" not found")
}
