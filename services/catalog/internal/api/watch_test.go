package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/identity/identitytest"
)

// watcher plays the other end of WatchRoutes by hand.
type watcher struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[backplanev1.WatchRoutesRequest, backplanev1.WatchRoutesResponse]
}

// watch says hello.
func (f *fixture) watch(instance, since string) *watcher {
	f.t.Helper()
	ctx, cancel := context.WithCancel(f.t.Context())
	f.t.Cleanup(cancel)
	stream, err := f.routes.WatchRoutes(ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	w := &watcher{t: f.t, stream: stream}
	w.send(&backplanev1.WatchRoutesRequest{Body: &backplanev1.WatchRoutesRequest_Hello{
		Hello: &backplanev1.Hello{Instance: instance, Kind: "gateway", Build: "v1", Address: "gw:9293", Cursor: since, Features: []string{"x"}},
	}})
	return w
}

func (w *watcher) send(m *backplanev1.WatchRoutesRequest) {
	w.t.Helper()
	if err := w.stream.Send(m); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watcher) ack(number uint64) {
	w.t.Helper()
	w.send(&backplanev1.WatchRoutesRequest{Body: &backplanev1.WatchRoutesRequest_Ack{
		Ack: &backplanev1.Ack{AppliedChangeNumber: number, SessionsClosed: 2},
	}})
}

// next is the next message that is no heartbeat.
func (w *watcher) next() *backplanev1.WatchRoutesResponse {
	w.t.Helper()
	for {
		m, err := w.stream.Recv()
		if err != nil {
			w.t.Fatalf("watch: %v", err)
		}
		if m.GetHeartbeat() == nil {
			return m
		}
	}
}

// snapshot is what a stream begins with.
func (w *watcher) snapshot() (*backplanev1.RouteSnapshot, *backplanev1.SnapshotEnd) {
	w.t.Helper()
	if b := w.next().GetBegin(); b.GetReset_() == backplanev1.Begin_RESET_UNSPECIFIED {
		w.t.Fatalf("watch begins with %v, want a snapshot", b)
	}
	all := &backplanev1.RouteSnapshot{}
	for {
		m := w.next()
		if end := m.GetSnapshotEnd(); end != nil {
			return all, end
		}
		if m.GetSnapshot() == nil || proto.Size(m) >= 1<<20 {
			w.t.Fatalf("a piece of the snapshot has %d bytes: %v", proto.Size(m), m)
		}
		proto.Merge(all, m.GetSnapshot())
	}
}

func (w *watcher) change() *backplanev1.RouteChange {
	w.t.Helper()
	m := w.next()
	if m.GetChange() == nil {
		w.t.Fatalf("watch says %v, want a change", m)
	}
	return m.GetChange()
}

func TestWatchRoutes(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a := f.api("Echo")
	v1 := f.version(a, "1")
	w := f.watch("gateway-1", "")
	state, end := w.snapshot()
	if len(state.GetPlans()) != 9 || len(state.GetRoutes()) != 1 || end.GetAsOfChangeNumber() != 2 {
		t.Errorf("snapshot = %v, %v, want 9 plans, 1 route, change 2", state, end)
	}
	if diff := cmp.Diff(f.route(v1), state.GetRoutes()[0], protocmp.Transform()); diff != "" {
		t.Errorf("route in the snapshot (-want +got):\n%s", diff)
	}
	n := end.GetAsOfChangeNumber()
	var last *backplanev1.RouteChange
	check := func(when string, want *backplanev1.RouteEvent) {
		t.Helper()
		n++
		last = w.change()
		if last.GetPosition().GetChangeNumber() != n || last.GetPosition().GetCursor() == "" || last.GetPosition().GetCreateTime() == nil {
			t.Errorf("%s: position = %v, want the number %d", when, last.GetPosition(), n)
		}
		if diff := cmp.Diff(want, last.GetEvent(), protocmp.Transform()); diff != "" {
			t.Errorf("%s: event (-want +got):\n%s", when, diff)
		}
	}
	v2 := f.version(a, "2")
	check("CreateVersion", &backplanev1.RouteEvent{Routes: []*backplanev1.Route{f.route(v2)}})
	f.publish(v2)
	check("PUBLISH", &backplanev1.RouteEvent{Routes: []*backplanev1.Route{f.route(v2)}})
	f.must(f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{Version: &catalogv1.Version{Name: v1.GetName(), Description: "x"}}, f.ann))
	check("a change that is nothing to routes", nil)
	f.must(f.UpdateApi(ctx, &catalogv1.UpdateApiRequest{Api: &catalogv1.Api{Name: a.GetName(), DefaultVersion: v1.GetName()}}, f.ann))
	check("a first default version", &backplanev1.RouteEvent{Routes: []*backplanev1.Route{f.route(v1)}})
	f.must(f.UpdateApi(ctx, &catalogv1.UpdateApiRequest{Api: &catalogv1.Api{Name: a.GetName(), DefaultVersion: v2.GetName()}}, f.ann))
	check("another default version", &backplanev1.RouteEvent{Routes: []*backplanev1.Route{f.route(v1), f.route(v2)}})
	cursor := last.GetPosition().GetCursor()
	f.demote(v2)
	check("DEMOTE", &backplanev1.RouteEvent{Routes: []*backplanev1.Route{f.route(v2)}})
	f.must(f.DeleteVersion(ctx, &catalogv1.DeleteVersionRequest{Name: v2.GetName()}, f.ann))
	check("DeleteVersion of the default", &backplanev1.RouteEvent{RemovedRoutes: []string{v2.GetName()}})
	f.must(f.DeleteApi(ctx, &catalogv1.DeleteApiRequest{Name: a.GetName(), Force: true}, f.ann))
	check("DeleteApi", &backplanev1.RouteEvent{RemovedRoutes: []string{v1.GetName()}})
	p, err := f.CreatePlan(ctx, &catalogv1.CreatePlanRequest{Plan: &catalogv1.Plan{DisplayName: "New"}}, f.root)
	f.must(p, err)
	check("CreatePlan", &backplanev1.RouteEvent{Plans: []*catalogv1.Plan{p}})
	p, err = f.UpdatePlan(ctx, &catalogv1.UpdatePlanRequest{Plan: &catalogv1.Plan{Name: p.GetName(), Description: "New."}}, f.root)
	f.must(p, err)
	check("UpdatePlan", &backplanev1.RouteEvent{Plans: []*catalogv1.Plan{p}})
	f.must(f.DeletePlan(ctx, &catalogv1.DeletePlanRequest{Name: p.GetName()}, f.root))
	check("DeletePlan", &backplanev1.RouteEvent{RemovedPlans: []string{p.GetName()}})

	// A watcher that comes back goes on where it was.
	back := f.watch("gateway-2", cursor)
	if b := back.next().GetBegin(); b == nil || b.GetReset_() != backplanev1.Begin_RESET_UNSPECIFIED {
		t.Errorf("a watcher that comes back is told %v", b)
	}
	for n := uint64(8); n <= 13; n++ {
		if c := back.change(); c.GetPosition().GetChangeNumber() != n {
			t.Errorf("a watcher that comes back hears change %d, want %d", c.GetPosition().GetChangeNumber(), n)
		}
	}
}

// must ends the test when a call has failed.
func (f *fixture) must(_ any, err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func TestWaitChangeAndWatchers(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	f.api("Echo")
	wait := func(name string) (*changev1.WaitChangeResponse, error) {
		return f.WaitChange(ctx, &changev1.WaitChangeRequest{Name: name}, f.sue)
	}
	const first = "services/catalog/changes/1"
	if got, err := wait(first); err != nil || !got.GetApplied() {
		t.Errorf("WaitChange with nobody watching = %v, %v, want true", got, err)
	}
	_, err := wait("services/catalog/changes/2")
	wantError(t, "WaitChange of a change to come", err, codes.NotFound, "services/catalog/changes/2 not found")
	w := f.watch("gateway-1", "")
	_, end := w.snapshot()
	applied := make(chan *changev1.WaitChangeResponse)
	go func() {
		got, err := wait(first)
		if err != nil {
			t.Errorf("WaitChange = %v", err)
		}
		applied <- got
	}()
	before, err := f.ListWatchers(ctx, &changev1.ListWatchersRequest{Parent: "services/catalog"}, f.root)
	if err != nil || len(before.GetWatchers()) != 1 || before.GetWatchers()[0].GetAppliedChangeNumber() != 0 {
		t.Errorf("ListWatchers before the ack = %v, %v", before, err)
	}
	w.ack(end.GetAsOfChangeNumber())
	if got := <-applied; !got.GetApplied() || len(got.GetPendingWatchers()) != 0 {
		t.Errorf("WaitChange after the ack = %v, want true", got)
	}
	list, err := f.ListWatchers(ctx, &changev1.ListWatchersRequest{Parent: "services/catalog"}, f.root)
	if err != nil || len(list.GetWatchers()) != 1 {
		t.Fatalf("ListWatchers = %v, %v", list, err)
	}
	want := &changev1.Watcher{
		Name: "services/catalog/watchers/gateway-1", Instance: "gateway-1", Kind: "gateway", Build: "v1", Address: "gw:9293", Features: []string{"x"},
		AppliedChangeNumber: 1, SessionsClosed: 2, Connected: true, SeenTime: list.GetWatchers()[0].GetSeenTime(),
	}
	if diff := cmp.Diff(want, list.GetWatchers()[0], protocmp.Transform()); diff != "" {
		t.Errorf("watcher (-want +got):\n%s", diff)
	}
}

func TestListChanges(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a := f.api("Echo")
	v := f.version(a, "1")
	f.publish(v)
	f.must(f.UpdatePlan(ctx, &catalogv1.UpdatePlanRequest{Plan: &catalogv1.Plan{Name: "plans/gold", Description: "Golden."}}, f.root))
	var got [][3]string
	token := ""
	for {
		list, err := f.ListChanges(ctx, &changev1.ListChangesRequest{Parent: "services/catalog", PageSize: 3, PageToken: token}, f.root)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list.GetChanges() {
			n := 4 - len(got)
			if c.GetCreateTime() == nil || c.GetChangeNumber() != uint64(n) || c.GetName() != fmt.Sprint("services/catalog/changes/", n) {
				t.Errorf("change %v is not number %d with a time", c, n)
			}
			if one, err := f.GetChange(ctx, &changev1.GetChangeRequest{Name: c.GetName()}, f.root); err != nil || !proto.Equal(one, c) {
				t.Errorf("GetChange(%s) = %v, %v, want what the list has", c.GetName(), one, err)
			}
			got = append(got, [3]string{c.GetActor(), c.GetAction(), c.GetResource()})
		}
		if token = list.GetNextPageToken(); token == "" {
			break
		}
	}
	want := [][3]string{
		{"users/root", "UpdatePlan", "plans/gold"},
		{"users/ann", "PublishVersion", v.GetName()},
		{"users/ann", "CreateVersion", v.GetName()},
		{"users/ann", "CreateApi", a.GetName()},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// TestAuditSaysWhatChanged makes, changes and removes resources: the audit log says what
// each field was and is. Of endpoints it says only that they changed.
func TestAuditSaysWhatChanged(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	a := f.api("Echo")
	v := f.version(a, "1")
	f.publish(v)
	f.must(f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{Version: &catalogv1.Version{
		Name: v.GetName(), Tags: []string{"a", "b"}, TrafficPlan: "plans/silver", Subscriptionless: true, MaxMessageBytes: 9,
		ErrorFrames: &catalogv1.ErrorFrames{Template: catalogv1.ErrorFrames_TEMPLATE_WSO2}, Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://elsewhere:1/key=top-secret")},
	}}, f.ann))
	f.must(f.UpdateApi(ctx, &catalogv1.UpdateApiRequest{Api: &catalogv1.Api{Name: a.GetName(), DisplayName: "Echo 2"}}, f.ann))
	f.must(f.UpdatePlan(ctx, &catalogv1.UpdatePlanRequest{Plan: &catalogv1.Plan{
		Name: "plans/gold", Billing: catalogv1.Plan_BILLING_COMMERCIAL, Attributes: map[string]string{"b": "2", "a": "1"},
		Limits: []*catalogv1.Limit{quota(5, catalogv1.Quota_WINDOW_DAY)},
	}}, f.root))
	f.demote(v)
	f.must(f.DeleteVersion(ctx, &catalogv1.DeleteVersionRequest{Name: v.GetName()}, f.ann))
	list, err := f.ListChanges(ctx, &changev1.ListChangesRequest{Parent: "services/catalog"}, f.root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range slices.Backward(list.GetChanges()) {
		line := c.GetAction() + " " + c.GetResourceDisplayName() + ":"
		for _, field := range c.GetFieldChanges() {
			line += fmt.Sprintf(" %s %s>%s", field.GetField(), field.GetOldValue(), field.GetNewValue())
			if field.GetSecret() {
				line += "secret"
			}
		}
		got = append(got, line)
	}
	security := `[{"oauth2":{"places":[{"header":{"name":"Authorization"}},{"query":{"name":"access_token"}}]}}]`
	limited := " traffic_plan >plans/silver subscriptionless >true max_message_bytes >9 error_frames.template >TEMPLATE_WSO2"
	quota := func(name string, amount int, window string) string {
		return fmt.Sprintf(`[{"name":%q,"quota":{"unit":"UNIT_MESSAGES","amount":"%d","window":"WINDOW_%s","on_outage":"OUTAGE_ALLOW"},"reaction":"REACTION_DROP"}]`,
			name, amount, window)
	}
	want := []string{
		"CreateApi Echo: display_name >Echo context >/echo owner >users/ann",
		`CreateVersion Echo/1: version >1 endpoints.production >secret security >` + security + ` plans >["plans/gold"] state >STATE_CREATED`,
		"PublishVersion Echo/1: state STATE_CREATED>STATE_PUBLISHED",
		`UpdateVersion Echo/1: tags >["a","b"] endpoints.production >secret` + limited,
		"UpdateApi Echo 2: display_name Echo>Echo 2",
		"UpdatePlan Gold: limits " + quota("messages-per-minute", 5000, "MINUTE") + ">" + quota("messages-per-day", 5, "DAY") +
			` billing BILLING_FREE>BILLING_COMMERCIAL attributes >{"a":"1","b":"2"}`,
		"DemoteVersion Echo 2/1: state STATE_PUBLISHED>STATE_CREATED",
		`DeleteVersion Echo 2/1: version 1> tags ["a","b"]> endpoints.production >secret security ` + security + `> plans ["plans/gold"]> state STATE_CREATED>` +
			" traffic_plan plans/silver> subscriptionless true> max_message_bytes 9> error_frames.template TEMPLATE_WSO2>",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if dump := f.dump(); strings.Contains(dump, "top-secret") {
		t.Error("the database has the endpoint's secret in plain")
	}
}

func TestWhoWatches(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	get := &backplanev1.GetRouteRequest{Name: "apis/a/versions/v"}
	portal := backplanev1.NewRouteServiceClient(f.dial(f.services, identity.Portal))
	_, err := portal.GetRoute(ctx, get)
	wantError(t, "GetRoute by the portal", err, codes.PermissionDenied, "only services call this method")
	_, err = portal.GetRoute(ctx, get, f.root)
	wantError(t, "GetRoute by an administrator", err, codes.PermissionDenied, "only services call this method")
	users := backplanev1.NewRouteServiceClient(f.dial(f.users, ""))
	_, err = users.GetRoute(ctx, get, f.root)
	wantError(t, "GetRoute on the users' face", err, codes.Unimplemented, "there is no method \"/tidegate.backplane.v1.RouteService/GetRoute\" here")
	// Only the portal is told where gateways are, and with no token or a good one.
	f.watch("gateway-1", "").snapshot()
	where := func(caller string, opts ...grpc.CallOption) (*backplanev1.ListGatewaysResponse, error) {
		return backplanev1.NewDirectoryServiceClient(f.dial(f.services, caller)).ListGateways(ctx, &backplanev1.ListGatewaysRequest{}, opts...)
	}
	found, err := where(identity.Portal, f.sue)
	if err != nil || len(found.GetGateways()) != 1 || found.GetGateways()[0].GetAddress() != "gw:9293" {
		t.Errorf("ListGateways by the portal = %v, %v, want gateway-1 at gw:9293", found, err)
	}
	_, err = where(identity.Portal, identitytest.Bearer("x"))
	wantError(t, "ListGateways with a token that is none", err, codes.Unauthenticated, "the token is not a user's access token")
	_, err = where(identity.Gateway)
	wantError(t, "ListGateways by a gateway", err, codes.PermissionDenied, "only services call this method")
	// The portal serves users there, with their tokens.
	catalog := catalogv1.NewCatalogServiceClient(f.dial(f.services, identity.Portal))
	if _, err := catalog.ListPlans(ctx, &catalogv1.ListPlansRequest{}, f.sue); err != nil {
		t.Errorf("ListPlans through the portal = %v", err)
	}
	_, err = catalog.ListPlans(ctx, &catalogv1.ListPlansRequest{})
	wantError(t, "ListPlans by the portal itself", err, codes.Unauthenticated, "sign in first: the call carries no token")
}
