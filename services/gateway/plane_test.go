package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity/identitytest"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
)

// plane is a control plane: catalog and subscription in one, as far as a gateway
// sees them. It can go away and come back.
type plane struct {
	backplanev1.UnimplementedRouteServiceServer
	backplanev1.UnimplementedGrantServiceServer
	backplanev1.UnimplementedMeteringServiceServer
	backplanev1.UnimplementedDirectoryServiceServer

	t      *testing.T
	signer *identitytest.Signer
	conn   *grpc.ClientConn
	routes feed[backplanev1.WatchRoutesResponse]
	grants feed[backplanev1.WatchGrantsResponse]

	mu       sync.Mutex
	server   *grpc.Server // nil while away
	listener *memnet.Listener
	served   sync.WaitGroup
	versions map[string]*backplanev1.Route
	plans    map[string]*catalogv1.Plan
	rules    map[string]*catalogv1.DenyRule
	tokens   map[string]*token
	tickets  map[string]*ticket
	verified int
	usage    map[string]*backplanev1.ReportUsageRequest
	records  []*usagev1.SessionRecord
	leftOut  []*backplanev1.LeftOut
	ledger   *ledger
}

// token is a credential and what became of it.
type token struct {
	subscription string
	application  string
	plan         string // of the subscription
	own          string // plan of the application
	expires      time.Time
	ended        backplanev1.GrantEvent_Cause // 0 while it is good
	key          string                       // name of the API key that it is, empty for an access token
}

// newPlane starts a control plane that ends with the test.
func newPlane(t *testing.T) *plane {
	t.Helper()
	p := &plane{
		t: t, signer: identitytest.New(t), versions: map[string]*backplanev1.Route{}, plans: map[string]*catalogv1.Plan{}, rules: map[string]*catalogv1.DenyRule{}, tokens: map[string]*token{}, tickets: map[string]*ticket{},
		usage: map[string]*backplanev1.ReportUsageRequest{}, ledger: newLedger(),
	}
	p.routes.begin()
	p.grants.begin()
	var err error
	p.conn, err = grpc.NewClient("passthrough:///plane", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return p.dial(ctx) }),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	p.back()
	t.Cleanup(func() {
		p.conn.Close()
		p.away()
	})
	return p
}

func (p *plane) dial(ctx context.Context) (net.Conn, error) {
	p.mu.Lock()
	l := p.listener
	p.mu.Unlock()
	if l == nil {
		return nil, errors.New("the control plane is away")
	}
	return l.DialContext(ctx, "gateway")
}

// back serves.
func (p *plane) back() {
	srv, l := grpc.NewServer(), memnet.Listen("plane")
	backplanev1.RegisterRouteServiceServer(srv, p)
	backplanev1.RegisterGrantServiceServer(srv, p)
	backplanev1.RegisterMeteringServiceServer(srv, p)
	backplanev1.RegisterDirectoryServiceServer(srv, p)
	backplanev1.RegisterQuotaLedgerServiceServer(srv, p.ledger)
	oauth2v1.RegisterOAuth2ServiceServer(srv, p.signer)
	p.mu.Lock()
	p.server, p.listener = srv, l
	p.mu.Unlock()
	p.conn.ResetConnectBackoff()
	p.served.Go(func() { _ = srv.Serve(l) })
}

// away cuts everything off, as a kill would.
func (p *plane) away() {
	p.mu.Lock()
	srv := p.server
	p.server, p.listener = nil, nil
	p.mu.Unlock()
	if srv != nil {
		srv.Stop()
	}
	p.served.Wait()
}

// isThere reports whether the plane serves.
func (p *plane) isThere() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.server != nil
}

// WatchRoutes is the catalog's.
func (p *plane) WatchRoutes(s grpc.BidiStreamingServer[backplanev1.WatchRoutesRequest, backplanev1.WatchRoutesResponse]) error {
	m, err := s.Recv()
	if err != nil {
		return err
	}
	return p.routes.serve(s.Context(), m.GetHello(), s.Send, func() error { _, err := s.Recv(); return err }, watchMessages[backplanev1.WatchRoutesResponse]{
		begin: func(b *backplanev1.Begin) *backplanev1.WatchRoutesResponse {
			return &backplanev1.WatchRoutesResponse{Body: &backplanev1.WatchRoutesResponse_Begin{Begin: b}}
		},
		end: func(e *backplanev1.SnapshotEnd) *backplanev1.WatchRoutesResponse {
			return &backplanev1.WatchRoutesResponse{Body: &backplanev1.WatchRoutesResponse_SnapshotEnd{SnapshotEnd: e}}
		},
		beat: func(h *backplanev1.Heartbeat) *backplanev1.WatchRoutesResponse {
			return &backplanev1.WatchRoutesResponse{Body: &backplanev1.WatchRoutesResponse_Heartbeat{Heartbeat: h}}
		},
		snapshot: func() *backplanev1.WatchRoutesResponse {
			p.mu.Lock()
			defer p.mu.Unlock()
			all := &backplanev1.RouteSnapshot{Installation: "tidegate-test"}
			for _, r := range p.versions {
				all.Routes = append(all.Routes, proto.CloneOf(r))
			}
			for _, plan := range p.plans {
				all.Plans = append(all.Plans, proto.CloneOf(plan))
			}
			for _, r := range p.rules {
				all.DenyRules = append(all.DenyRules, proto.CloneOf(r))
			}
			return &backplanev1.WatchRoutesResponse{Body: &backplanev1.WatchRoutesResponse_Snapshot{Snapshot: all}}
		},
	})
}

// WatchGrants is the subscription service's.
func (p *plane) WatchGrants(s grpc.BidiStreamingServer[backplanev1.WatchGrantsRequest, backplanev1.WatchGrantsResponse]) error {
	m, err := s.Recv()
	if err != nil {
		return err
	}
	return p.grants.serve(s.Context(), m.GetHello(), s.Send, func() error { _, err := s.Recv(); return err }, watchMessages[backplanev1.WatchGrantsResponse]{
		begin: func(b *backplanev1.Begin) *backplanev1.WatchGrantsResponse {
			return &backplanev1.WatchGrantsResponse{Body: &backplanev1.WatchGrantsResponse_Begin{Begin: b}}
		},
		end: func(e *backplanev1.SnapshotEnd) *backplanev1.WatchGrantsResponse {
			return &backplanev1.WatchGrantsResponse{Body: &backplanev1.WatchGrantsResponse_SnapshotEnd{SnapshotEnd: e}}
		},
		beat: func(h *backplanev1.Heartbeat) *backplanev1.WatchGrantsResponse {
			return &backplanev1.WatchGrantsResponse{Body: &backplanev1.WatchGrantsResponse_Heartbeat{Heartbeat: h}}
		},
	})
}

// put makes or changes a version.
func (p *plane) put(r *backplanev1.Route) {
	p.routes.commit(func(at *backplanev1.Position) *backplanev1.WatchRoutesResponse {
		r = proto.CloneOf(r)
		r.ChangeNumber = at.GetChangeNumber()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.versions[r.GetName()] = r
		return &backplanev1.WatchRoutesResponse{Body: &backplanev1.WatchRoutesResponse_Change{Change: &backplanev1.RouteChange{
			Position: at, Event: &backplanev1.RouteEvent{Routes: []*backplanev1.Route{r}},
		}}}
	})
}

// putPlan makes or changes a plan.
func (p *plane) putPlan(name string, list ...*catalogv1.Limit) {
	plan := &catalogv1.Plan{Name: "plans/" + name, Limits: list}
	p.routes.commit(func(at *backplanev1.Position) *backplanev1.WatchRoutesResponse {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.plans[plan.GetName()] = plan
		return &backplanev1.WatchRoutesResponse{Body: &backplanev1.WatchRoutesResponse_Change{Change: &backplanev1.RouteChange{
			Position: at, Event: &backplanev1.RouteEvent{Plans: []*catalogv1.Plan{plan}},
		}}}
	})
}

// deny makes or changes a deny rule.
func (p *plane) deny(name string, r *catalogv1.DenyRule) {
	r = proto.CloneOf(r)
	r.Name = "denyRules/" + name
	p.routes.commit(func(at *backplanev1.Position) *backplanev1.WatchRoutesResponse {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.rules[r.GetName()] = r
		return &backplanev1.WatchRoutesResponse{Body: &backplanev1.WatchRoutesResponse_Change{Change: &backplanev1.RouteChange{
			Position: at, Event: &backplanev1.RouteEvent{DenyRules: []*catalogv1.DenyRule{r}},
		}}}
	})
}

// allow deletes a deny rule.
func (p *plane) allow(name string) {
	name = "denyRules/" + name
	p.routes.commit(func(at *backplanev1.Position) *backplanev1.WatchRoutesResponse {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.rules, name)
		return &backplanev1.WatchRoutesResponse{Body: &backplanev1.WatchRoutesResponse_Change{Change: &backplanev1.RouteChange{
			Position: at, Event: &backplanev1.RouteEvent{RemovedDenyRules: []string{name}},
		}}}
	})
}

// give gives a token's subscription and application plans, and tells gateways.
func (p *plane) give(name, plan, own string) {
	p.mu.Lock()
	t := p.tokens[name]
	t.plan, t.own = plan, own
	p.mu.Unlock()
	p.touch(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, t.subscription)
}

// touch tells gateways of a change of names.
func (p *plane) touch(cause backplanev1.GrantEvent_Cause, names ...string) {
	p.grants.commit(func(at *backplanev1.Position) *backplanev1.WatchGrantsResponse {
		return &backplanev1.WatchGrantsResponse{Body: &backplanev1.WatchGrantsResponse_Change{Change: &backplanev1.GrantChange{
			Position: at, Event: &backplanev1.GrantEvent{Cause: cause, Names: names},
		}}}
	})
}

// issue makes a token of a subscription, good for a time.
func (p *plane) issue(name, subscription string, life time.Duration) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens[name] = &token{subscription: subscription, application: "applications/a", expires: time.Now().Add(life)}
	return name
}

// issueKey makes an API key with this value, good for a time.
func (p *plane) issueKey(value string, life time.Duration) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens[value] = &token{subscription: "subscriptions/1", application: "applications/a", expires: time.Now().Add(life), key: "applications/a/apiKeys/k"}
	return value
}

// issueWith makes a token of the first subscription, with these plans.
func (p *plane) issueWith(name, plan, own string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens[name] = &token{subscription: "subscriptions/1", application: "applications/a", plan: plan, own: own, expires: time.Now().Add(time.Hour)}
}

// subscribe makes a token of an application of its own, which has these plans.
func (p *plane) subscribe(name, plan, own string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tokens[name] = &token{
		subscription: "subscriptions/" + name, application: "applications/" + name, plan: plan, own: own, expires: time.Now().Add(time.Hour),
	}
	return name
}

// end ends all tokens that match, without a word to gateways.
func (p *plane) end(cause backplanev1.GrantEvent_Cause, match func(name string, t *token) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name, t := range p.tokens {
		if match(name, t) {
			t.ended = cause
		}
	}
}

func grantOf(name string, t *token, version string) *backplanev1.Grant {
	g := &backplanev1.Grant{
		Name: "grants/" + name, User: "users/sue", Application: t.application, OauthClient: t.application + "/oauthClients/c",
		Stage: catalogv1.Stage_STAGE_PRODUCTION, Subscription: t.subscription, Plan: t.plan, ApplicationPlan: t.own, Version: version,
		ExpireTime: timestamppb.New(t.expires),
	}
	g.RestsOn = []string{g.Name, g.User, g.Application, g.OauthClient, g.Subscription, g.Version}
	if t.application == tryOutApplication {
		g.OauthClient, g.SignIn = "", signIn
		g.RestsOn = []string{g.Name, g.User, g.Version, g.SignIn}
	}
	if t.key != "" {
		g.OauthClient, g.ApiKey = "", t.key
		g.RestsOn = []string{g.Name, g.User, g.Application, g.ApiKey, g.Subscription, g.Version}
	}
	return g
}

// ListGateways is the subscription service's: there is one gateway.
func (p *plane) ListGateways(context.Context, *backplanev1.ListGatewaysRequest) (*backplanev1.ListGatewaysResponse, error) {
	return &backplanev1.ListGatewaysResponse{Gateways: []*changev1.Watcher{{Instance: "gateway-1"}}}, nil
}

// VerifyCredential is the subscription service's.
func (p *plane) VerifyCredential(_ context.Context, req *backplanev1.VerifyCredentialRequest) (*backplanev1.VerifyCredentialResponse, error) {
	asOf := p.grants.number()
	p.mu.Lock()
	defer p.mu.Unlock()
	if req.GetScheme() == backplanev1.CredentialScheme_CREDENTIAL_SCHEME_TICKET {
		return p.spend(req, asOf)
	}
	p.verified++
	resp := &backplanev1.VerifyCredentialResponse{AsOfChangeNumber: asOf, ServerTime: timestamppb.Now()}
	t := p.tokens[req.GetCredential()]
	isKey := req.GetScheme() == backplanev1.CredentialScheme_CREDENTIAL_SCHEME_API_KEY
	if t == nil || t.ended != 0 || !time.Now().Before(t.expires) || isKey != (t.key != "") {
		resp.Verdict = &backplanev1.VerifyCredentialResponse_Denial{Denial: &backplanev1.Denial{
			Reason: backplanev1.Denial_REASON_INVALID, RestsOn: []string{"grants/" + req.GetCredential()},
		}}
		return resp, nil
	}
	resp.Verdict = &backplanev1.VerifyCredentialResponse_Grant{Grant: grantOf(req.GetCredential(), t, req.GetVersion())}
	return resp, nil
}

// BatchGetGrants is the subscription service's.
func (p *plane) BatchGetGrants(_ context.Context, req *backplanev1.BatchGetGrantsRequest) (*backplanev1.BatchGetGrantsResponse, error) {
	resp := &backplanev1.BatchGetGrantsResponse{AsOfChangeNumber: p.grants.number()}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, q := range req.GetGrants() {
		name := q.GetName()[len("grants/"):]
		t := p.tokens[name]
		want := grantOf(name, t, q.GetVersion())
		switch {
		case q.GetOauthClient() != want.GetOauthClient() || q.GetSignIn() != want.GetSignIn() || q.GetStage() != want.GetStage() ||
			!q.GetExpireTime().AsTime().Equal(t.expires):
			return nil, fmt.Errorf("wrong query %v", q)
		case t.ended != 0:
			resp.Grants = append(resp.Grants, &backplanev1.GrantState{State: &backplanev1.GrantState_Ended{Ended: t.ended}})
		default:
			resp.Grants = append(resp.Grants, &backplanev1.GrantState{State: &backplanev1.GrantState_Grant{Grant: want}})
		}
	}
	return resp, nil
}

// FetchPlan is the catalog's. Some plans are known to it alone.
func (p *plane) FetchPlan(_ context.Context, req *backplanev1.FetchPlanRequest) (*catalogv1.Plan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if plan := p.plans[req.GetName()]; plan != nil {
		return plan, nil
	}
	return nil, status.Errorf(codes.NotFound, "%s not found", req.GetName())
}

// ReportUsage is the subscription service's; a batch counts once.
func (p *plane) ReportUsage(_ context.Context, req *backplanev1.ReportUsageRequest) (*backplanev1.ReportUsageResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.usage[fmt.Sprint(req.GetBatch().GetBootId(), req.GetBatch().GetSequence())] = req
	return &backplanev1.ReportUsageResponse{}, nil
}

// ReportSessionRecords is the subscription service's.
func (p *plane) ReportSessionRecords(_ context.Context, req *backplanev1.ReportSessionRecordsRequest) (*backplanev1.ReportSessionRecordsResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.records = append(p.records, req.GetSessionRecords()...)
	return &backplanev1.ReportSessionRecordsResponse{}, nil
}

// ReportLeftOut is the subscription service's.
func (p *plane) ReportLeftOut(_ context.Context, req *backplanev1.ReportLeftOutRequest) (*backplanev1.ReportLeftOutResponse, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leftOut = append(p.leftOut, req.GetLeftOut()...)
	return &backplanev1.ReportLeftOutResponse{}, nil
}

// totals sums up what was reported: sessions, and messages each way.
func (p *plane) totals() (sessions, inbound, outbound uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, req := range p.usage {
		for _, u := range req.GetUsage() {
			sessions += u.GetSessions()
			inbound += u.GetInbound().GetMessages()
			outbound += u.GetOutbound().GetMessages()
		}
	}
	return sessions, inbound, outbound
}

// endReasons returns the words of the records' end reasons, sorted.
func (p *plane) endReasons() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, r := range p.records {
		all = append(all, strings.TrimPrefix(r.GetEndReason().String(), "END_REASON_"))
	}
	slices.Sort(all)
	return all
}

func outgoing(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}
