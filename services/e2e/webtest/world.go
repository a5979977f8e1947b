package webtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/tidegatehq/tidegate/gen"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// World is a Tidegate in which there is one of each thing that pages show: an API with a
// version that is published and one that is not, a plan with a quota, an application with all
// that one has, a live session, the record of one that has ended, changes, security events.
// All of it is the administrator's.
type World struct {
	*Tidegate
	// Plan is that of all traffic of the published version.
	Plan string
	// Offered is the name of the published version, Unpublished that of the other, and
	// Application that of the application.
	Offered, Unpublished, Application string
	// Backend is the address of a backend that sends back what it gets.
	Backend string

	named   Names
	backend *httptest.Server
	session *websocket.Conn
	names   *strings.Replacer // puts names into the patterns of routes
	rest    *strings.Replacer // puts the other names there, nil where there are none
}

// Names are what the things of a world are called.
type Names struct{ API, Context, Description, Tag, Application, Plan string }

// Plain are names as users give them.
var Plain = Names{API: "Echo", Context: "/echo", Description: "Sends back what it gets.", Tag: "echo", Application: "Buoys", Plan: "Harbour"}

// Long are as long as names may be, and cannot be broken between words.
var Long = Names{
	API: strings.Repeat("W", 100), Context: strings.Repeat("/"+strings.Repeat("w", 64), 4), Description: strings.Repeat("D", 1000),
	Tag: strings.Repeat("t", 30), Application: strings.Repeat("M", 100), Plan: strings.Repeat("P", 100),
}

// NewWorld fills a Tidegate for a test.
func NewWorld(t testing.TB, s *Tidegate) *World {
	t.Helper()
	w, err := Fill(t.Context(), s, Plain)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// Fill fills a Tidegate for more than one test. Close ends what that needs.
func Fill(ctx context.Context, s *Tidegate, named Names) (*World, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	w := &World{Tidegate: s, named: named, backend: httptest.NewServer(http.HandlerFunc(echo))}
	w.Backend = "ws" + strings.TrimPrefix(w.backend.URL, "http")
	ctx, err := s.signIn(ctx, "admin", s.Password)
	if err == nil {
		err = w.fill(ctx)
	}
	if err != nil {
		w.Close()
		return nil, fmt.Errorf("fill the server: %w", err)
	}
	return w, nil
}

// Close ends the live session and the backend.
func (w *World) Close() {
	if w.session != nil {
		_ = w.session.CloseNow()
	}
	w.backend.Close()
}

// echo is a backend that sends back what it gets, with the first sub-protocol that is
// offered.
func echo(w http.ResponseWriter, r *http.Request) {
	offered := strings.FieldsFunc(r.Header.Get("Sec-WebSocket-Protocol"), func(c rune) bool { return c == ',' || c == ' ' })
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: offered})
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(1 << 20)
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil || conn.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

// filler makes calls one after the other until one fails.
type filler struct {
	ctx    context.Context
	change string // the last one
	err    error
}

// call makes a call, unless an earlier one has failed.
func call[Q, R any](f *filler, method func(context.Context, Q, ...grpc.CallOption) (R, error), req Q) (resp R) {
	if f.err != nil {
		return resp
	}
	var header metadata.MD
	resp, f.err = method(f.ctx, req, grpc.Header(&header))
	if change := header.Get(gen.ChangeHeader); len(change) > 0 {
		f.change = change[0]
	}
	if f.err != nil {
		f.err = fmt.Errorf("%T: %w", req, f.err)
	}
	return resp
}

// until waits until something is so.
func (f *filler) until(what string, is func() bool) {
	for f.err == nil && !is() {
		select {
		case <-f.ctx.Done():
			f.err = fmt.Errorf("%s: %w", what, errors.Join(f.err, f.ctx.Err()))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// fill makes all there is.
func (w *World) fill(ctx context.Context) error {
	f := &filler{ctx: ctx}
	w.versions(f)
	month := time.Now().UTC().Month()
	names, token := w.use(f)
	ofVersion := `version = "` + w.Offered + `" AND window = "MONTH"`
	var quota string
	f.until("the quota is in use", func() bool {
		uses := call(f, usagev1.NewQuotaServiceClient(w.Conn).ListQuotaUses, &usagev1.ListQuotaUsesRequest{Filter: ofVersion}).GetQuotaUses()
		if len(uses) > 0 {
			quota = id(uses[0].GetName()) + "?version=" + w.Offered
		} else if now := time.Now().UTC().Month(); now != month { // of the new one nothing is used yet
			month = now
			f.again(w, token)
		}
		return quota != ""
	})
	changes := call(f, changev1.NewChangeServiceClient(w.Conn).ListChanges, &changev1.ListChangesRequest{Parent: "services/catalog", PageSize: 1}).GetChanges()
	me := call(f, identityv1.NewUserServiceClient(w.Conn).GetUser, &identityv1.GetUserRequest{Name: "users/me"})
	signIns := call(f, identityv1.NewSignInServiceClient(w.Conn).ListSignIns, &identityv1.ListSignInsRequest{Parent: me.GetName()}).GetSignIns()
	f.until("the sign-in is in the security log", func() bool {
		return len(call(f, identityv1.NewSecurityEventServiceClient(w.Conn).ListSecurityEvents, &identityv1.ListSecurityEventsRequest{Filter: `event = "SIGNED_IN"`}).GetSecurityEvents()) > 0
	})
	api, _, _ := strings.Cut(w.Offered, "/versions/")
	rule := call(f, catalogv1.NewDenyRuleServiceClient(w.Conn).CreateDenyRule, &catalogv1.CreateDenyRuleRequest{DenyRule: &catalogv1.DenyRule{
		Api: api, ClientAddress: "203.0.113.0/24", Reason: w.named.Description[:min(len(w.named.Description), 500)],
	}})
	if f.err != nil {
		return f.err
	}
	if len(changes) == 0 || len(signIns) == 0 {
		return errors.New("there is no change or no sign-in")
	}
	w.names = strings.NewReplacer(append(names, "{$}", "", "{user}", id(me.GetName()), "{id}", id(signIns[0].GetName()), "{service}", "catalog",
		"{plan}", id(w.Plan), "{rule}", id(rule.GetName()), "{limit}", "sessions", "{quota}", quota, "{number}", id(changes[0].GetName()))...)
	return nil
}

// use adds an application, whose sessions have ended, been refused and live, and returns what
// stands for their names in patterns, and its token.
func (w *World) use(f *filler) (names []string, token string) {
	token, names = w.application(f)
	f.again(w, token)
	if f.err != nil {
		return nil, ""
	}
	var err error
	if w.session, err = f.dial(w, token); err != nil {
		f.err = fmt.Errorf("connect: %w", err)
		return nil, ""
	}
	w.session.CloseRead(context.Background()) // answers the gateway's pings until Close
	if _, err := f.dial(w, "none"); err == nil {
		f.err = errors.New("a token that is none is taken")
	}
	var live, record string
	mine := `application = "` + w.Application + `"`
	f.until("the live session is listed", func() bool {
		list := call(f, gatewayv1.NewSessionServiceClient(w.Conn).ListSessions, &gatewayv1.ListSessionsRequest{Parent: "gateways/-", Filter: mine}).GetSessions()
		if len(list) == 1 {
			live = list[0].GetName() // gateways/{gateway}/sessions/{session}
		}
		return live != ""
	})
	f.until("the session is recorded", func() bool {
		list := call(f, usagev1.NewUsageServiceClient(w.Conn).ListSessionRecords, &usagev1.ListSessionRecordsRequest{Filter: mine + ` AND refused = "false"`}).GetSessionRecords()
		if len(list) > 0 {
			record = list[0].GetName()
		}
		return record != ""
	})
	gateway, session, _ := strings.Cut(strings.TrimPrefix(live, "gateways/"), "/sessions/")
	return append(names, "{ref}", id(record), "{record}", id(record), "{gateway}", gateway, "{session}", session, "/sessions/{id}/", "/sessions/"+session+"/"), token
}

// dial opens a session with a token.
func (f *filler) dial(w *World, token string) (*websocket.Conn, error) {
	transport := &http.Transport{TLSClientConfig: w.tls.Clone()}
	conn, _, err := websocket.Dial(f.ctx, w.WSS+w.named.Context+"/2", &websocket.DialOptions{ //nolint:bodyclose // Dial has read the body
		HTTPClient: &http.Client{Transport: transport}, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	return conn, err
}

// again has a session that ends, unless something has failed.
func (f *filler) again(w *World, token string) {
	if f.err != nil {
		return
	}
	conn, err := f.dial(w, token)
	if err == nil {
		err = conn.Close(4321, "enough")
	}
	if err != nil {
		f.err = fmt.Errorf("connect: %w", err)
	}
}

// Give gives the API to a user.
func (w *World) Give(t testing.TB, username string) {
	t.Helper()
	api, _, _ := strings.Cut(w.Offered, "/versions/")
	_, err := catalogv1.NewCatalogServiceClient(w.Conn).TransferOwnership(w.As(t, "admin", w.Password), &catalogv1.TransferOwnershipRequest{Name: api, Owner: username})
	if err != nil {
		t.Fatal(err)
	}
}

// ApplicationOf returns the world as one of those whom User has added has it: with an
// application of that user's own, and its sessions.
func (w *World) ApplicationOf(t testing.TB, username string) *World {
	t.Helper()
	ctx, cancel := context.WithTimeout(w.As(t, username, UserPassword), patience)
	defer cancel()
	f, of := &filler{ctx: ctx}, *w
	names, _ := of.use(f)
	if f.err != nil {
		t.Fatal(f.err)
	}
	t.Cleanup(func() { _ = of.session.CloseNow() })
	of.names = strings.NewReplacer(names...)
	of.rest = w.names
	return &of
}

// versions adds an API with two versions, of which one is published.
func (w *World) versions(f *filler) {
	catalog := catalogv1.NewCatalogServiceClient(w.Conn)
	api := call(f, catalog.CreateApi, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: w.named.API, Context: w.named.Context, Description: w.named.Description}})
	plans := call(f, catalog.ListPlans, &catalogv1.ListPlansRequest{Filter: `display_name = "Gold"`}).GetPlans()
	if f.err == nil && len(plans) == 0 {
		f.err = errors.New("there is no plan Gold")
	}
	if f.err != nil {
		return
	}
	plan := call(f, catalog.CreatePlan, &catalogv1.CreatePlanRequest{Plan: &catalogv1.Plan{DisplayName: w.named.Plan, Description: w.named.Description, Limits: sessionsOfMonth()}})
	w.Plan = plan.GetName()
	for _, version := range []string{"1", "2"} {
		v := call(f, catalog.CreateVersion, &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: &catalogv1.Version{
			Version: version, Plans: []string{plans[0].GetName()}, Description: w.named.Description, Tags: []string{w.named.Tag}, TrafficPlan: plan.GetName(),
			Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: w.Backend}}}},
		}})
		w.Unpublished, w.Offered = w.Offered, v.GetName()
	}
	call(f, catalog.PublishVersion, &catalogv1.PublishVersionRequest{Name: w.Offered})
}

// application adds an application with all that one has, and returns a token of it, which
// the gateway knows, and what stands for its names in patterns.
func (w *World) application(f *filler) (token string, names []string) {
	applications, catalog := subscriptionv1.NewApplicationServiceClient(w.Conn), catalogv1.NewCatalogServiceClient(w.Conn)
	plans := call(f, catalog.GetVersion, &catalogv1.GetVersionRequest{Name: w.Offered}).GetPlans()
	a := call(f, applications.CreateApplication, &subscriptionv1.CreateApplicationRequest{Application: &subscriptionv1.Application{DisplayName: w.named.Application}})
	if f.err != nil {
		return "", nil
	}
	s := call(f, subscriptionv1.NewSubscriptionServiceClient(w.Conn).CreateSubscription, &subscriptionv1.CreateSubscriptionRequest{
		Subscription: &subscriptionv1.Subscription{Application: a.GetName(), Version: w.Offered, Plan: plans[0]},
	})
	client := call(f, applications.CreateOAuthClient, &subscriptionv1.CreateOAuthClientRequest{
		Parent: a.GetName(), OauthClient: &subscriptionv1.OAuthClient{Stage: catalogv1.Stage_STAGE_PRODUCTION},
	})
	secret := call(f, applications.CreateOAuthClientSecret, &subscriptionv1.CreateOAuthClientSecretRequest{
		Parent: client.GetName(), OauthClientSecret: &subscriptionv1.OAuthClientSecret{},
	})
	key := call(f, subscriptionv1.NewAPIKeyServiceClient(w.Conn).CreateAPIKey, &subscriptionv1.CreateAPIKeyRequest{
		Parent: a.GetName(), ApiKey: &subscriptionv1.APIKey{DisplayName: w.named.Application, Stage: catalogv1.Stage_STAGE_PRODUCTION},
	})
	issued := call(f, subscriptionv1.NewTokenServiceClient(w.Conn).IssueApplicationToken, &subscriptionv1.IssueApplicationTokenRequest{Application: a.GetName(), Version: w.Offered})
	call(f, changev1.NewChangeServiceClient(w.Conn).WaitChange, &changev1.WaitChangeRequest{Name: f.change})
	w.Application = a.GetName()
	return issued.GetAccessToken(), []string{
		"{application}", id(a.GetName()), "{subscription}", id(s.GetName()), "{client}", id(client.GetName()), "{secret}", id(secret.GetName()), "{key}", id(key.GetName()),
	}
}

// Path is a route's address with what the world has in it.
func (w *World) Path(pattern string) string {
	version := w.Unpublished
	if strings.HasPrefix(pattern, "/devportal/") || strings.Contains(pattern, "{subscription}") || strings.Contains(pattern, "/sessions/") || strings.Contains(pattern, "{ref}") {
		version = w.Offered
	}
	api, _, _ := strings.Cut(strings.TrimPrefix(version, "apis/"), "/")
	path := w.names.Replace(strings.NewReplacer("{api}", api, "{version}", id(version)).Replace(pattern))
	if w.rest != nil {
		path = w.rest.Replace(path)
	}
	return path
}

// id is the last part of a resource name, as pages have it in their addresses.
func id(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }
