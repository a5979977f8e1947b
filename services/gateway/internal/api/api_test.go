package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/identity/identitytest"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sessionorder"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fixture is the API of a gateway with sessions in their handshake.
type fixture struct {
	gatewayv1.SessionServiceClient
	t        *testing.T
	registry *session.Registry
	routes   *routes.Current
	ready    error

	live      backplanev1.LiveSessionServiceClient // as the portal
	endpoints gatewayv1.EndpointServiceClient
	found     upstream.Check       // by a check of an endpoint
	checked   *upstream.Request    // of the last one
	asked     string               // of the last one for HTTP, GET and the path
	checking  chan context.Context // gets those of checks, which then wait; nil: they do not

	// ann owns version 1, bob version 2, sue the applications and version 3, tom nothing, root
	// is an administrator.
	ann, bob, sue, tom, root grpc.CallOption
}

// stage has endpoints of these URLs.
func stage(urls ...string) *routes.Stage {
	var all []*routes.Endpoint
	for _, url := range urls {
		e, err := routes.ParseEndpoint(url)
		if err != nil {
			panic(err)
		}
		all = append(all, e)
	}
	return routes.NewStage(balance.Default(), all...)
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, registry: session.NewRegistry(nil, func(session.Record) {})}
	current := &routes.Current{}
	table, err := current.Load().With(routes.Changes{Put: []*routes.Route{
		{
			Name: "apis/a/versions/1", API: "apis/a", Owner: "users/ann", Context: "/a", Segment: "1", Published: true,
			Endpoints: routes.Endpoints{Production: stage("ws://production.example"), Sandbox: stage("ws://sandbox.example")},
			HTTP:      &routes.HTTP{Endpoints: routes.Endpoints{Production: stage("http://plain.example")}},
			Backends:  routes.Backends{ClientHosts: []string{"client.example"}},
		},
		{Name: "apis/b/versions/2", API: "apis/b", Owner: "users/bob", Context: "/b", Segment: "2"},
		{Name: "apis/c/versions/3", API: "apis/c", Owner: "users/sue", Context: "/c", Segment: "3"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	current.Swap(table)
	f.routes = current
	signer := identitytest.New(t)
	l := memnet.Listen("gateway")
	cfg := grpcserver.Default("", "")
	inside := memnet.Listen("gateway-internal")
	cfg.Listener, cfg.InternalListener, cfg.Drain = l, inside, time.Second
	srv := grpcserver.New(cfg, slog.New(slog.DiscardHandler),
		grpcserver.Auth{Verifier: signer.Verifier(), Rules: Rules()})
	New(Gateway{
		Instance: "gateway-1", Build: "v1", Started: time.Unix(1000, 0), Ready: func() error { return f.ready },
		RoutesApplied: func() uint64 { return 7 }, GrantsApplied: func() uint64 { return 8 },
		Closed: func(ctx context.Context, changeNumber uint64) (int, error) {
			if changeNumber > 8 {
				<-ctx.Done()
				return 0, ctx.Err()
			}
			return int(changeNumber), nil
		},
	}, f.registry, current, nil, f).Register(srv.Public(), srv.Internal())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	conn, err := l.Dial("")
	if err != nil {
		t.Fatal(err)
	}
	portal, err := inside.Dial(identity.Portal)
	if err != nil {
		t.Fatal(err)
	}
	f.live = backplanev1.NewLiveSessionServiceClient(portal)
	t.Cleanup(func() {
		conn.Close()
		portal.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	f.SessionServiceClient, f.endpoints = gatewayv1.NewSessionServiceClient(conn), gatewayv1.NewEndpointServiceClient(conn)
	as := func(id string, roles ...string) grpc.CallOption {
		return identitytest.Bearer(signer.Token(id, roles...))
	}
	f.ann, f.bob, f.sue, f.tom, f.root = as("ann", "creator"), as("bob", "creator"), as("sue", "subscriber"), as("tom", "subscriber"), as("root", "admin")
	return f
}

// add registers a session of a version; one without an application is of the
// scheme none.
func (f *fixture) add(ref, version, application string) *session.Session {
	f.t.Helper()
	return f.addUnder(nil, ref, version, application)
}

// addUnder registers a session under plans.
func (f *fixture) addUnder(plans *session.Plans, ref, version, application string) *session.Session {
	f.t.Helper()
	info := session.Info{
		Ref: ref, Route: &session.Route{Version: version}, Plans: plans,
		ClientAddr: netip.MustParseAddrPort("192.0.2.1:1234"), Subprotocol: "chat",
	}
	if application != "" {
		info.Grant = &grant.Grant{
			Name: "grants/g", User: "users/sue", Application: application, Subscription: "subscriptions/s",
			ExpireTime: time.Unix(5000, 0),
		}
	}
	s, err := f.registry.New(nil, info)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

const (
	parent = "gateways/gateway-1"

	v1 = "apis/a/versions/1"
	v2 = "apis/b/versions/2"
)

// refs returns the references of a list.
func refs(list []*gatewayv1.Session) []string {
	var all []string
	for _, s := range list {
		all = append(all, strings.TrimPrefix(s.GetName(), "gateways/gateway-1/sessions/"))
	}
	return all
}

func TestListShowsWhatTheCallerMaySee(t *testing.T) {
	f := newFixture(t)
	f.addUnder(&session.Plans{Plan: "plans/gold", ApplicationPlan: "plans/own"}, "r1", v1, "applications/x")
	f.addUnder(&session.Plans{TrafficPlan: "plans/all"}, "r2", v2, "applications/y")
	f.addUnder(&session.Plans{TrafficPlan: "plans/gold"}, "r3", v1, "")
	f.add("r4", "apis/gone/versions/1", "applications/x")
	for name, tt := range map[string]struct {
		as     grpc.CallOption
		filter string
		want   []string
	}{
		"root":                             {f.root, "", []string{"r1", "r2", "r3", "r4"}},
		"ann":                              {f.ann, "", []string{"r1", "r3"}},
		"bob":                              {f.bob, "", []string{"r2"}},
		"sue, of her applications":         {f.sue, "", []string{"r1", "r2", "r4"}},
		"sue by application":               {f.sue, `application = "applications/y"`, []string{"r2"}},
		"sue by one that she does not see": {f.sue, `plan = "plans/all"`, nil},
		"tom":                              {f.tom, "", nil},
		"tom by sue's application":         {f.tom, `application = "applications/x"`, nil},
		"root by version":                  {f.root, `version = "apis/b/versions/2"`, []string{"r2"}},
		"root by API":                      {f.root, `api = "apis/a"`, []string{"r1", "r3"}},
		"root by address":                  {f.root, `client_address = "192.0.2.1"`, []string{"r1", "r2", "r3", "r4"}},
		"root by network and API":          {f.root, `client_address = "192.0.2.0/30" AND api = "apis/b"`, []string{"r2"}},
		"root by another network":          {f.root, `client_address = "192.0.2.4/30"`, nil},
		"ann by address":                   {f.ann, `client_address = "::ffff:192.0.2.1"`, []string{"r1", "r3"}},
		"root by application":              {f.root, `application = "applications/x"`, []string{"r1", "r4"}},
		"root by user":                     {f.root, `user="users/sue" AND version="apis/a/versions/1"`, []string{"r1"}},
		"root by subscription":             {f.root, `subscription = "subscriptions/s"`, []string{"r1", "r2", "r4"}},
		"root without a grant":             {f.root, `user = ""`, []string{"r3"}},
		"ann by plan":                      {f.ann, `plan = "plans/gold"`, []string{"r1", "r3"}},
		"ann by one that she does not see": {f.ann, `plan = "plans/own"`, nil},
		"root by plan":                     {f.root, `plan = "plans/gold"`, []string{"r1", "r3"}},
		"root by another plan":             {f.root, `plan = "plans/own"`, []string{"r1"}},
		"root without a plan":              {f.root, `plan = ""`, []string{"r4"}},
		"bob by ann's version":             {f.bob, `version = "apis/a/versions/1"`, nil},
	} {
		got, err := f.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{Parent: parent, Filter: tt.filter}, tt.as)
		if err != nil || !slices.Equal(refs(got.GetSessions()), tt.want) || int(got.GetTotalSize()) != len(tt.want) {
			t.Errorf("%s: ListSessions = %v of %d, %v, want %v", name, refs(got.GetSessions()), got.GetTotalSize(), err, tt.want)
		}
	}
}

func TestListInPages(t *testing.T) {
	f := newFixture(t)
	var want []string
	for i := range 7 { // more than two pages: a page begins before all sessions were looked at
		ref := fmt.Sprint("r", i)
		f.add(ref, v1, "")
		want = append(want, ref)
	}
	var got []string
	req := &gatewayv1.ListSessionsRequest{Parent: parent, PageSize: 3}
	for {
		resp, err := f.ListSessions(t.Context(), req, f.root)
		if err != nil || len(resp.GetSessions()) > 3 {
			t.Fatalf("ListSessions = %d sessions, %v", len(resp.GetSessions()), err)
		}
		if n := resp.GetTotalSize(); n != 7 && (n != 6 || len(got) < 3) {
			t.Errorf("%d sessions in all, want 7, and one less after the first page", n)
		}
		got = append(got, refs(resp.GetSessions())...)
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
		if len(got) == 3 {
			f.registry.Get("r1").Abandon() // it is on an earlier page
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the pages hold %v, want %v", got, want)
	}
	first, err := f.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{Parent: parent, PageSize: 1}, f.root)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{
		Parent: parent, PageToken: first.GetNextPageToken(), Filter: `user = ""`,
	}, f.root)
	wantStatus(t, "ListSessions with the token of another filter", err, codes.InvalidArgument, "page_token: belongs to another list or filter")
}

func TestGetAndClose(t *testing.T) {
	f := newFixture(t)
	s := f.add("r1", v1, "applications/x")
	name := "gateways/gateway-1/sessions/r1"
	for _, call := range []grpc.CallOption{f.bob, f.tom} {
		_, err := f.GetSession(t.Context(), &gatewayv1.GetSessionRequest{Name: name}, call)
		wantStatus(t, "GetSession of somebody else's", err, codes.NotFound, "gateways/gateway-1/sessions/r1 not found")
		_, err = f.CloseSession(t.Context(), &gatewayv1.CloseSessionRequest{Name: name}, call)
		wantStatus(t, "CloseSession of somebody else's", err, codes.NotFound, "gateways/gateway-1/sessions/r1 not found")
	}
	if s.Err() != nil {
		t.Fatalf("the session was ended: %v", s.Err())
	}
	got, err := f.GetSession(t.Context(), &gatewayv1.GetSessionRequest{Name: name}, f.ann)
	if err != nil || got.GetName() != name || got.GetVersion() != v1 || got.GetApplication() != "applications/x" ||
		got.GetSubscription() != "subscriptions/s" || got.GetUser() != "users/sue" || got.GetClientAddress() != "192.0.2.1:1234" ||
		got.GetStartTime() != nil || got.GetExpireTime().GetSeconds() != 5000 || got.GetSubprotocol() != "chat" || got.GetInbound() == nil {
		t.Errorf("GetSession = %v, %v", got, err)
	}
	if _, err := f.CloseSession(t.Context(), &gatewayv1.CloseSessionRequest{Name: name}, f.ann); err != nil {
		t.Errorf("CloseSession = %v", err)
	}
	hers := f.add("r2", v1, "applications/x")
	if _, err := f.CloseSession(t.Context(), &gatewayv1.CloseSessionRequest{Name: "gateways/gateway-1/sessions/r2"}, f.sue); err != nil {
		t.Errorf("CloseSession by the application's owner = %v", err)
	}
	for by, s := range map[string]*session.Session{"users/ann": s, "users/sue": hers} {
		var ended *session.EndedError
		if !errors.As(s.Err(), &ended) || ended.Ending.ClientCode != 4010 || ended.Ending.By != ending.Operator || ended.Ending.Detail != "by "+by {
			t.Errorf("the session ended with %v, want 4010 by the operator, who is %s", s.Err(), by)
		}
	}
}

// moving is a session's transport that a limit has paused.
type moving struct {
	session.Transport
	limits []ending.LimitCount
}

func (moving) Start(ending.Terms) error { return nil }
func (moving) Started() time.Time       { return time.Unix(7000, 0) }
func (moving) Totals() ending.Totals    { return ending.Totals{FromClient: ending.Count{Messages: 3}} }
func (m moving) Limits() (did []ending.LimitCount, since time.Time) {
	return m.limits, time.Unix(8000, 0)
}

// TestASessionShowsItsLimits with what they did: those of the subscription to whoever sees it,
// those of the version to the version's owner, those of the application to the application's,
// and to administrators all. The plans of both are shown to the same, in an answer, a list and
// a filter.
func TestASessionShowsItsLimits(t *testing.T) {
	f := newFixture(t)
	var did []ending.LimitCount
	var all []*usagev1.LimitUsage
	for place, plan := range []string{"plans/gold", "plans/own", "plans/all"} {
		limit := &limits.Limit{Terms: &limits.Terms{Place: limits.Place(place), Plan: plan, Name: "bytes-rate"}}
		did = append(did, ending.LimitCount{Limit: limit, Pauses: 1, Paused: 1500 * time.Millisecond, Dropped: 2, Closed: 3, Hits: 4})
		all = append(all, &usagev1.LimitUsage{
			Place: catalogv1.PlanPlace(place) + 1, Plan: plan, Limit: "bytes-rate",
			Pauses: 1, PausedMilliseconds: 1500, DroppedMessages: 2, ClosedSessions: 3, ObservedHits: 4,
		})
	}
	plans := &session.Plans{Plan: "plans/gold", ApplicationPlan: "plans/own", TrafficPlan: "plans/all"}
	for ref, version := range map[string]string{"r1": v1, "hers": "apis/c/versions/3"} {
		if err := f.addUnder(plans, ref, version, "applications/x").Start(moving{limits: did}); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		who, ref string
		as       grpc.CallOption
		own, all bool // its application's plan, and its version's, are shown
	}{
		{"the version's owner", "r1", f.ann, false, true}, {"the application's owner", "r1", f.sue, true, false},
		{"an administrator", "r1", f.root, true, true}, {"the owner of both", "hers", f.sue, true, true},
	} {
		want := &gatewayv1.Session{Plan: "plans/gold", PausedSinceTime: &timestamppb.Timestamp{Seconds: 8000}, Limits: all[:1:1]}
		if tt.own {
			want.Grant, want.ApplicationPlan, want.Limits = "grants/g", "plans/own", append(want.GetLimits(), all[1])
		}
		if tt.all {
			want.TrafficPlan, want.Limits = "plans/all", append(want.GetLimits(), all[2])
		}
		got, err := f.GetSession(t.Context(), &gatewayv1.GetSessionRequest{Name: "gateways/gateway-1/sessions/" + tt.ref}, tt.as)
		if err != nil {
			t.Fatal(err)
		}
		list, err := f.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{Parent: parent, Filter: `user = "users/sue"`}, tt.as)
		if err != nil {
			t.Fatal(err)
		}
		at := slices.Index(refs(list.GetSessions()), tt.ref)
		other := protocmp.IgnoreFields(want, "name", "version", "application", "subscription", "user", "client_address", "start_time", "expire_time", "inbound", "outbound", "subprotocol")
		if diff := cmp.Diff([]*gatewayv1.Session{want, want}, []*gatewayv1.Session{got, list.GetSessions()[at]}, protocmp.Transform(), other); diff != "" {
			t.Errorf("%s: the session, and in a list (- want, + got):\n%s", tt.who, diff)
		}
		for plan, want := range map[string]bool{"plans/own": tt.own, "plans/all": tt.all} {
			list, err = f.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{Parent: parent, Filter: fmt.Sprintf("plan = %q", plan)}, tt.as)
			if found := slices.Contains(refs(list.GetSessions()), tt.ref); err != nil || found != want {
				t.Errorf("%s: found by %s: %v, %v, want %v", tt.who, plan, found, err, want)
			}
		}
	}
}

func TestGetGateway(t *testing.T) {
	f := newFixture(t)
	f.add("r1", v1, "")
	got, err := f.GetGateway(t.Context(), &gatewayv1.GetGatewayRequest{Name: parent}, f.sue)
	if err != nil || got.GetName() != "gateways/gateway-1" || got.GetBuild() != "v1" || got.GetRoutesAppliedChangeNumber() != 7 ||
		got.GetGrantsAppliedChangeNumber() != 8 || !got.GetReady() || got.GetSessions() != 0 || got.GetStartTime().GetSeconds() != 1000 {
		t.Errorf("GetGateway = %v, %v", got, err)
	}
	f.ready = errors.New("no routes yet")
	if got, err := f.GetGateway(t.Context(), &gatewayv1.GetGatewayRequest{Name: "gateways/gateway-1"}, f.sue); err != nil || got.GetReady() {
		t.Errorf("GetGateway = %v, %v, want it not ready", got, err)
	}
}

func TestBadInput(t *testing.T) {
	f := newFixture(t)
	f.add("r1", v1, "")
	long := strings.Repeat("x", 201)
	gateway := "must be gateways/{gateway}"
	for _, name := range []string{"", "gateways", "gateways/", "gateways/a/b", "gateway/x", "gateways/a b", "gateways/" + long, "gateways/\x01"} {
		_, err := f.GetGateway(t.Context(), &gatewayv1.GetGatewayRequest{Name: name}, f.root)
		wantStatus(t, "GetGateway("+name+")", err, codes.InvalidArgument, "name: "+gateway)
		_, err = f.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{Parent: name}, f.root)
		wantStatus(t, "ListSessions("+name+")", err, codes.InvalidArgument, "parent: "+gateway)
	}
	_, err := f.GetGateway(t.Context(), &gatewayv1.GetGatewayRequest{Name: "gateways/other"}, f.root)
	wantStatus(t, "GetGateway(another)", err, codes.NotFound, "gateways/other not found")
	for _, name := range []string{"", "r1", "gateways/gateway-1", "gateways/gateway-1/sessions/", "gateways//sessions/r1", "gateways/gateway-1/sessions/r1/x", "gateways/-/sessions/" + long} {
		_, err := f.GetSession(t.Context(), &gatewayv1.GetSessionRequest{Name: name}, f.root)
		wantStatus(t, "GetSession("+name+")", err, codes.InvalidArgument, "name: must be gateways/{gateway}/sessions/{session}")
		_, err = f.CloseSession(t.Context(), &gatewayv1.CloseSessionRequest{Name: name}, f.root)
		wantStatus(t, "CloseSession("+name+")", err, codes.InvalidArgument, "name: must be gateways/{gateway}/sessions/{session}")
	}
	const onlyPortal = ": only the portal answers for all gateways"
	_, err = f.GetGateway(t.Context(), &gatewayv1.GetGatewayRequest{Name: "gateways/-"}, f.root)
	wantStatus(t, "GetGateway(all)", err, codes.InvalidArgument, "name: must be gateways/gateway-1"+onlyPortal)
	_, err = f.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{Parent: "gateways/-"}, f.root)
	wantStatus(t, "ListSessions(all)", err, codes.InvalidArgument, "parent: must be gateways/gateway-1"+onlyPortal)
	_, err = f.CountSessions(t.Context(), &gatewayv1.CountSessionsRequest{Parent: "gateways/-", GroupBy: "version"}, f.root)
	wantStatus(t, "CountSessions(all)", err, codes.InvalidArgument, "parent: must be gateways/gateway-1"+onlyPortal)
	_, err = f.CloseSession(t.Context(), &gatewayv1.CloseSessionRequest{Name: "gateways/-/sessions/r1"}, f.root)
	wantStatus(t, "CloseSession(all)", err, codes.InvalidArgument, "name: must be gateways/gateway-1/sessions/{session}"+onlyPortal)
	_, err = f.ListGateways(t.Context(), &gatewayv1.ListGatewaysRequest{}, f.root)
	wantStatus(t, "ListGateways", err, codes.Unimplemented, "only the portal lists gateways: this is gateways/gateway-1")
	for _, name := range []string{"gateways/other/sessions/r1", "gateways/gateway-1/sessions/r2"} {
		_, err := f.GetSession(t.Context(), &gatewayv1.GetSessionRequest{Name: name}, f.root)
		wantStatus(t, "GetSession("+name+")", err, codes.NotFound, name+" not found")
	}
	elsewhere, err := page.New[sessionorder.Key](&gatewayv1.ListSessionsRequest{Parent: "gateways/-"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		req  *gatewayv1.ListSessionsRequest
		want string
	}{
		{&gatewayv1.ListSessionsRequest{PageSize: -1}, "page_size: must not be negative"},
		{&gatewayv1.ListSessionsRequest{PageToken: "x"}, "page_token: is not a token that a list has returned"},
		{&gatewayv1.ListSessionsRequest{PageToken: strings.Repeat("x", 1025)}, "page_token: must be at most 1024 characters"},
		{&gatewayv1.ListSessionsRequest{PageToken: elsewhere.Token(sessionorder.NewKey(time.Time{}, resourcename.Session{Gateway: "g", Ref: "r"}))}, "page_token: belongs to another list or filter"},
		{&gatewayv1.ListSessionsRequest{Filter: "user"}, `filter: must be field = "value", joined by AND`},
		{&gatewayv1.ListSessionsRequest{Filter: `color = "red"`}, `filter: no field "color": there are api, api_key, application, client_address, grant, oauth_client, plan, secret, subscription, user, version`},
		{&gatewayv1.ListSessionsRequest{Filter: `client_address = "192.0.2.1/24"`}, `filter: client_address must be an IP address or a network such as 203.0.113.0/24: "192.0.2.1/24" has bits beyond its length: 192.0.2.0/24 is meant`},
		{&gatewayv1.ListSessionsRequest{Filter: strings.Repeat("ä", 1025)}, "filter: must be at most 1024 characters"},
	} {
		tt.req.Parent = parent
		_, err := f.ListSessions(t.Context(), tt.req, f.root)
		wantStatus(t, fmt.Sprintf("ListSessions(%v)", tt.req), err, codes.InvalidArgument, tt.want)
	}
	_, err = f.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{Parent: parent})
	wantStatus(t, "ListSessions of nobody", err, codes.Unauthenticated, "sign in first: the call carries no token")
}

func wantStatus(t *testing.T, call string, err error, code codes.Code, message string) {
	t.Helper()
	s, _ := status.FromError(err)
	if s.Code() != code || s.Message() != message {
		t.Errorf("%s = %v %q, want %v %q", call, s.Code(), s.Message(), code, message)
	}
}
