package portal_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/certs/certtest"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity/identitytest"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/sessionorder"
	"github.com/tidegatehq/tidegate/services/portal"
)

// bearer is the user's token in all these tests.
func bearer() grpc.CallOption { return identitytest.Bearer("token") }

// node is a gateway at an address of its own, which takes one token.
type node struct {
	gatewayv1.UnimplementedSessionServiceServer
	gatewayv1.UnimplementedEndpointServiceServer
	instance, addr string

	mu       sync.Mutex
	sessions []*gatewayv1.Session // in the order of a list
	asked    []string             // requests, in words
	hang     bool                 // answers nothing
}

// liveNode is what a gateway says to services.
type liveNode struct {
	backplanev1.UnimplementedLiveSessionServiceServer
	node *node
}

// startNode serves a gateway until the test ends, over TLS with credentials where
// there are any.
func startNode(t *testing.T, instance string, opts ...grpc.ServerOption) *node {
	t.Helper()
	lis := listen(t)
	n := &node{instance: instance, addr: lis.Addr().String()}
	srv := grpc.NewServer(append(opts, grpc.ChainUnaryInterceptor(fault.UnaryInterceptor(slog.New(slog.DiscardHandler), nil), n.admit))...)
	gatewayv1.RegisterSessionServiceServer(srv, n)
	gatewayv1.RegisterEndpointServiceServer(srv, n)
	backplanev1.RegisterLiveSessionServiceServer(srv, &liveNode{node: n})
	done := make(chan error, 1)
	go func() { done <- srv.Serve(lis) }()
	t.Cleanup(func() {
		srv.Stop()
		if err := <-done; err != nil {
			t.Errorf("gateway: %v", err)
		}
	})
	return n
}

// watcher is what the catalog knows of the gateway.
func (n *node) watcher() *changev1.Watcher {
	return &changev1.Watcher{Instance: n.instance, Connected: true, Address: n.addr}
}

func (n *node) admit(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	n.mu.Lock()
	hang := n.hang
	n.asked = append(n.asked, strings.ReplaceAll(fmt.Sprint(req), "  ", " "))
	n.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if got := metadata.ValueFromIncomingContext(ctx, "authorization"); !slices.Equal(got, []string{"Bearer token"}) {
		return nil, fault.Unauthenticated("the token is not good")
	}
	return next(ctx, req)
}

// add adds sessions, each with its second of start, 0 in the handshake.
func (n *node) add(seconds ...int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range seconds {
		session := &gatewayv1.Session{Name: fmt.Sprintf("gateways/%s/sessions/r%d", n.instance, len(n.sessions))}
		if s > 0 {
			session.StartTime = &timestamppb.Timestamp{Seconds: s}
		}
		n.sessions = append(n.sessions, session)
	}
	slices.SortFunc(n.sessions, func(a, b *gatewayv1.Session) int { return sessionorder.KeyOf(a).Compare(sessionorder.KeyOf(b)) })
}

func (n *node) GetGateway(_ context.Context, req *gatewayv1.GetGatewayRequest) (*gatewayv1.Gateway, error) {
	if req.GetName() != "gateways/"+n.instance {
		return nil, fault.NotFound("%s", req.GetName())
	}
	return &gatewayv1.Gateway{Name: req.GetName(), Sessions: uint64(len(n.sessions))}, nil
}

func (n *node) ListSessions(_ context.Context, req *gatewayv1.ListSessionsRequest) (*gatewayv1.ListSessionsResponse, error) {
	p, err := page.New[sessionorder.Key](req)
	if err != nil || req.GetParent() != "gateways/"+n.instance {
		return nil, fault.Invalid("page_token", "%v of %s", err, req.GetParent())
	}
	if req.GetFilter() == "bad" {
		return nil, fault.Invalid("filter", "is bad")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	resp := &gatewayv1.ListSessionsResponse{TotalSize: int32(len(n.sessions))}
	for _, s := range n.sessions {
		if sessionorder.KeyOf(s).Compare(p.After) <= 0 {
			continue
		}
		if len(resp.GetSessions()) == int(req.GetPageSize()) {
			last := resp.GetSessions()[len(resp.GetSessions())-1]
			resp.NextPageToken = p.Token(sessionorder.KeyOf(last))
			break
		}
		resp.Sessions = append(resp.GetSessions(), s)
	}
	return resp, nil
}

func (n *node) GetSession(_ context.Context, req *gatewayv1.GetSessionRequest) (*gatewayv1.Session, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range n.sessions {
		if s.GetName() == req.GetName() {
			return s, nil
		}
	}
	return nil, fault.NotFound("%s", req.GetName())
}

func (n *node) CloseSession(ctx context.Context, req *gatewayv1.CloseSessionRequest) (*emptypb.Empty, error) {
	if _, err := n.GetSession(ctx, &gatewayv1.GetSessionRequest{Name: req.GetName()}); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sessions = slices.DeleteFunc(n.sessions, func(s *gatewayv1.Session) bool { return s.GetName() == req.GetName() })
	return &emptypb.Empty{}, nil
}

// fleet starts a portal in front of gateways g1, g2, ….
func fleet(t *testing.T, n int) (*site, []*node, gatewayv1.SessionServiceClient) {
	t.Helper()
	s, nodes, conn := fleetConn(t, n)
	return s, nodes, gatewayv1.NewSessionServiceClient(conn)
}

// fleetConn is fleet with the connection to the portal.
func fleetConn(t *testing.T, n int) (*site, []*node, *grpc.ClientConn) {
	t.Helper()
	var nodes []*node
	var watchers []*changev1.Watcher
	for i := range n {
		node := startNode(t, fmt.Sprint("g", i+1))
		nodes, watchers = append(nodes, node), append(watchers, node.watcher())
	}
	s := start(t, func(cfg *portal.Config) { cfg.Gateways.Conn = nil })
	rand.Shuffle(n, func(i, j int) { watchers[i], watchers[j] = watchers[j], watchers[i] })
	s.gateways(watchers...)
	return s, nodes, s.dial(t)
}

// away is a gateway at whose address nobody listens, and which the catalog has
// lost.
func away(t *testing.T, instance string) *changev1.Watcher {
	t.Helper()
	lis := listen(t)
	lis.Close()
	return &changev1.Watcher{Instance: instance, Address: lis.Addr().String()}
}

// TestSessionsOfAllGateways lists the sessions of three gateways by pages of every
// size: each once, by start and name, those in their handshake last.
func TestSessionsOfAllGateways(t *testing.T) {
	_, nodes, client := fleet(t, 3)
	nodes[0].add(5, 7, 7, 9, 0)
	nodes[1].add(7, 1, 0, 7)
	nodes[2].add(8, 7)
	want := []string{
		"g2 r1", "g1 r0", "g1 r1", "g1 r2", "g2 r0", "g2 r3", "g3 r1", "g3 r0", "g1 r3", "g1 r4", "g2 r2",
	}
	for size := int32(1); size <= 12; size++ {
		var got []string
		req := &gatewayv1.ListSessionsRequest{Parent: "gateways/-", PageSize: size}
		for range 20 {
			resp, err := client.ListSessions(t.Context(), req, bearer())
			if err != nil || len(resp.GetSessions()) > int(size) || int(resp.GetTotalSize()) != len(want) || len(resp.GetUnreachable()) > 0 {
				t.Fatalf("ListSessions by %d = %d sessions of %d, %v", size, len(resp.GetSessions()), resp.GetTotalSize(), err)
			}
			for _, s := range resp.GetSessions() {
				got = append(got, strings.NewReplacer("gateways/", "", "/sessions/", " ").Replace(s.GetName()))
			}
			if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %d: %q, want %q", size, got, want)
		}
	}
	one, err := client.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{Parent: "gateways/g3", PageSize: 5}, bearer())
	if err != nil || len(one.GetSessions()) != 2 {
		t.Errorf("ListSessions of one gateway = %v, %v, want its two", one, err)
	}
}

// TestSessionIsFoundAnywhere gets and closes a session whose gateway the caller
// does not know, and one whose gateway it names.
func TestSessionIsFoundAnywhere(t *testing.T) {
	s, nodes, client := fleet(t, 3)
	nodes[1].add(1, 2)
	got, err := client.GetSession(t.Context(), &gatewayv1.GetSessionRequest{Name: "gateways/-/sessions/r1"}, bearer())
	if err != nil || got.GetName() != "gateways/g2/sessions/r1" {
		t.Errorf("GetSession = %v, %v, want it from g2", got, err)
	}
	if _, err := client.CloseSession(t.Context(), &gatewayv1.CloseSessionRequest{Name: "gateways/-/sessions/r1"}, bearer()); err != nil {
		t.Errorf("CloseSession = %v", err)
	}
	_, err = client.GetSession(t.Context(), &gatewayv1.GetSessionRequest{Name: "gateways/-/sessions/r1"}, bearer())
	wantError(t, "GetSession of what was closed", err, codes.NotFound, "gateways/-/sessions/r1 not found")
	before := len(nodes[0].asked)
	if got := s.do(t, "POST", "/v1/gateways/g2/sessions/r0:close", "", "Authorization", "Bearer token"); got.status != 200 {
		t.Errorf("POST :close = %d %s", got.status, got.body)
	}
	if len(nodes[1].sessions) > 0 || len(nodes[0].asked) != before {
		t.Errorf("g2 has %v, g1 was asked %q, want that only g2 was and has none", nodes[1].sessions, nodes[0].asked[before:])
	}
}

// TestUnreachableGateways leaves gateways out that cannot be reached where that is
// asked for, and else says which they are.
func TestUnreachableGateways(t *testing.T) {
	s, nodes, client := fleet(t, 2)
	nodes[0].add(1)
	nodes[1].add(2)
	s.gateways(nodes[1].watcher(), away(t, "g9"), nodes[0].watcher(), &changev1.Watcher{Instance: "g8"})
	const cannot = "gateways/g8 and gateways/g9 cannot be reached, try again"
	list, err := client.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{Parent: "gateways/-", ReturnPartialSuccess: true}, bearer())
	if err != nil || len(list.GetSessions()) != 2 || list.GetTotalSize() != 2 || !slices.Equal(list.GetUnreachable(), []string{"gateways/g8", "gateways/g9"}) {
		t.Errorf("ListSessions of what is there = %v, %v", list, err)
	}
	_, err = client.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{Parent: "gateways/-"}, bearer())
	wantError(t, "ListSessions of all", err, codes.Unavailable, cannot)
	all, err := client.ListGateways(t.Context(), &gatewayv1.ListGatewaysRequest{ReturnPartialSuccess: true}, bearer())
	if err != nil || len(all.GetGateways()) != 2 || all.GetGateways()[1].GetName() != "gateways/g2" || len(all.GetUnreachable()) != 2 {
		t.Errorf("ListGateways of what is there = %v, %v", all, err)
	}
	_, err = client.ListGateways(t.Context(), &gatewayv1.ListGatewaysRequest{}, bearer())
	wantError(t, "ListGateways of all", err, codes.Unavailable, cannot)
	_, err = client.GetGateway(t.Context(), &gatewayv1.GetGatewayRequest{Name: "gateways/g9"}, bearer())
	wantError(t, "GetGateway", err, codes.Unavailable, "gateways/g9 cannot be reached, try again")
	// What is there is found; what is not found may be where nobody answers.
	if _, err := client.CloseSession(t.Context(), &gatewayv1.CloseSessionRequest{Name: "gateways/-/sessions/r0"}, bearer()); err != nil {
		t.Errorf("CloseSession = %v", err)
	}
	_, err = client.CloseSession(t.Context(), &gatewayv1.CloseSessionRequest{Name: "gateways/-/sessions/r7"}, bearer())
	wantError(t, "CloseSession of what is nowhere", err, codes.Unavailable, cannot)
	if log := s.log.String(); !strings.Contains(log, "connection refused") || !strings.Contains(log, "advertises no address") {
		t.Errorf("the log does not say why: %s", log)
	}
}

// TestSilentGateway waits two seconds for a gateway that does not answer.
func TestSilentGateway(t *testing.T) {
	_, nodes, client := fleet(t, 2)
	nodes[0].add(1)
	nodes[1].hang = true
	began := time.Now()
	list, err := client.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{Parent: "gateways/-", ReturnPartialSuccess: true}, bearer())
	if took := time.Since(began); err != nil || len(list.GetSessions()) != 1 || !slices.Equal(list.GetUnreachable(), []string{"gateways/g2"}) || took < 2*time.Second {
		t.Errorf("ListSessions = %v, %v after %v, want one session and g2 unreachable after 2 s", list, err, took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = client.ListSessions(ctx, &gatewayv1.ListSessionsRequest{Parent: "gateways/-", ReturnPartialSuccess: true}, bearer())
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("ListSessions of a caller in a hurry = %v, want DEADLINE_EXCEEDED", err)
	}
}

// TestGatewaysInPages lists gateways by pages.
func TestGatewaysInPages(t *testing.T) {
	s, _, client := fleet(t, 3)
	var got []string
	req := &gatewayv1.ListGatewaysRequest{PageSize: 2}
	for range 3 {
		resp, err := client.ListGateways(t.Context(), req, bearer())
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range resp.GetGateways() {
			got = append(got, g.GetName())
		}
		if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	if want := []string{"gateways/g1", "gateways/g2", "gateways/g3"}; !slices.Equal(got, want) {
		t.Errorf("gateways = %q, want %q", got, want)
	}
	rest := s.do(t, "GET", "/v1/gateways?pageSize=1", "", "Authorization", "Bearer token")
	if rest.status != 200 || !strings.Contains(rest.body, `"gateways/g1"`) {
		t.Errorf("GET /v1/gateways = %d %s", rest.status, rest.body)
	}
}

// TestGatewayMustBeOne sends a user's token only to what the authority says is a
// gateway, whatever its address.
func TestGatewayMustBeOne(t *testing.T) {
	ca := certtest.NewCA(t)
	serve := func(instance string, names ...string) *node {
		files := ca.Issue(t, names...)
		source, err := certs.Open(files, nil)
		if err != nil {
			t.Fatal(err)
		}
		return startNode(t, instance, grpc.Creds(credentials.NewTLS(source.Server(true, "h2"))))
	}
	good, other := serve("g1", "gateway", "elsewhere"), serve("g2", "catalog", "gateway")
	good.add(1)
	other.add(1)
	s := start(t, func(cfg *portal.Config) {
		files := ca.Issue(t, "portal")
		cfg.Gateways.Conn, cfg.Gateways.CA, cfg.Gateways.Cert, cfg.Gateways.Key = nil, files.CA, files.Cert, files.Key
	})
	s.gateways(good.watcher(), other.watcher())
	client := gatewayv1.NewSessionServiceClient(s.dial(t))
	list, err := client.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{Parent: "gateways/-", ReturnPartialSuccess: true}, bearer())
	if err != nil || len(list.GetSessions()) != 1 || !slices.Equal(list.GetUnreachable(), []string{"gateways/g2"}) || len(other.asked) > 0 {
		t.Errorf("ListSessions = %v, %v, and g2 was asked %q, want that it was not", list, err, other.asked)
	}
}

// TestSessionsRefuse shows what callers hear who ask for what there is not, or may
// not ask.
func TestSessionsRefuse(t *testing.T) {
	s, _, client := fleet(t, 2)
	list := func(req *gatewayv1.ListSessionsRequest, opts ...grpc.CallOption) error {
		_, err := client.ListSessions(t.Context(), req, opts...)
		return err
	}
	wantError(t, "no parent", list(&gatewayv1.ListSessionsRequest{}, bearer()), codes.InvalidArgument, "parent: must be gateways/{gateway}")
	wantError(t, "no gateway", list(&gatewayv1.ListSessionsRequest{Parent: "gateways/g3"}, bearer()), codes.NotFound, "gateways/g3 not found")
	wantError(t, "bad size", list(&gatewayv1.ListSessionsRequest{Parent: "gateways/-", PageSize: -1}, bearer()), codes.InvalidArgument, "page_size: must not be negative")
	wantError(t, "bad token", list(&gatewayv1.ListSessionsRequest{Parent: "gateways/-", PageToken: "x"}, bearer()), codes.InvalidArgument, "page_token: is not a token that a list has returned")
	wantError(t, "what a gateway refuses", list(&gatewayv1.ListSessionsRequest{Parent: "gateways/-", Filter: "bad", ReturnPartialSuccess: true}, bearer()), codes.InvalidArgument, "filter: is bad")
	wantError(t, "bad credentials", list(&gatewayv1.ListSessionsRequest{Parent: "gateways/-"}, identitytest.Bearer("x")), codes.Unauthenticated, "the token is not good")
	_, err := client.GetGateway(t.Context(), &gatewayv1.GetGatewayRequest{Name: "gateways/-"}, bearer())
	wantError(t, "GetGateway of all", err, codes.InvalidArgument, "name: must be one gateway; all of them are listed")
	_, err = client.GetSession(t.Context(), &gatewayv1.GetSessionRequest{Name: "gateways/g1"}, bearer())
	wantError(t, "GetSession of a gateway", err, codes.InvalidArgument, "name: must be gateways/{gateway}/sessions/{session}")
	s.gateways()
	wantError(t, "nobody, and no gateway", list(&gatewayv1.ListSessionsRequest{Parent: "gateways/-"}), codes.Unauthenticated, "sign in first: the call carries no token")
	if err := list(&gatewayv1.ListSessionsRequest{Parent: "gateways/-"}, bearer()); err != nil {
		t.Errorf("ListSessions without a gateway = %v, want none", err)
	}
	_, err = client.ListGateways(t.Context(), &gatewayv1.ListGatewaysRequest{})
	wantError(t, "ListGateways by nobody", err, codes.Unauthenticated, "sign in first: the call carries no token")
	if c, _ := s.last(); !slices.Equal(c.metadata.Get("authorization"), []string{"Bearer token"}) {
		t.Errorf("the catalog was asked with %v, want the caller's token, to check it", c.metadata)
	}
}

func wantError(t *testing.T, what string, err error, code codes.Code, message string) {
	t.Helper()
	if st := status.Convert(err); st.Code() != code || st.Message() != message {
		t.Errorf("%s: %v, want %v %q", what, st, code, message)
	}
}
