package store

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/testing/protocmp"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
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
	a, err := b.CreateAPI(b.t.Context(), root, API{DisplayName: name, Context: context, Owner: owner})
	must(b.t, err)
	return a
}

// sample is a version of an API, with something in every field.
func sample(api API, version string) Version {
	return Version{
		APIID: api.ID, Version: version, Description: "First.", Tags: []string{"b", "a"},
		Production: []Endpoint{{URL: "ws://backend"}}, Sandbox: []Endpoint{{URL: "ws://sandbox"}},
		Security: []SecurityScheme{{Type: SchemeOAuth2, Places: []Place{{In: InQuery, Name: "access_token"}}}},
		Plans:    []string{"silver", "gold"}, Origins: []string{"https://example.com"}, MaxSessionAge: time.Hour + 1,
		BackendHost: "FIXED", FixedHost: "app.example", BackendOrigin: "NONE", Pings: "OFF",
	}
}

// version adds a version.
func (b *bench) version(api API, version string) Version {
	b.t.Helper()
	v, err := b.CreateVersion(b.t.Context(), root, sample(api, version), allow[API])
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
			Messages int64
			Window   string
		}
		var got []row
		for _, p := range list(t, b.Plans(t.Context(), PlanFilter{}, sqldb.TimeKey{})) {
			var forms uniquename.Forms
			must(t, b.db.QueryRowContext(t.Context(), `SELECT display_fold, display_skeleton, display_ascii FROM plan WHERE id = $1`, p.ID).
				Scan(&forms.Fold, &forms.Skeleton, &forms.ASCII))
			if want := uniquename.Of(p.DisplayName); forms != want {
				t.Errorf("the forms of %s are %+v, want %+v", p.DisplayName, forms, want)
			}
			got = append(got, row{p.ID, p.DisplayName, p.QuotaMessages, p.QuotaWindow})
			name := strings.ToUpper(p.DisplayName)
			if found := list(t, b.Plans(t.Context(), PlanFilter{DisplayName: &name}, sqldb.TimeKey{})); len(found) != 1 || found[0] != p {
				t.Errorf("Plans(%s) = %v, want %v", name, found, p)
			}
		}
		want := []row{
			{"unlimited", "Unlimited", 0, ""},
			{"gold", "Gold", 5000, "MINUTE"},
			{"silver", "Silver", 2000, "MINUTE"},
			{"bronze", "Bronze", 1000, "MINUTE"},
			{"async-unlimited", "AsyncUnlimited", 0, ""},
			{"async-gold", "AsyncGold", 50000, "DAY"},
			{"async-silver", "AsyncSilver", 25000, "DAY"},
			{"async-bronze", "AsyncBronze", 5000, "DAY"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("plans (-want +got):\n%s", diff)
		}
	})
}

func TestPlan(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		p, err := b.CreatePlan(ctx, Plan{DisplayName: "Platinum", Description: "Much.", QuotaMessages: 9, QuotaWindow: "HOUR"})
		must(t, err)
		if p.ID == "" || p.Etag != 1 || !p.CreatedAt.Equal(b.now()) || !p.UpdatedAt.Equal(b.now()) {
			t.Errorf("CreatePlan = %+v, want an id, the etag 1 and the time", p)
		}
		check := func(when string) {
			t.Helper()
			if got, err := b.Plan(ctx, p.ID); err != nil || got != p {
				t.Errorf("Plan %s = %+v, %v, want %+v", when, got, err, p)
			}
			b.wantEvent(when, &backplanev1.RouteEvent{Plans: []*catalogv1.Plan{p.Message()}})
		}
		check("when made")
		_, err = b.CreatePlan(ctx, Plan{DisplayName: "PLATINUM"})
		refused(t, "CreatePlan of a name that is taken", err, codes.AlreadyExists, `plan.display_name: "PLATINUM" is taken`)
		_, err = b.CreatePlan(ctx, Plan{DisplayName: "Gоld"})
		refused(t, "CreatePlan of a name in two scripts", err, codes.InvalidArgument, "plan.display_name: must be in one script")
		_, err = b.CreatePlan(ctx, Plan{DisplayName: "Соре"})
		must(t, err)
		_, err = b.CreatePlan(ctx, Plan{DisplayName: "cope"})
		refused(t, "CreatePlan of a name that looks like one", err, codes.AlreadyExists, `plan.display_name: "cope" looks like a name that is taken`)
		rename := func(name string) (Plan, error) {
			return b.UpdatePlan(ctx, p.ID, func(old Plan) (Plan, error) {
				old.DisplayName, old.QuotaMessages, old.QuotaWindow = name, 0, ""
				return old, nil
			})
		}
		_, err = rename("gOLD")
		refused(t, "UpdatePlan to a name that is taken", err, codes.AlreadyExists, `"gOLD" is taken`)
		p.DisplayName, p.QuotaMessages, p.QuotaWindow, p.Etag, p.UpdatedAt = "PLATINUM", 0, "", 2, b.tick()
		if got, err := rename("PLATINUM"); err != nil || got != p {
			t.Errorf("UpdatePlan = %+v, %v, want %+v", got, err, p)
		}
		check("after its update")
		stop := fault.Aborted("stop")
		_, err = b.UpdatePlan(ctx, p.ID, func(old Plan) (Plan, error) { return old, stop })
		refused(t, "UpdatePlan that edit refuses", err, codes.Aborted, "stop")
		refused(t, "DeletePlan that check refuses", b.DeletePlan(ctx, p.ID, func(Plan) error { return stop }), codes.Aborted, "stop")
		check("after refusals")
		must(t, b.DeletePlan(ctx, p.ID, allow[Plan]))
		b.wantEvent("the end", &backplanev1.RouteEvent{RemovedPlans: []string{"plans/" + p.ID}})
		_, err = b.Plan(ctx, p.ID)
		refused(t, "Plan after its end", err, codes.NotFound, p.ID)
		refused(t, "DeletePlan after its end", b.DeletePlan(ctx, p.ID, allow[Plan]), codes.NotFound, p.ID)
	})
}
