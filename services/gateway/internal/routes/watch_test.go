package routes

import (
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/deny"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// ended records which versions' sessions were ended, and whether the table had been
// swapped by then.
type ended struct {
	current *Current
	rules   *deny.Current
	names   []string
	codes   []uint16
}

func (e *ended) EndAllOn(c ending.Ending, names ...string) int {
	for _, name := range names {
		if r := e.current.Load().Get(name); r != nil && r.Published {
			name += " while it is served"
		}
		e.names, e.codes = append(e.names, name), append(e.codes, c.ClientCode)
	}
	return len(names)
}

func (e *ended) EndPublic(c ending.Ending, name string) int { return e.EndAllOn(c, name) }

// EndDenied notes who is asked for, by the rule that matches everybody at 10.0.0.1.
func (e *ended) EndDenied(t *deny.Table) int {
	r := t.ByAddress(netip.MustParseAddr("10.0.0.1"))
	if r == nil {
		return 0
	}
	name := r.Name
	if e.rules.Load().ByAddress(netip.MustParseAddr("10.0.0.1")) == nil {
		name += " before it is held"
	}
	e.names = append(e.names, name)
	return 1
}

// take returns the names since the last time, in order.
func (e *ended) take() []string {
	names := slices.Sorted(slices.Values(e.names))
	e.names = nil
	return names
}

// saved records what was saved.
type saved struct {
	lists        [][]*backplanev1.Route
	plans        [][]*catalogv1.Plan
	rules        [][]*catalogv1.DenyRule
	installation string
}

func (s *saved) save(last *backplanev1.RouteSnapshot) {
	s.lists, s.plans, s.installation = append(s.lists, last.GetRoutes()), append(s.plans, last.GetPlans()), last.GetInstallation()
	s.rules = append(s.rules, last.GetDenyRules())
}

// told records what a holder of plans is told, and whether the table had been swapped by
// then.
type told struct {
	current  *Current
	plans    []string
	versions []string
}

func (h *told) SetPlans(put []*catalogv1.Plan, removed []string) {
	for _, p := range put {
		h.plans = append(h.plans, "+"+p.GetName()+" "+p.GetDisplayName())
	}
	for _, name := range removed {
		h.plans = append(h.plans, "-"+name)
	}
}

func (h *told) SetVersions(put map[string]throttle.Version, removed []string) {
	for name, v := range put {
		if r := h.current.Load().Get(name); r != nil && r.Limits == v {
			name += " already served"
		}
		h.versions = append(h.versions, fmt.Sprintf("+%s %s %d", name, v.TrafficPlan, v.MaxMessage))
	}
	for _, name := range removed {
		h.versions = append(h.versions, "-"+name)
	}
}

// endpoint is a stage with one endpoint.
func endpoint(url string) []*catalogv1.Endpoint {
	return []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: url}}}
}

// message returns the route of version 1 at a context.
func message(context string, more ...func(*backplanev1.Route)) *backplanev1.Route {
	r := &backplanev1.Route{
		Name: "apis" + context + "/versions/1", Api: "apis" + context, DisplayName: context,
		Context: context, Version: "1", State: catalogv1.Version_STATE_PUBLISHED,
		Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://127.0.0.1:1/x")}, ChangeNumber: 1,
	}
	for _, f := range more {
		f(r)
	}
	return r
}

func demoted(r *backplanev1.Route) { r.State = catalogv1.Version_STATE_CREATED }

func snapshotOf(lists ...[]*backplanev1.Route) []*backplanev1.WatchRoutesResponse {
	var all []*backplanev1.WatchRoutesResponse
	for _, list := range lists {
		all = append(all, &backplanev1.WatchRoutesResponse{Body: &backplanev1.WatchRoutesResponse_Snapshot{
			Snapshot: &backplanev1.RouteSnapshot{Routes: list},
		}})
	}
	return all
}

func edit1(number uint64, e *backplanev1.RouteEvent) (watch.At, *backplanev1.WatchRoutesResponse) {
	return watch.At{Number: number}, &backplanev1.WatchRoutesResponse{Body: &backplanev1.WatchRoutesResponse_Change{
		Change: &backplanev1.RouteChange{Event: e},
	}}
}

// testKeeper returns a keeper and what it works on.
func testKeeper(t *testing.T) (*keeper, *Current, *ended, *saved) {
	t.Helper()
	current, disk := &Current{}, &saved{}
	e := &ended{current: current, rules: &deny.Current{}}
	t1 := Target{Current: current, Deny: e.rules, Sessions: e, Plans: &told{current: current}, MaxAge: time.Hour}
	return newKeeper(t1, disk, slog.New(slog.DiscardHandler)), current, e, disk
}

func (k *keeper) mustReset(t *testing.T, lists ...[]*backplanev1.Route) watch.Result {
	t.Helper()
	r, err := k.Reset(t.Context(), watch.At{Number: 7}, backplanev1.Begin_RESET_NO_CURSOR, snapshotOf(lists...))
	if err != nil {
		t.Fatalf("Reset: %v", err)
	}
	return r
}

func (k *keeper) mustApply(t *testing.T, e *backplanev1.RouteEvent) watch.Result {
	t.Helper()
	at, m := edit1(8, e)
	r, err := k.Apply(t.Context(), at, m)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return r
}

func TestKeeperFollows(t *testing.T) {
	k, current, sessions, _ := testKeeper(t)
	a, b, c := message("/a"), message("/b"), message("/c", demoted)
	k.mustReset(t, []*backplanev1.Route{a, b}, []*backplanev1.Route{c})
	if got := len(current.Load().routes); got != 3 {
		t.Fatalf("after the snapshot there are %d routes, want 3", got)
	}
	if got := current.Load().Get(a.Name).MaxAge; got != time.Hour {
		t.Errorf("a route without a maximum age has %v, want the gateway's", got)
	}
	if got := sessions.take(); !slices.Equal(got, []string{c.Name}) {
		t.Errorf("the snapshot ended %q, want what is not published", got)
	}

	edited := proto.CloneOf(a)
	edited.Endpoints.Production = endpoint("ws://127.0.0.1:2/y")
	k.mustApply(t, &backplanev1.RouteEvent{Routes: []*backplanev1.Route{edited}})
	if got := current.Load().Get(a.Name).Production.Endpoints[0].Addr; got != "127.0.0.1:2" {
		t.Errorf("an edited route leads to %s, want 127.0.0.1:2", got)
	}
	if got := sessions.take(); len(got) != 0 {
		t.Errorf("an edit ended the sessions of %q, want none", got)
	}

	down := proto.CloneOf(edited)
	demoted(down)
	r := k.mustApply(t, &backplanev1.RouteEvent{Routes: []*backplanev1.Route{down}, RemovedRoutes: []string{b.Name, "apis/unknown/versions/1"}})
	if got := sessions.take(); !slices.Equal(got, []string{a.Name, b.Name}) || r.SessionsClosed != 2 {
		t.Errorf("demoting one and removing one ended %q, closed %d, want both", got, r.SessionsClosed)
	}
	if _, err := current.Load().Match("", "/a/1"); err == nil {
		t.Error("a demoted version is still matched")
	}
	for _, code := range sessions.codes {
		if code != 4006 {
			t.Errorf("sessions ended with %d, want 4006", code)
		}
	}
}

// TestKeeperTellsPlans: of plans and of the limits of versions before the table has them,
// each change once, and what is gone after a reset.
func TestKeeperTellsPlans(t *testing.T) {
	k, _, _, disk := testKeeper(t)
	holder := k.holder.(*told)
	take := func() (plans, versions []string) {
		plans, versions = slices.Sorted(slices.Values(holder.plans)), slices.Sorted(slices.Values(holder.versions))
		holder.plans, holder.versions = nil, nil
		return plans, versions
	}
	gold := &catalogv1.Plan{Name: "plans/gold", DisplayName: "Gold"}
	limited := message("/a", func(r *backplanev1.Route) { r.TrafficPlan, r.MaxMessageBytes = "plans/gold", 100 })
	pieces := snapshotOf([]*backplanev1.Route{limited})
	pieces[0].GetSnapshot().Plans = []*catalogv1.Plan{gold, {Name: "plans/old"}}
	if _, err := k.Reset(t.Context(), watch.At{}, backplanev1.Begin_RESET_NO_CURSOR, pieces); err != nil {
		t.Fatal(err)
	}
	plans, versions := take()
	if !slices.Equal(plans, []string{"+plans/gold Gold", "+plans/old "}) || !slices.Equal(versions, []string{"+apis/a/versions/1 plans/gold 100"}) {
		t.Errorf("at first %q and %q are told", plans, versions)
	}
	edited := &catalogv1.Plan{Name: "plans/gold", DisplayName: "Gold 2"}
	k.mustApply(t, &backplanev1.RouteEvent{Plans: []*catalogv1.Plan{edited}, RemovedPlans: []string{"plans/old"}})
	k.mustApply(t, &backplanev1.RouteEvent{Routes: []*backplanev1.Route{message("/a")}})
	plans, versions = take()
	if !slices.Equal(plans, []string{"+plans/gold Gold 2", "-plans/old"}) || !slices.Equal(versions, []string{"+apis/a/versions/1  0"}) {
		t.Errorf("then %q and %q are told", plans, versions)
	}
	if last := disk.plans[len(disk.plans)-1]; len(last) != 1 || last[0] != edited {
		t.Errorf("on disk are the plans %v", last)
	}
	if _, err := k.Reset(t.Context(), watch.At{}, backplanev1.Begin_RESET_NO_CURSOR, snapshotOf([]*backplanev1.Route{})); err != nil {
		t.Fatal(err)
	}
	if plans, versions = take(); !slices.Equal(plans, []string{"-plans/gold"}) || !slices.Equal(versions, []string{"-apis/a/versions/1"}) {
		t.Errorf("after a reset %q and %q are told", plans, versions)
	}
}

// TestMaxAgeIsTheSmallest: of the flag and what the version says.
func TestMaxAgeIsTheSmallest(t *testing.T) {
	for _, tt := range []struct{ flag, version, want time.Duration }{
		{time.Hour, 0, time.Hour}, {time.Hour, time.Minute, time.Minute}, {time.Hour, 2 * time.Hour, time.Hour}, {0, time.Minute, time.Minute}, {0, 0, 0},
	} {
		k, current, _, _ := testKeeper(t)
		k.maxAge = tt.flag
		k.mustReset(t, []*backplanev1.Route{message("/a", func(r *backplanev1.Route) {
			if tt.version > 0 {
				r.MaxSessionAge = durationpb.New(tt.version)
			}
		})})
		if got := current.Load().Get("apis/a/versions/1").MaxAge; got != tt.want {
			t.Errorf("flag %v, version %v: %v, want %v", tt.flag, tt.version, got, tt.want)
		}
	}
}

func TestKeeperTouchesNothingWithoutAChange(t *testing.T) {
	k, current, sessions, disk := testKeeper(t)
	list := []*backplanev1.Route{message("/a"), message("/b")}
	k.mustReset(t, list)
	table := current.Load()
	again := []*backplanev1.Route{proto.CloneOf(list[1]), proto.CloneOf(list[0])}
	k.mustReset(t, again)
	k.mustApply(t, &backplanev1.RouteEvent{Routes: again})
	k.mustApply(t, &backplanev1.RouteEvent{Plans: []*catalogv1.Plan{{Name: "plans/gold"}}})
	k.mustApply(t, nil)
	if current.Load() != table {
		t.Error("the same routes again swapped the table")
	}
	k.mustApply(t, &backplanev1.RouteEvent{Plans: []*catalogv1.Plan{{Name: "plans/gold"}}})
	if len(disk.lists) != 2 {
		t.Errorf("saved %d times, want once for the routes and once for the plan", len(disk.lists))
	}
	if got := sessions.take(); len(got) != 0 {
		t.Errorf("the same routes again ended the sessions of %q", got)
	}
	old := table.Get(list[0].Name)
	k.mustApply(t, &backplanev1.RouteEvent{Routes: []*backplanev1.Route{message("/c")}})
	if current.Load().Get(list[0].Name) != old {
		t.Error("adding a route replaced another")
	}
}

func TestKeeperResetReplaces(t *testing.T) {
	k, current, sessions, _ := testKeeper(t)
	k.mustReset(t, []*backplanev1.Route{message("/a"), message("/b")})
	kept := current.Load().Get("apis/b/versions/1")
	k.mustReset(t, []*backplanev1.Route{message("/b"), message("/c")})
	if got := sessions.take(); !slices.Equal(got, []string{"apis/a/versions/1"}) {
		t.Errorf("the second snapshot ended %q, want the version that is gone", got)
	}
	if current.Load().Get("apis/b/versions/1") != kept || len(current.Load().routes) != 2 {
		t.Error("the second snapshot replaced a route that is as it was")
	}
	k.mustReset(t)
	if len(current.Load().routes) != 0 {
		t.Errorf("an empty snapshot left %d routes", len(current.Load().routes))
	}
}

func TestKeeperFirstSnapshotCountsThoughEmpty(t *testing.T) {
	k, current, _, _ := testKeeper(t)
	k.preload(nil)
	if current.Loaded() {
		t.Error("nothing on disk counts as routes")
	}
	k.mustReset(t)
	if !current.Loaded() {
		t.Error("an empty snapshot does not count as routes")
	}
}

func TestKeeperReportsWhatItCannotServe(t *testing.T) {
	k, current, sessions, _ := testKeeper(t)
	good := message("/a")
	k.mustReset(t, []*backplanev1.Route{good})
	bad := proto.CloneOf(good)
	bad.Endpoints.Production = endpoint("ftp://nowhere")
	r := k.mustApply(t, &backplanev1.RouteEvent{Routes: []*backplanev1.Route{bad, message("/b")}})
	if !strings.Contains(r.Failure, good.Name) || !strings.Contains(r.Failure, "scheme") {
		t.Errorf("the failure is %q, want the route and why", r.Failure)
	}
	if current.Load().Get(good.Name) != nil || current.Load().Get("apis/b/versions/1") == nil {
		t.Error("the bad route is served, or the good one beside it is not")
	}
	if got := sessions.take(); len(got) != 0 {
		t.Errorf("a route that is published and cannot be served ended the sessions of %q", got)
	}
	if r := k.mustApply(t, &backplanev1.RouteEvent{Routes: []*backplanev1.Route{good}}); r.Failure != "" || current.Load().Get(good.Name) == nil {
		t.Errorf("the corrected route is not served: %q", r.Failure)
	}
	bad = proto.CloneOf(bad)
	bad.State = catalogv1.Version_STATE_CREATED
	k.mustApply(t, &backplanev1.RouteEvent{Routes: []*backplanev1.Route{bad}})
	if got := sessions.take(); !slices.Equal(got, []string{good.Name}) {
		t.Errorf("a route that cannot be served and was demoted ended the sessions of %q, want its own", got)
	}
}

func TestFromProto(t *testing.T) {
	p := message("/a", func(r *backplanev1.Route) {
		r.Owner, r.Default, r.Requires = "users/1", true, []string{"time-travel"}
		r.Endpoints.Sandbox = endpoint("wss://sandbox/s")
		r.AllowedOrigins = []string{"https://example.com"}
		r.MaxSessionAge, r.IdleTimeout = durationpb.New(time.Minute), durationpb.New(time.Second)
		r.Security = []*catalogv1.SecurityScheme{
			{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: []*catalogv1.CredentialPlace{
				{Place: &catalogv1.CredentialPlace_Query{Query: &catalogv1.QueryPlace{Name: "access_token"}}},
				{Place: &catalogv1.CredentialPlace_Query{Query: &catalogv1.QueryPlace{Name: "access_token", Encoding: 99}}},
				{},
			}}}},
			{},
		}
	})
	r, err := fromProto(p)
	if err != nil {
		t.Fatalf("fromProto: %v", err)
	}
	got := fmt.Sprint([]any{
		r.Name, r.API, r.Owner, r.Context, r.Segment, r.Default, r.Published, *r.Production.Endpoints[0], *r.Sandbox.Endpoints[0],
		r.Origins.Allow("https://example.com"), r.Origins.Allow("https://example.org"), r.MaxAge, r.Idle, r.Schemes, r.ChangeNumber,
	})
	want := fmt.Sprint([]any{
		p.Name, p.Api, "users/1", "/a", "1", true, true,
		Endpoint{Host: "127.0.0.1:1", Name: "127.0.0.1", Addr: "127.0.0.1:1", Path: "/x", key: "ws://127.0.0.1:1/x"},
		Endpoint{TLS: true, Host: "sandbox", Name: "sandbox", Addr: "sandbox:443", Path: "/s", key: "wss://sandbox/s"},
		true, false, time.Minute, time.Second,
		[]credential.Scheme{{Type: credential.OAuth2, Places: credential.OAuth2Places()[1:]}}, 1,
	})
	if got != want {
		t.Errorf("fromProto = %s\nwant %s", got, want)
	}
	if got := r.Missing(); !slices.Equal(got, []string{"time-travel", "unknown place", "unknown place", "unknown scheme"}) {
		t.Errorf("Missing() = %q, want what this gateway does not know", got)
	}
	plain, err := fromProto(message("/a"))
	wantSchemes := []credential.Scheme{{Type: credential.OAuth2, Places: credential.OAuth2Places()}}
	if err != nil || !reflect.DeepEqual(plain.Schemes, wantSchemes) || len(plain.Missing()) != 0 {
		t.Errorf("fromProto of a plain route = %+v, %v, want the defaults", plain, err)
	}
	anonymous, err := fromProto(message("/a", func(r *backplanev1.Route) {
		r.Security = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_None{}}}
	}))
	if err != nil || !reflect.DeepEqual(anonymous.Schemes, []credential.Scheme{{Type: credential.None}}) || len(anonymous.Missing()) != 0 {
		t.Errorf("fromProto of a route without credentials = %+v, %v, want the scheme none", anonymous, err)
	}
	later, err := fromProto(message("/a", func(r *backplanev1.Route) {
		r.Endpoints.Production = []*catalogv1.Endpoint{{}}
	}))
	if err != nil || !slices.Equal(later.Missing(), []string{"unknown endpoint"}) {
		t.Errorf("fromProto of an endpoint of another kind = %+v, %v, want that it is missing here", later, err)
	}
	options, err := fromProto(message("/a", func(r *backplanev1.Route) {
		r.BackendOptions = &catalogv1.BackendOptions{
			Host: catalogv1.BackendOptions_HOST_FIXED, FixedHost: "fixed.example", Origin: catalogv1.BackendOptions_ORIGIN_ENDPOINT,
		}
		r.Pings = catalogv1.Version_PINGS_CLIENTS
	}))
	if err != nil || !reflect.DeepEqual(options.Backends, Backends{FixedHost: "fixed.example", Origin: EndpointOrigin}) || options.Pings != (Pings{NoBackend: true}) {
		t.Errorf("fromProto of a route with options = %+v, %v", options, err)
	}
	options, err = fromProto(message("/a", func(r *backplanev1.Route) {
		r.BackendOptions = &catalogv1.BackendOptions{Host: catalogv1.BackendOptions_HOST_CLIENT, Origin: catalogv1.BackendOptions_ORIGIN_NONE}
		r.AdvertisedHosts, r.Pings = []string{"gw.example"}, catalogv1.Version_PINGS_OFF
	}))
	if err != nil || !reflect.DeepEqual(options.Backends, Backends{ClientHosts: []string{"gw.example"}, Origin: NoOrigin}) ||
		options.Pings != (Pings{NoClient: true, NoBackend: true}) {
		t.Errorf("fromProto of a route with other options = %+v, %v", options, err)
	}
	unknown, err := fromProto(message("/a", func(r *backplanev1.Route) {
		r.BackendOptions, r.Pings = &catalogv1.BackendOptions{Host: 99, Origin: 99}, 99
	}))
	if err != nil || !slices.Equal(unknown.Missing(), []string{"unknown host for backends", "unknown origin for backends", "unknown pings"}) {
		t.Errorf("fromProto of a route with unknown options = %+v, %v, want that they are missing here", unknown, err)
	}
	for name, spoil := range map[string]func(*backplanev1.Route){
		"no endpoint": func(r *backplanev1.Route) { r.Endpoints = nil },
		"bad sandbox": func(r *backplanev1.Route) { r.Endpoints.Sandbox = endpoint("ws://") },
		"bad origin":  func(r *backplanev1.Route) { r.AllowedOrigins = []string{"x"} },
	} {
		if r, err := fromProto(message("/a", spoil)); err == nil {
			t.Errorf("fromProto with %s = %+v, want an error", name, r)
		}
	}
}

// TestDenyRules: rules are held before sessions are looked for, are kept on disk, and only
// those that are new or have changed end sessions. One that cannot be held is reported, and
// the one before it is not held any more.
func TestDenyRules(t *testing.T) {
	k, _, e, disk := testKeeper(t)
	k.mustReset(t, []*backplanev1.Route{message("/a")})
	rule := func(name, address string) *catalogv1.DenyRule {
		return &catalogv1.DenyRule{Name: "denyRules/" + name, ClientAddress: address}
	}
	steps := []struct {
		put     []*catalogv1.DenyRule
		remove  []string
		ended   []string
		held    int
		failure bool
	}{
		{put: []*catalogv1.DenyRule{rule("1", "10.0.0.0/8")}, ended: []string{"denyRules/1"}, held: 1},
		{put: []*catalogv1.DenyRule{rule("1", "10.0.0.0/8")}, held: 1}, // as it is
		{put: []*catalogv1.DenyRule{rule("1", "11.0.0.0/8"), rule("2", "12.0.0.0/8")}, held: 2},
		{put: []*catalogv1.DenyRule{rule("2", "10.0.0.1")}, ended: []string{"denyRules/2"}, held: 2},
		{put: []*catalogv1.DenyRule{rule("2", "nowhere")}, held: 1, failure: true},
		{remove: []string{"denyRules/1", "denyRules/2", "denyRules/3"}, held: 0},
	}
	for i, step := range steps {
		saves := len(disk.rules)
		r := k.mustApply(t, &backplanev1.RouteEvent{DenyRules: step.put, RemovedDenyRules: step.remove})
		if got := e.take(); !slices.Equal(got, step.ended) || int(r.SessionsClosed) != len(step.ended) {
			t.Errorf("step %d: rules %v ended %d sessions, want %v", i, got, r.SessionsClosed, step.ended)
		}
		if n := e.rules.Load().Len(); n != step.held {
			t.Errorf("step %d: %d rules held, want %d", i, n, step.held)
		}
		if (r.Failure != "") != step.failure {
			t.Errorf("step %d: failure %q, want one: %v", i, r.Failure, step.failure)
		}
		if saved := len(disk.rules) > saves; saved == (i == 1) {
			t.Errorf("step %d: saved to disk: %v", i, saved)
		}
	}
	// A snapshot without a rule removes it.
	k.mustApply(t, &backplanev1.RouteEvent{DenyRules: []*catalogv1.DenyRule{rule("1", "11.0.0.0/8")}})
	k.mustReset(t, []*backplanev1.Route{message("/a")})
	if n := e.rules.Load().Len(); n != 0 {
		t.Errorf("after a snapshot without rules %d are held", n)
	}
}
