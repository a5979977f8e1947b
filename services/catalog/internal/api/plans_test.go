package api

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// quota is a quota of messages as it is sent.
func quota(amount int64, window catalogv1.Quota_Window) *catalogv1.Limit {
	return &catalogv1.Limit{Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{
		Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: amount, Window: window,
	}}}
}

// held is a quota of messages as it holds.
func held(name string, amount int64, window catalogv1.Quota_Window) *catalogv1.Limit {
	l := quota(amount, window)
	l.Name, l.Reaction, l.GetQuota().OnOutage = name, catalogv1.Limit_REACTION_DROP, catalogv1.Quota_OUTAGE_ALLOW
	return l
}

func TestShippedPlans(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	list, err := f.ListPlans(ctx, &catalogv1.ListPlansRequest{}, f.sue)
	if err != nil || list.GetNextPageToken() != "" {
		t.Fatalf("ListPlans = %v, %v", list, err)
	}
	limits := map[string][]*catalogv1.Limit{}
	for _, p := range list.GetPlans() {
		limits[p.GetDisplayName()] = p.GetLimits()
	}
	minute, day := catalogv1.Quota_WINDOW_MINUTE, catalogv1.Quota_WINDOW_DAY
	want := map[string][]*catalogv1.Limit{
		"Unlimited": nil, "AsyncUnlimited": nil,
		"Gold":                         {held("messages-per-minute", 5000, minute)},
		"Silver":                       {held("messages-per-minute", 2000, minute)},
		"Bronze":                       {held("messages-per-minute", 1000, minute)},
		"AsyncGold":                    {held("messages-per-day", 50000, day)},
		"AsyncSilver":                  {held("messages-per-day", 25000, day)},
		"AsyncBronze":                  {held("messages-per-day", 5000, day)},
		"AsyncDefaultSubscriptionless": {held("messages-per-day", 10000, day)},
	}
	if diff := cmp.Diff(want, limits, protocmp.Transform()); diff != "" {
		t.Errorf("limits of the shipped plans (-want +got):\n%s", diff)
	}
	list, err = f.ListPlans(ctx, &catalogv1.ListPlansRequest{Filter: `display_name = "asyncgold"`}, f.sue)
	if err != nil || len(list.GetPlans()) != 1 {
		t.Fatalf("ListPlans(asyncgold) = %v, %v", list, err)
	}
	got := list.GetPlans()[0]
	gold := &catalogv1.Plan{
		Name: "plans/async-gold", DisplayName: "AsyncGold", Description: "50000 messages a day.", Billing: catalogv1.Plan_BILLING_FREE,
		Limits: want["AsyncGold"], CreateTime: got.GetCreateTime(), UpdateTime: got.GetCreateTime(), Etag: "1",
	}
	if diff := cmp.Diff(gold, got, protocmp.Transform()); diff != "" {
		t.Errorf("AsyncGold (-want +got):\n%s", diff)
	}
	fetched, err := f.routes.FetchPlan(ctx, &backplanev1.FetchPlanRequest{Name: "plans/async-gold"})
	if diff := cmp.Diff(gold, fetched, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("FetchPlan of AsyncGold: %v (-want +got):\n%s", err, diff)
	}
}

func TestPlan(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		hour, day := catalogv1.Quota_WINDOW_HOUR, catalogv1.Quota_WINDOW_DAY
		rate := &catalogv1.Rate{Unit: catalogv1.Unit_UNIT_BYTES, Amount: 1 << 20, Per: durationpb.New(time.Second)}
		made, err := f.CreatePlan(ctx, &catalogv1.CreatePlanRequest{Plan: &catalogv1.Plan{
			DisplayName: "Platinum", Billing: catalogv1.Plan_BILLING_COMMERCIAL, PriceLabel: "10 EUR a month",
			Attributes: map[string]string{"support": "24/7", "region": "", "A.b_c-1": "x"},
			Limits:     []*catalogv1.Limit{quota(10, hour), {Kind: &catalogv1.Limit_Rate{Rate: rate}}},
		}}, f.root)
		if err != nil {
			t.Fatal(err)
		}
		rate.Burst, rate.Direction, rate.LongestPause = 1<<20, catalogv1.Direction_DIRECTION_BOTH, durationpb.New(10*time.Second)
		want := &catalogv1.Plan{
			Name: made.GetName(), DisplayName: "Platinum", Billing: catalogv1.Plan_BILLING_COMMERCIAL, PriceLabel: "10 EUR a month",
			Attributes: map[string]string{"support": "24/7", "region": "", "A.b_c-1": "x"},
			Limits: []*catalogv1.Limit{
				held("messages-per-hour", 10, hour),
				{Name: "bytes-rate", Reaction: catalogv1.Limit_REACTION_PAUSE, Kind: &catalogv1.Limit_Rate{Rate: rate}},
			},
			CreateTime: made.GetCreateTime(), UpdateTime: made.GetCreateTime(), Etag: "1",
		}
		check := func(call string, got *catalogv1.Plan, err error) {
			t.Helper()
			want.Etag, want.UpdateTime = got.GetEtag(), got.GetUpdateTime()
			if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
				t.Errorf("%s: %v (-want +got):\n%s", call, err, diff)
			}
		}
		check("CreatePlan", made, nil)
		update := func(p *catalogv1.Plan, mask ...string) {
			t.Helper()
			p.Name = made.GetName()
			got, err := f.UpdatePlan(ctx, &catalogv1.UpdatePlanRequest{Plan: p, UpdateMask: &fieldmaskpb.FieldMask{Paths: mask}}, f.root)
			check("UpdatePlan", got, err)
			got, err = f.GetPlan(ctx, &catalogv1.GetPlanRequest{Name: made.GetName()}, f.sue)
			check("GetPlan", got, err)
		}
		want.Description = "Best."
		update(&catalogv1.Plan{Description: "Best."})
		want.PriceLabel, want.Attributes = "12 EUR a month", map[string]string{"sla": "99.9"}
		update(&catalogv1.Plan{PriceLabel: "12 EUR a month", Attributes: map[string]string{"sla": "99.9"}, DisplayName: "not in the mask"}, "price_label", "attributes")
		// Limits as a whole. What is sent back as it was read stays as it is.
		want.Limits = []*catalogv1.Limit{want.GetLimits()[0], held("messages-per-day", 20, day)}
		update(&catalogv1.Plan{Limits: []*catalogv1.Limit{want.GetLimits()[0], quota(20, day)}}, "limits")
		update(want, "display_name", "limits", "etag", "create_time")
		want.Billing = catalogv1.Plan_BILLING_FREE
		update(&catalogv1.Plan{}, "billing")
		want = &catalogv1.Plan{
			Name: made.GetName(), DisplayName: "Platinum", Billing: catalogv1.Plan_BILLING_FREE, CreateTime: made.GetCreateTime(),
		}
		update(&catalogv1.Plan{DisplayName: "Platinum"}, "*")
		if _, err := f.DeletePlan(ctx, &catalogv1.DeletePlanRequest{Name: made.GetName(), Etag: want.GetEtag()}, f.root); err != nil {
			t.Fatal(err)
		}
		_, err = f.GetPlan(ctx, &catalogv1.GetPlanRequest{Name: made.GetName()}, f.root)
		wantError(t, "GetPlan of a deleted one", err, codes.NotFound, made.GetName()+" not found")
	})
}

func TestPlanUse(t *testing.T) {
	forEach(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		a := f.api("Echo")
		f.version(a, "1")
		v := f.version(a, "2")
		if _, err := f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{Version: &catalogv1.Version{
			Name: v.GetName(), TrafficPlan: "plans/gold", Subscriptionless: true,
		}}, f.ann); err != nil {
			t.Fatal(err)
		}
		f.uses.subscriptions = map[string]int64{"plans/gold": 3}
		f.uses.applications = map[string]int64{"plans/gold": 4, "plans/silver": 5}
		for plan, want := range map[string]*catalogv1.PlanUse{
			"plans/gold":                           {Versions: 2, TrafficVersions: 1, Subscriptions: 3, Applications: 4},
			"plans/silver":                         {Applications: 5},
			"plans/bronze":                         {},
			"plans/async-default-subscriptionless": {SubscriptionlessVersions: 1},
		} {
			got, err := f.GetPlanUse(ctx, &catalogv1.GetPlanUseRequest{Name: plan}, f.pete)
			if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
				t.Errorf("GetPlanUse(%s): %v (-want +got):\n%s", plan, err, diff)
			}
		}
	})
}

// A plan that a version does not offer any more goes once nobody has it.
func TestPlanThatSubscribersKeep(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	v := f.version(f.api("Echo"), "1")
	f.publish(v)
	f.uses.subscriptions = map[string]int64{"plans/gold": 1}
	if _, err := f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{
		Version: &catalogv1.Version{Name: v.GetName(), Plans: []string{"plans/silver"}},
	}, f.ann); err != nil {
		t.Fatalf("UpdateVersion takes a plan away that has a subscriber: %v", err)
	}
	remove := func() error {
		_, err := f.DeletePlan(ctx, &catalogv1.DeletePlanRequest{Name: "plans/gold"}, f.root)
		return err
	}
	wantError(t, "DeletePlan with a subscriber", remove(), codes.FailedPrecondition, "plans/gold is in use by 1 subscription: take it from them first")
	f.uses.subscriptions = nil
	if err := remove(); err != nil {
		t.Errorf("DeletePlan of what nobody has = %v", err)
	}
}
