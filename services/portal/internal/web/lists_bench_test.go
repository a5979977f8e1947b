package web_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/portal/internal/gateways"
	"github.com/tidegatehq/tidegate/services/portal/internal/inprocess"
	"github.com/tidegatehq/tidegate/services/portal/internal/sessions"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// What BenchmarkLists has: 10 users own as many APIs and applications each.
const (
	benchUsers, benchAPIs, benchApplications, benchSessions = 10, 10000, 1000, 5000
)

// BenchmarkLists shows the first page of every list, and says how long the quickest answer
// took: the pages are the portal's and run here, over gRPC to the other services. Of gateways
// there are two that are made up, whose answers the portal merges.
func BenchmarkLists(b *testing.B) {
	b.Run("sqlite", func(b *testing.B) {
		dir := b.TempDir()
		url := func(name string) string { return "sqlite:" + filepath.Join(dir, name+".db") }
		benchmarkLists(b, url("catalog"), url("subscription"))
	})
	b.Run("postgres", func(b *testing.B) { benchmarkLists(b, testdb.PostgresURL(b), testdb.PostgresURL(b)) })
}

func benchmarkLists(b *testing.B, catalog, subscription string) {
	data, args := filepath.Join(b.TempDir(), "data"), []string{"-catalog.db", catalog, "-subscription.db", subscription}
	s, err := webtest.Launch(data, args...)
	if err != nil {
		b.Fatal(err)
	}
	w := &lists{}
	w.fill(b, s)
	if err := s.Stop(); err != nil {
		b.Fatal(err)
	}
	webtest.CopyAPI(b, catalog, data, w.version, benchAPIs, w.users)
	webtest.AddRecords(b, subscription, w.subscriptions, benchSessions)
	if s, err = webtest.Launch(data, args...); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Stop(); err != nil {
			b.Error(err)
		}
	})
	services := ui.NewServices(s.Conn, s.Conn, s.Conn)
	local := inprocess.New()
	gatewayv1.RegisterSessionServiceServer(local, sessions.New(w))
	services.Sessions = gatewayv1.NewSessionServiceClient(local)
	user, admin := visitAs(b, services, "user0", webtest.UserPassword), visitAs(b, services, "admin", s.Password)
	version, application := "/publisher/"+w.version, "/devportal/"+w.application
	for _, one := range []struct {
		who  *visitor
		path string
	}{
		{user, "/publisher"}, {user, "/publisher?q=none"}, {user, "/publisher?q=api+9"}, {user, version[:strings.Index(version, "/versions/")]},
		{user, version + "/subscriptions"}, {user, version + "/sessions"}, {user, version + "/records"},
		{user, "/devportal"}, {user, "/devportal?query=none"}, {user, "/devportal?query=api+9"},
		{user, "/devportal/applications"}, {user, application}, {user, application + "/sessions"}, {user, application + "/records"},
		{admin, "/publisher"}, {admin, "/devportal"}, {admin, "/admin"}, {admin, "/admin/users"}, {admin, "/admin/sessions"}, {admin, "/admin/records"}, {admin, "/admin/changes"}, {admin, "/admin/security"},
	} {
		name := strings.NewReplacer(w.version, "VERSION", w.application, "APPLICATION", ui.ID(w.version), "VERSION").Replace(one.path)
		if one.who == admin {
			name += " (admin)"
		}
		b.Run(name, func(b *testing.B) {
			if p := one.who.open(one.path); p.Status != http.StatusOK {
				b.Fatalf("%s = %d:\n%s", one.path, p.Status, p.Text())
			}
			least := time.Hour // of all times the one that other work has disturbed least
			for b.Loop() {
				began := time.Now()
				one.who.serve(http.MethodGet, one.path, nil) //nolint:bodyclose // it is a recorder's
				least = min(least, time.Since(began))
			}
			b.ReportMetric(float64(least.Microseconds())/1000, "ms/page")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// visitAs signs a user in to pages over services.
func visitAs(b *testing.B, services *ui.Services, username, password string) *visitor {
	b.Helper()
	v := visitPages(b, services, slog.New(slog.DiscardHandler))
	if p := v.do(http.MethodPost, "/signin", url.Values{"username": {username}, "password": {password}}); p.Status != http.StatusSeeOther {
		b.Fatalf("signing in = %d:\n%s", p.Status, p.Text())
	}
	return v
}

// lists are what BenchmarkLists shows. They are the directory of the made-up gateways.
type lists struct {
	// version and application are those of user0. All sessions are of the version.
	version, application string
	subscriptions        []*subscriptionv1.Subscription // to the version
	users                []string                       // ids
	gateways             []gateways.Gateway
}

// All returns the gateways.
func (l *lists) All(context.Context) ([]gateways.Gateway, error) { return l.gateways, nil }

// fill makes users, an API with a published version of user0's, applications with a
// subscription each to it, and gateways with sessions.
func (l *lists) fill(b *testing.B, s *webtest.Tidegate) {
	b.Helper()
	admin := s.As(b, "admin", s.Password)
	catalog := catalogv1.NewCatalogServiceClient(s.Conn)
	var people []context.Context
	for u := range benchUsers {
		name := fmt.Sprintf("user%d", u)
		user, err := identityv1.NewUserServiceClient(s.Conn).CreateUser(admin, &identityv1.CreateUserRequest{Password: webtest.UserPassword, User: &identityv1.User{
			Username: name, Roles: []identityv1.User_Role{ui.Creator, ui.Publisher, ui.Subscriber},
		}})
		if err != nil {
			b.Fatal(err)
		}
		l.users, people = append(l.users, ui.ID(user.GetName())), append(people, s.As(b, name, webtest.UserPassword))
	}
	plans, err := catalog.ListPlans(admin, &catalogv1.ListPlansRequest{PageSize: 1})
	if err != nil {
		b.Fatal(err)
	}
	plan := plans.GetPlans()[0].GetName()
	api, err := catalog.CreateApi(people[0], &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: "API 0", Context: "/c0", Description: "Positions of ships in the harbour, once a second."}})
	if err != nil {
		b.Fatal(err)
	}
	v, err := catalog.CreateVersion(people[0], &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: &catalogv1.Version{
		Version: "1.0.0", Description: "The first one.", Plans: []string{plan}, Tags: []string{"ships"},
		Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: "ws://backend.test"}}}},
	}})
	if err == nil {
		_, err = catalog.PublishVersion(people[0], &catalogv1.PublishVersionRequest{Name: v.GetName()})
	}
	if err != nil {
		b.Fatal(err)
	}
	l.version = v.GetName()
	for i := range benchApplications {
		ctx := people[i%benchUsers]
		a, err := subscriptionv1.NewApplicationServiceClient(s.Conn).CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{
			Application: &subscriptionv1.Application{DisplayName: fmt.Sprintf("Application %d", i), Description: "What it is for."},
		})
		if err == nil {
			var of *subscriptionv1.Subscription
			of, err = subscriptionv1.NewSubscriptionServiceClient(s.Conn).CreateSubscription(ctx, &subscriptionv1.CreateSubscriptionRequest{
				Subscription: &subscriptionv1.Subscription{Application: a.GetName(), Version: l.version, Plan: plan},
			})
			l.subscriptions = append(l.subscriptions, of)
		}
		if err != nil {
			b.Fatal(err)
		}
		if i == 0 {
			l.application = a.GetName()
		}
	}
	for g := range 2 {
		name := resourcename.Gateway{Gateway: fmt.Sprintf("gateway-%d", g)}
		l.gateways = append(l.gateways, gateways.Gateway{Name: name, Connected: true, Sessions: newMadeUp(l, name.String(), g)})
	}
}

// madeUp is a gateway that has sessions, and nothing else.
type madeUp struct {
	gatewayv1.SessionServiceClient
	name     string
	sessions []*gatewayv1.Session // oldest first
}

func newMadeUp(l *lists, name string, number int) *madeUp {
	m := &madeUp{name: name}
	began := time.Now().Add(-time.Hour)
	for i := range benchSessions / 2 {
		nth := 2*i + number
		of := l.subscriptions[nth%len(l.subscriptions)]
		m.sessions = append(m.sessions, &gatewayv1.Session{
			Name: fmt.Sprintf("%s/sessions/s%06d", name, i), Version: of.GetVersion(), Application: of.GetApplication(), Subscription: of.GetName(), Plan: of.GetPlan(),
			User: of.GetApplicationOwner(), ClientAddress: fmt.Sprintf("192.0.2.1:%d", 10000+i), StartTime: timestamppb.New(began.Add(time.Duration(nth) * time.Millisecond)),
		})
	}
	return m
}

// GetGateway returns the gateway.
func (m *madeUp) GetGateway(context.Context, *gatewayv1.GetGatewayRequest, ...grpc.CallOption) (*gatewayv1.Gateway, error) {
	return &gatewayv1.Gateway{Name: m.name, Ready: true, Sessions: uint64(len(m.sessions)), StartTime: timestamppb.Now()}, nil
}

// ListSessions returns the first page: all sessions are what every filter of the benchmark
// leaves.
func (m *madeUp) ListSessions(context.Context, *gatewayv1.ListSessionsRequest, ...grpc.CallOption) (*gatewayv1.ListSessionsResponse, error) {
	return &gatewayv1.ListSessionsResponse{Sessions: m.sessions[:50], NextPageToken: "more", TotalSize: int32(len(m.sessions))}, nil
}

// CountSessions counts all as those of the first of the names.
func (m *madeUp) CountSessions(_ context.Context, req *gatewayv1.CountSessionsRequest, _ ...grpc.CallOption) (*gatewayv1.CountSessionsResponse, error) {
	resp := &gatewayv1.CountSessionsResponse{Total: int64(len(m.sessions))}
	for i, name := range req.GetNames() {
		resp.Counts = append(resp.Counts, &gatewayv1.SessionCount{Name: name, Sessions: map[bool]int64{true: resp.GetTotal()}[i == 0]})
	}
	return resp, nil
}
