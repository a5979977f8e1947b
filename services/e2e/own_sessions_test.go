package e2e

import (
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// TestDeveloperSeesOwnSessions: a developer lists, counts, gets and closes the live
// sessions of an application at somebody else's version, without what is only the
// version's owner's; other developers do not.
func TestDeveloperSeesOwnSessions(t *testing.T) {
	t.Parallel()
	s := onSQLite(t)
	p := s.admin(t)
	x := p.publish(t, "Harbour", newBackend(t))
	if _, err := p.catalog.UpdateVersion(p.ctx(t), &catalogv1.UpdateVersionRequest{
		Version: &catalogv1.Version{Name: x.version.GetName(), TrafficPlan: p.plan(t, "Silver")}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"traffic_plan"}},
	}); err != nil {
		t.Fatal(err)
	}
	developers := map[string]*user{}
	for _, name := range []string{"dora", "other"} {
		s.makeUser(t, p, name, "a developer's long password", identity.RoleSubscriber)
		developers[name] = s.signIn(t, name, "a developer's long password")
	}
	dora := developers["dora"]
	of := dora.application(t, "Pier")
	dora.subscribe(t, of.app.GetName(), x.version.GetName())
	conn := s.connect(t, s.WS+x.path, p.accessToken(t, of))
	echo(t, conn, websocket.MessageText, "hello")
	others := s.connect(t, s.WS+x.path, p.accessToken(t, x))
	echo(t, others, websocket.MessageText, "hello")
	conn.CloseRead(t.Context()) // answers pings
	others.CloseRead(t.Context())
	for who, want := range map[*user]int{p: 2, dora: 1, developers["other"]: 0} {
		count, err := who.sessions.CountSessions(who.ctx(t), &gatewayv1.CountSessionsRequest{
			Parent: "gateways/-", GroupBy: "version", Names: []string{x.version.GetName()},
		})
		if list := who.liveSessions(t, x); err != nil || len(list) != want || count.GetCounts()[0].GetSessions() != int64(want) || count.GetTotal() != int64(want) {
			t.Errorf("%s sees %v, counted %v, %v, want %d", who.name, list, count, err, want)
		}
	}
	hers := dora.liveSessions(t, x)[0]
	got, err := dora.sessions.GetSession(dora.ctx(t), &gatewayv1.GetSessionRequest{Name: hers.GetName()})
	if err != nil || got.GetApplication() != of.app.GetName() || got.GetPlan() == "" || got.GetTrafficPlan() != "" || hers.GetTrafficPlan() != "" {
		t.Errorf("the developer sees %v, %v, want her session without the version's plan", got, err)
	}
	if got, err := p.sessions.GetSession(p.ctx(t), &gatewayv1.GetSessionRequest{Name: hers.GetName()}); err != nil || got.GetTrafficPlan() == "" {
		t.Errorf("the version's owner sees %v, %v, want the version's plan", got, err)
	}
	end := &gatewayv1.CloseSessionRequest{Name: hers.GetName()}
	if _, err := developers["other"].sessions.CloseSession(developers["other"].ctx(t), end); status.Code(err) != codes.NotFound {
		t.Errorf("CloseSession by another developer = %v, want NOT_FOUND", err)
	}
	if _, err := dora.sessions.CloseSession(dora.ctx(t), end); err != nil {
		t.Errorf("CloseSession = %v", err)
	}
	eventually(t, func() error {
		if left := p.liveSessions(t, x); len(left) != 1 {
			return status.Errorf(codes.Unknown, "%d sessions are left, want the other one", len(left))
		}
		return nil
	})
}
