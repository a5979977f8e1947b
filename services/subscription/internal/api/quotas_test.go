package api_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// quotaDemand is a demand of a subscription's quota of the present day.
func quotaDemand(app, version string, spent, want int64) *backplanev1.QuotaDemand {
	return &backplanev1.QuotaDemand{
		Key: &backplanev1.QuotaKey{
			Place: catalogv1.PlanPlace_PLAN_PLACE_SUBSCRIPTION, Application: app, Version: version,
			Unit: catalogv1.Unit_UNIT_MESSAGES, Window: catalogv1.Quota_WINDOW_DAY,
		},
		Plan: gold, Limit: "messages-per-day", Amount: 10, Spent: spent, Want: want,
	}
}

// takeQuota makes demands as a gateway.
func (w *world) takeQuota(sequence int64, demands ...*backplanev1.QuotaDemand) *backplanev1.TakeQuotaResponse {
	w.t.Helper()
	got, err := w.gateway.ledger.TakeQuota(w.t.Context(), &backplanev1.TakeQuotaRequest{Gateway: "g", BootId: "b", Sequence: sequence, Demands: demands})
	w.must(err)
	return got
}

// A gateway's demands become what users see; what may be changed of it depends on who owns
// the version, and is in the audit log.
func TestQuotas(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		publisher := w.as(w.bobName, "creator", "publisher")
		app := w.application(w.ann, "Chat").GetName()
		w.subscribe(w.ann, app, v1)
		got := w.takeQuota(1, quotaDemand(app, v1, 0, 10))
		day := w.now().Truncate(24 * time.Hour)
		want := &backplanev1.TakeQuotaResponse{ServerTime: timestamppb.New(w.now()), Slices: []*backplanev1.QuotaSlice{{
			StartTime: timestamppb.New(day), EndTime: timestamppb.New(day.Add(24 * time.Hour)), Granted: 10, UsedUp: true,
		}}}
		if !proto.Equal(got, want) {
			t.Errorf("TakeQuota = %v, want %v", got, want)
		}
		inApplication := quotaDemand(app, "", 3, 1)
		inApplication.Key.Place = catalogv1.PlanPlace_PLAN_PLACE_APPLICATION
		w.takeQuota(2, quotaDemand(app, v1, 9, 0), inApplication)
		list, err := w.quotas.ListQuotaUses(w.ann, &usagev1.ListQuotaUsesRequest{Filter: `unit = "MESSAGES" AND window = "DAY" AND version = "` + v1 + `"`})
		w.must(err)
		use := &usagev1.QuotaUse{
			Place: catalogv1.PlanPlace_PLAN_PLACE_SUBSCRIPTION, Application: app, Version: v1, Plan: gold, Limit: "messages-per-day",
			Unit: catalogv1.Unit_UNIT_MESSAGES, Window: catalogv1.Quota_WINDOW_DAY, StartTime: timestamppb.New(day), ResetTime: timestamppb.New(day.Add(24 * time.Hour)),
			Amount: 10, Used: 9, Left: 1, ApiDisplayName: "Echo", VersionString: "1.0.0", ApplicationDisplayName: "Chat", Username: "ann",
		}
		if len(list.GetQuotaUses()) != 1 {
			t.Fatalf("Ann sees %v, want one", list.GetQuotaUses())
		}
		use.Name = list.GetQuotaUses()[0].GetName()
		if got := list.GetQuotaUses()[0]; !proto.Equal(got, use) {
			t.Errorf("Ann sees %v, want %v", got, use)
		}
		of := func(ctx context.Context) (names []string) {
			list, err := w.quotas.ListQuotaUses(ctx, &usagev1.ListQuotaUsesRequest{})
			w.must(err)
			for _, u := range list.GetQuotaUses() {
				names = append(names, u.GetName())
			}
			return names
		}
		both := of(w.root)
		if len(both) != 2 || len(of(w.ann)) != 2 || len(of(w.guest)) != 0 {
			t.Errorf("the administrator sees %q, Ann %q, a guest %q", both, of(w.ann), of(w.guest))
		}
		other := both[0]
		if other == use.GetName() {
			other = both[1]
		}
		reset, add := call(w.quotas.ResetQuota, &usagev1.ResetQuotaRequest{Name: use.GetName()}), call(w.quotas.AddQuota, &usagev1.AddQuotaRequest{Name: use.GetName(), Amount: 5})
		w.check(t, []refusal{
			{"reset as the application's owner", w.ann, reset, codes.PermissionDenied, "only the version's owner and administrators may change what is left of a quota"},
			{"add as the application's owner", w.ann, add, codes.PermissionDenied, "only the version's owner and administrators may change what is left of a quota"},
			{"reset a quota of one's application", w.ann, call(w.quotas.ResetQuota, &usagev1.ResetQuotaRequest{Name: other}), codes.PermissionDenied,
				"only administrators may change what is left of a quota of an application"},
			{"reset as the version's owner who publishes nothing", w.bob, reset, codes.PermissionDenied, "this needs the role publisher"},
			{"reset as a guest", w.guest, reset, codes.NotFound, use.GetName() + " not found"},
			{"reset what is not there", w.root, call(w.quotas.ResetQuota, &usagev1.ResetQuotaRequest{Name: "quotaUses/x"}), codes.NotFound, "quotaUses/x not found"},
			{"reset by a bad name", w.root, call(w.quotas.ResetQuota, &usagev1.ResetQuotaRequest{Name: "x"}), codes.InvalidArgument, "name: must be quotaUses/{quota_use}"},
			{"add nothing", w.root, call(w.quotas.AddQuota, &usagev1.AddQuotaRequest{Name: use.GetName()}), codes.InvalidArgument,
				"amount: must be greater than or equal to 1 and less than or equal to 1000000000000000"},
			{"list by a unit that is none", w.ann, call(w.quotas.ListQuotaUses, &usagev1.ListQuotaUsesRequest{Filter: `unit = "HANDSHAKES"`}), codes.InvalidArgument,
				`filter: no unit "HANDSHAKES": there are MESSAGES, BYTES, SESSIONS`},
			{"list by a window that is none", w.ann, call(w.quotas.ListQuotaUses, &usagev1.ListQuotaUsesRequest{Filter: `window = "YEAR"`}), codes.InvalidArgument,
				`filter: no window "YEAR": there are MINUTE, HOUR, DAY, WEEK, MONTH`},
			{"list by what is not there", w.ann, call(w.quotas.ListQuotaEvents, &usagev1.ListQuotaEventsRequest{Filter: `unit = "BYTES"`}), codes.InvalidArgument,
				`filter: no field "unit": there are application, version`},
			{"list events of no time", w.ann, call(w.quotas.ListQuotaEvents, &usagev1.ListQuotaEventsRequest{
				StartTime: timestamppb.New(day), EndTime: timestamppb.New(day),
			}), codes.InvalidArgument, "end_time: must be after start_time"},
			{"list less than nothing", w.ann, call(w.quotas.ListQuotaUses, &usagev1.ListQuotaUsesRequest{PageSize: -1}), codes.InvalidArgument, badPageSize},
			{"list quotas of an application that is not there", w.ann, call(w.quotas.ListQuotaUses, &usagev1.ListQuotaUsesRequest{
				Filter: `application = "applications/none"`,
			}), codes.NotFound, "applications/none not found"},
		})
		before := w.head()
		after, err := w.quotas.ResetQuota(publisher, &usagev1.ResetQuotaRequest{Name: use.GetName()})
		w.must(err)
		if after.GetUsed() != 0 || after.GetLeft() != 10 {
			t.Errorf("reset: %v", after)
		}
		after, err = w.quotas.AddQuota(w.root, &usagev1.AddQuotaRequest{Name: use.GetName(), Amount: 5})
		w.must(err)
		if after.GetAmount() != 15 || after.GetAdded() != 5 || after.GetLeft() != 15 {
			t.Errorf("added to: %v", after)
		}
		const label = "Chat to Echo/1.0.0: messages-per-day:"
		if diff := cmp.Diff(w.audit(before), []string{
			"ResetQuota " + label + " used 9> left 1>10",
			"AddQuota " + label + " amount 10>15 left 10>15 added >5",
		}); diff != "" {
			t.Error(diff)
		}
		events, err := w.quotas.ListQuotaEvents(w.ann, &usagev1.ListQuotaEventsRequest{Filter: `application = "` + app + `"`})
		w.must(err)
		if e := events.GetQuotaEvents(); len(e) != 1 || e[0].GetPercent() != 80 || e[0].GetQuotaUse().GetUsed() != 9 || !e[0].GetTime().AsTime().Equal(w.now()) {
			t.Errorf("events = %v, want one of 80 %%", e)
		}
	})
}

// Demands that are wrong are refused with their field, and nothing of the call is taken.
func TestQuotaDemandRefusals(t *testing.T) {
	w := onSQLite(t)
	ctx := t.Context()
	demand := func(change func(*backplanev1.TakeQuotaRequest, *backplanev1.QuotaDemand)) func(context.Context) error {
		bad := quotaDemand("applications/a", v1, 0, 1)
		bad.Key.Window = catalogv1.Quota_WINDOW_MINUTE
		req := &backplanev1.TakeQuotaRequest{Gateway: "g", BootId: "b", Sequence: 1, Demands: []*backplanev1.QuotaDemand{quotaDemand("applications/a", v1, 0, 1), bad}}
		change(req, bad)
		return call(w.gateway.ledger.TakeQuota, req)
	}
	const amount = "must be greater than or equal to 0 and less than or equal to 1000000000000000"
	w.check(t, []refusal{
		{"no demands", ctx, demand(func(r *backplanev1.TakeQuotaRequest, _ *backplanev1.QuotaDemand) { r.Demands = nil }), codes.InvalidArgument,
			"demands: must contain at least 1 item(s)"},
		{"no sequence", ctx, demand(func(r *backplanev1.TakeQuotaRequest, _ *backplanev1.QuotaDemand) { r.Sequence = 0 }), codes.InvalidArgument,
			"sequence: must be greater than or equal to 1"},
		{"a subscription without a version", ctx, demand(func(_ *backplanev1.TakeQuotaRequest, d *backplanev1.QuotaDemand) { d.Key.Version = "" }), codes.InvalidArgument,
			"demands[1].key.version: is required with this place"},
		{"a version with an application", ctx, demand(func(_ *backplanev1.TakeQuotaRequest, d *backplanev1.QuotaDemand) {
			d.Key.Place = catalogv1.PlanPlace_PLAN_PLACE_VERSION
		}), codes.InvalidArgument, "demands[1].key.application: must be empty with this place"},
		{"an application with a version", ctx, demand(func(_ *backplanev1.TakeQuotaRequest, d *backplanev1.QuotaDemand) {
			d.Key.Place = catalogv1.PlanPlace_PLAN_PLACE_APPLICATION
		}), codes.InvalidArgument, "demands[1].key.version: must be empty with this place"},
		{"the same twice", ctx, demand(func(_ *backplanev1.TakeQuotaRequest, d *backplanev1.QuotaDemand) {
			d.Key.Window = catalogv1.Quota_WINDOW_DAY
		}), codes.InvalidArgument, "demands[1]: has the key and window of demands[0]"},
		{"negative amounts", ctx, demand(func(_ *backplanev1.TakeQuotaRequest, d *backplanev1.QuotaDemand) { d.Spent, d.Want = -1, -1 }), codes.InvalidArgument,
			"demands[1].spent: " + amount + "; demands[1].want: " + amount},
		{"an impossible time", ctx, demand(func(_ *backplanev1.TakeQuotaRequest, d *backplanev1.QuotaDemand) {
			d.Time = &timestamppb.Timestamp{Seconds: 1e12}
		}), codes.InvalidArgument, "demands[1].time: must be a time"},
	})
}
