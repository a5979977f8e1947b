package store

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/kit/uniquename"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Viewers of the tests.
var (
	root = identity.Viewer{User: "root", All: true}
	ann  = identity.Viewer{User: "ann"}
	bob  = identity.Viewer{User: "bob"}
)

// anew is a request that cannot be sent again.
var anew requestid.Request

// bench is a store with a clock.
type bench struct {
	*Store
	t     *testing.T
	mu    sync.Mutex
	clock time.Time
}

// each runs a test on both engines.
func each(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	testdb.Each(t, Schema(), func(t *testing.T, db *sqldb.DB) {
		b := &bench{t: t, clock: time.Date(2027, 1, 2, 3, 4, 5, 6000, time.UTC)}
		b.Store = New(db, change.NewLog(identity.Catalog, db, slog.New(slog.DiscardHandler), b.now, 0), seal.New())
		test(t, b)
	})
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.clock
}

// tick moves the clock on and returns what it shows then.
func (b *bench) tick() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = b.clock.Add(time.Second)
	return b.clock
}

// api adds an API.
func (b *bench) api(owner, name, context string) API {
	b.t.Helper()
	a, err := b.CreateAPI(b.t.Context(), anew, root, API{DisplayName: name, Context: context, Owner: owner})
	must(b.t, err)
	return a
}

// sample is a version of an API, with something in every field.
func sample(api API, version string) Version {
	return Version{
		APIID: api.ID, Version: version, Description: "First.", Tags: []string{"b", "a"},
		Endpoints: Endpoints{Production: []Endpoint{{URL: "ws://backend"}}, Sandbox: []Endpoint{{URL: "ws://sandbox"}}},
		Security:  []SecurityScheme{{Type: SchemeOAuth2, Places: []Place{{In: InQuery, Name: "access_token"}}}},
		Plans:     []string{"silver", "gold"}, Origins: []string{"https://example.com"}, MaxSessionAge: time.Hour + 1, IdleTimeout: time.Minute + 1,
		BackendHost: "FIXED", FixedHost: "app.example", BackendOrigin: "NONE", Pings: "OFF",
		TrafficPlan: "async-gold", Subscriptionless: true, MaxMessageBytes: 1 << 30, ErrorTemplate: "TEXT", ErrorText: "slow down",
		HTTP: &HTTP{
			Endpoints: Endpoints{Production: []Endpoint{{URL: "http://backend"}}, Balance: Balance{HealthCheck: &HealthCheck{Kind: "HTTP", HTTPPath: "/healthz"}}},
			Security:  []SecurityScheme{{Type: SchemeNone}}, Cors: "BACKEND", MaxBodyBytes: 1 << 20, Timeout: time.Minute,
		},
	}
}

// version adds a version.
func (b *bench) version(api API, version string) Version {
	b.t.Helper()
	v, err := b.CreateVersion(b.t.Context(), anew, root, sample(api, version), allow[API])
	must(b.t, err)
	return v
}

// publish publishes a version.
func (b *bench) publish(v Version) Version {
	b.t.Helper()
	v, err := b.UpdateVersion(b.t.Context(), root, v.Name(), func(old Version) (Version, error) {
		old.State = Published
		return old, nil
	})
	must(b.t, err)
	return v
}

// event returns the event of the newest change and its number.
func (b *bench) event() (*backplanev1.RouteEvent, uint64) {
	b.t.Helper()
	var number int64
	var sealed []byte
	must(b.t, b.db.QueryRowContext(b.t.Context(), `SELECT number, events FROM change ORDER BY number DESC LIMIT 1`).Scan(&number, &sealed))
	e := &backplanev1.RouteEvent{}
	if sealed != nil {
		text, err := b.key.Open(sealed, fmt.Appendf(nil, "event/catalog/%d", number))
		must(b.t, err)
		_, err = watch.DecodeEvent(text, e)
		must(b.t, err)
	}
	return e, uint64(number)
}

// wantEvent checks the event of the newest change.
func (b *bench) wantEvent(what string, want *backplanev1.RouteEvent) {
	b.t.Helper()
	got, _ := b.event()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		b.t.Errorf("event of %s (-want +got):\n%s", what, diff)
	}
}

// allow allows everything.
func allow[Row any](Row) error { return nil }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused checks that an error is a fault with a code and a text.
func refused(t *testing.T, what string, err error, code codes.Code, text string) {
	t.Helper()
	if !fault.Is(err, code) || !strings.Contains(err.Error(), text) {
		t.Errorf("%s = %v, want %v with %q", what, err, code, text)
	}
}

// list collects the rows of a list.
func list[Row any](t *testing.T, rows func(func(Row, error) bool)) []Row {
	t.Helper()
	var all []Row
	for row, err := range rows {
		must(t, err)
		all = append(all, row)
	}
	return all
}

func TestSeededPlans(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		type row struct {
			ID, Name string
			Limits   []Limit
		}
		var got []row
		for _, p := range list(t, b.Plans(t.Context(), PlanFilter{}, Order{}, ListPlace{})) {
			var forms uniquename.Forms
			must(t, b.db.QueryRowContext(t.Context(), `SELECT display_fold, display_skeleton, display_ascii FROM plan WHERE id = $1`, p.ID).
				Scan(&forms.Fold, &forms.Skeleton, &forms.ASCII))
			if want := uniquename.Of(p.DisplayName); forms != want {
				t.Errorf("the forms of %s are %+v, want %+v", p.DisplayName, forms, want)
			}
			got = append(got, row{p.ID, p.DisplayName, p.Limits})
			name := strings.ToUpper(p.DisplayName)
			if found := list(t, b.Plans(t.Context(), PlanFilter{DisplayName: &name}, Order{}, ListPlace{})); len(found) != 1 || !cmp.Equal(found[0], p) {
				t.Errorf("Plans(%s) = %v, want %v", name, found, p)
			}
		}
		quota := func(amount int64, name, window string) []Limit {
			return []Limit{{Name: name, Kind: KindQuota, Unit: "MESSAGES", Amount: amount, Window: window, OnOutage: "ALLOW", Reaction: "DROP"}}
		}
		want := []row{
			{"unlimited", "Unlimited", nil},
			{"gold", "Gold", quota(5000, "messages-per-minute", "MINUTE")},
			{"silver", "Silver", quota(2000, "messages-per-minute", "MINUTE")},
			{"bronze", "Bronze", quota(1000, "messages-per-minute", "MINUTE")},
			{"async-unlimited", "AsyncUnlimited", nil},
			{"async-gold", "AsyncGold", quota(50000, "messages-per-day", "DAY")},
			{"async-silver", "AsyncSilver", quota(25000, "messages-per-day", "DAY")},
			{"async-bronze", "AsyncBronze", quota(5000, "messages-per-day", "DAY")},
			{DefaultSubscriptionless, "AsyncDefaultSubscriptionless", quota(10000, "messages-per-day", "DAY")},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("plans (-want +got):\n%s", diff)
		}
	})
}

// oneOfEach has a limit of each kind, with all of its fields set.
var oneOfEach = []Limit{
	{Name: "r", Kind: KindRate, Unit: "BYTES", Amount: 5, Per: time.Second, Burst: 7, Direction: "FROM_CLIENT", PerConnection: true,
		LongestPause: time.Minute, Reaction: "PAUSE", Observe: true},
	{Name: "q", Kind: KindQuota, Unit: "SESSIONS", Amount: 1e15, Window: "MONTH", OnOutage: "REFUSE", Reaction: "REFUSE"},
	{Name: "c", Kind: KindConnections, Amount: 3, Reaction: "CLOSE_OLDEST"},
	{Name: "m", Kind: KindMessageSize, Amount: 1 << 30, Reaction: "CLOSE"},
	{Name: "a", Kind: KindSessionAge, Amount: int64(time.Hour), Reaction: "CLOSE"},
}

// unused allows a plan to be removed that nothing uses.
func unused(_ Plan, use PlanUse) error {
	if use != (PlanUse{}) {
		return fault.Precondition("in use: %+v", use)
	}
	return nil
}

func TestPlan(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		p, err := b.CreatePlan(ctx, anew, Plan{
			DisplayName: "Platinum", Description: "Much.", Billing: "COMMERCIAL", PriceLabel: "1 EUR",
			Attributes: []Attribute{{"Plan Type", "x"}, {"b", ""}}, Limits: oneOfEach,
		})
		must(t, err)
		if p.ID == "" || p.Etag != 1 || !p.CreatedAt.Equal(b.now()) || !p.UpdatedAt.Equal(b.now()) {
			t.Errorf("CreatePlan = %+v, want an id, the etag 1 and the time", p)
		}
		check := func(when string) {
			t.Helper()
			if got, err := b.Plan(ctx, p.ID); err != nil || !cmp.Equal(got, p) {
				t.Errorf("Plan %s = %+v, %v, want %+v", when, got, err, p)
			}
			b.wantEvent(when, &backplanev1.RouteEvent{Plans: []*catalogv1.Plan{p.Message()}})
		}
		check("when made")
		_, err = b.CreatePlan(ctx, anew, Plan{DisplayName: "PLATINUM"})
		refused(t, "CreatePlan of a name that is taken", err, codes.AlreadyExists, `plan.display_name: "PLATINUM" is taken`)
		_, err = b.CreatePlan(ctx, anew, Plan{DisplayName: "Gоld"})
		refused(t, "CreatePlan of a name in two scripts", err, codes.InvalidArgument, "plan.display_name: must be in one script")
		_, err = b.CreatePlan(ctx, anew, Plan{DisplayName: "Соре"})
		must(t, err)
		_, err = b.CreatePlan(ctx, anew, Plan{DisplayName: "cope"})
		refused(t, "CreatePlan of a name that looks like one", err, codes.AlreadyExists, `plan.display_name: "cope" looks like a name that is taken`)
		rename := func(name string) (Plan, error) {
			return b.UpdatePlan(ctx, p.ID, func(old Plan) (Plan, error) {
				old.DisplayName, old.Billing, old.PriceLabel, old.Attributes, old.Limits = name, "FREE", "", nil, oneOfEach[:1]
				return old, nil
			})
		}
		_, err = rename("gOLD")
		refused(t, "UpdatePlan to a name that is taken", err, codes.AlreadyExists, `"gOLD" is taken`)
		p.DisplayName, p.Etag, p.UpdatedAt = "PLATINUM", 2, b.tick()
		p.Billing, p.PriceLabel, p.Attributes, p.Limits = "FREE", "", nil, oneOfEach[:1]
		if got, err := rename("PLATINUM"); err != nil || !cmp.Equal(got, p) {
			t.Errorf("UpdatePlan = %+v, %v, want %+v", got, err, p)
		}
		check("after its update")
		stop := fault.Aborted("stop")
		_, err = b.UpdatePlan(ctx, p.ID, func(old Plan) (Plan, error) { return old, stop })
		refused(t, "UpdatePlan that edit refuses", err, codes.Aborted, "stop")
		refused(t, "DeletePlan that check refuses", b.DeletePlan(ctx, p.ID, func(Plan, PlanUse) error { return stop }), codes.Aborted, "stop")
		check("after refusals")
		must(t, b.DeletePlan(ctx, p.ID, unused))
		b.wantEvent("the end", &backplanev1.RouteEvent{RemovedPlans: []string{"plans/" + p.ID}})
		_, err = b.Plan(ctx, p.ID)
		refused(t, "Plan after its end", err, codes.NotFound, p.ID)
		refused(t, "DeletePlan after its end", b.DeletePlan(ctx, p.ID, unused), codes.NotFound, p.ID)
	})
}

func TestLimitMessage(t *testing.T) {
	want := []*catalogv1.Limit{
		{Name: "r", Reaction: catalogv1.Limit_REACTION_PAUSE, Observe: true, Kind: &catalogv1.Limit_Rate{Rate: &catalogv1.Rate{
			Unit: catalogv1.Unit_UNIT_BYTES, Amount: 5, Per: durationpb.New(time.Second), Burst: 7,
			Direction: catalogv1.Direction_DIRECTION_FROM_CLIENT, PerConnection: true, LongestPause: durationpb.New(time.Minute),
		}}},
		{Name: "q", Reaction: catalogv1.Limit_REACTION_REFUSE, Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{
			Unit: catalogv1.Unit_UNIT_SESSIONS, Amount: 1e15, Window: catalogv1.Quota_WINDOW_MONTH, OnOutage: catalogv1.Quota_OUTAGE_REFUSE,
		}}},
		{Name: "c", Reaction: catalogv1.Limit_REACTION_CLOSE_OLDEST, Kind: &catalogv1.Limit_Connections{Connections: &catalogv1.Connections{Most: 3}}},
		{Name: "m", Reaction: catalogv1.Limit_REACTION_CLOSE, Kind: &catalogv1.Limit_MessageSize{MessageSize: &catalogv1.MessageSize{Bytes: 1 << 30}}},
		{Name: "a", Reaction: catalogv1.Limit_REACTION_CLOSE, Kind: &catalogv1.Limit_SessionAge{SessionAge: &catalogv1.SessionAge{Age: durationpb.New(time.Hour)}}},
	}
	for i, l := range oneOfEach {
		if diff := cmp.Diff(want[i], l.Message(), protocmp.Transform()); diff != "" {
			t.Errorf("Message of %+v (-want +got):\n%s", l, diff)
		}
	}
}

func TestPlanUse(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		want := func(id string, want PlanUse) {
			t.Helper()
			if got, err := b.PlanUse(ctx, id); err != nil || got != want {
				t.Errorf("PlanUse(%s) = %+v, %v, want %+v", id, got, err, want)
			}
			var seen PlanUse
			err := b.DeletePlan(ctx, id, func(_ Plan, use PlanUse) error {
				seen = use
				return fault.Aborted("stop")
			})
			refused(t, "DeletePlan of "+id, err, codes.Aborted, "stop")
			if seen != want {
				t.Errorf("DeletePlan(%s) tells %+v, want %+v", id, seen, want)
			}
		}
		a := b.api("ann", "Echo", "/echo")
		for i, v := range []Version{
			{Plans: []string{"gold", "silver"}, TrafficPlan: "gold"},
			{Plans: []string{"gold"}, TrafficPlan: "silver", Subscriptionless: true},
			{Subscriptionless: true},
		} {
			v.APIID, v.Version = a.ID, strconv.Itoa(i)
			_, err := b.CreateVersion(ctx, anew, everything, v, allow[API])
			must(t, err)
		}
		want("gold", PlanUse{Offers: 2, Traffic: 1})
		want("silver", PlanUse{Offers: 1, Traffic: 1})
		want("bronze", PlanUse{})
		want(DefaultSubscriptionless, PlanUse{Subscriptionless: 2})
		_, err := b.PlanUse(ctx, "none")
		refused(t, "PlanUse of none", err, codes.NotFound, "plans/none not found")
		must(t, b.DeletePlan(ctx, "bronze", unused))
	})
}
