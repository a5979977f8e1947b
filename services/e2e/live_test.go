package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/standalone"
)

// ending is a way in which the control plane ends live sessions.
type ending struct {
	name string
	do   func(t *testing.T, p *user, x *product, token string) error
	code int
	word string
	// after is what a later handshake with the same token is answered.
	after int
}

func endings() []ending {
	return []ending{
		{
			"token revoked", func(t *testing.T, p *user, x *product, token string) error {
				_, err := p.oauth.RevokeToken(within(t), &oauth2v1.RevokeTokenRequest{Token: token, ClientCredentials: credentialsOf(x)})
				return err
			}, 4001, "REVOKED", 401,
		},
		{
			"OAuth client deleted", func(t *testing.T, p *user, x *product, _ string) error {
				_, err := p.apps.DeleteOAuthClient(p.ctx(t), &subscriptionv1.DeleteOAuthClientRequest{Name: x.oauthClient.GetName()})
				return err
			}, 4001, "REVOKED", 401,
		},
		{
			"subscription deleted", func(t *testing.T, p *user, x *product, _ string) error {
				_, err := p.subs.DeleteSubscription(p.ctx(t), &subscriptionv1.DeleteSubscriptionRequest{Name: x.subscription.GetName()})
				return err
			}, 4006, "BLOCKED", 403,
		},
		{
			"subscription blocked", func(t *testing.T, p *user, x *product, _ string) error {
				_, err := p.subs.BlockSubscription(p.ctx(t), &subscriptionv1.BlockSubscriptionRequest{Name: x.subscription.GetName()})
				return err
			}, 4006, "BLOCKED", 403,
		},
		{
			"application deleted", func(t *testing.T, p *user, x *product, _ string) error {
				_, err := p.apps.DeleteApplication(p.ctx(t), &subscriptionv1.DeleteApplicationRequest{Name: x.app.GetName()})
				return err
			}, 4006, "BLOCKED", 401,
		},
		{
			"version demoted", func(t *testing.T, p *user, x *product, _ string) error {
				_, err := p.catalog.DemoteVersion(p.ctx(t), &catalogv1.DemoteVersionRequest{Name: x.version.GetName()})
				return err
			}, 4006, "BLOCKED", 404,
		},
		{
			"closed by an operator", func(t *testing.T, p *user, x *product, _ string) error {
				live := p.liveSessions(t, x)
				if len(live) != 1 {
					return fmt.Errorf("%d live sessions, want 1", len(live))
				}
				_, err := p.sessions.CloseSession(p.ctx(t), &gatewayv1.CloseSessionRequest{Name: live[0].GetName()})
				return err
			}, 4010, "OPERATOR_CLOSE", 101,
		},
	}
}

// revoking ends live sessions by revoking what name returns, and checks what that answers. A
// token that is issued later, where one can be, opens a session again.
func revoking(name string, of func(x *product, p *user, t *testing.T) *subscriptionv1.RevokeRequest, later bool) ending {
	return ending{name, func(t *testing.T, p *user, x *product, token string) error {
		req := of(x, p, t)
		if req.GetName() == "" {
			req.Token = token
		}
		resp, err := p.revocations.Revoke(p.ctx(t), req)
		if err != nil {
			return err
		}
		if resp.GetClosedSessions() != 1 || resp.GetGateways() != 1 || len(resp.GetSilentGateways()) > 0 || resp.GetChange() == "" {
			return fmt.Errorf("Revoke(%v) = %v, want one session on one gateway", req, resp)
		}
		if !later { // there is no secret to get a token with
			return nil
		}
		if _, status, err := p.stack.tryConnect(t, p.stack.WS+x.path, p.accessToken(t, x)); err != nil {
			return fmt.Errorf("a token that is issued after that is answered %d: %w", status, err)
		}
		return nil
	}, 4001, "REVOKED", 401}
}

// revocations are endings by RevocationService.
// denials deny in every way what only one product of a test has.
func denials() []ending {
	denying := func(name string, rule func(x *product) *catalogv1.DenyRule) ending {
		return ending{"denied by " + name, func(t *testing.T, p *user, x *product, _ string) error {
			_, err := p.deny.CreateDenyRule(p.ctx(t), &catalogv1.CreateDenyRuleRequest{DenyRule: rule(x)})
			return err
		}, 4006, "BLOCKED", 403}
	}
	return []ending{
		denying("API", func(x *product) *catalogv1.DenyRule { return &catalogv1.DenyRule{Api: x.api.GetName()} }),
		denying("version", func(x *product) *catalogv1.DenyRule {
			return &catalogv1.DenyRule{Api: x.api.GetName(), Versions: []string{x.version.GetName()}}
		}),
		denying("application", func(x *product) *catalogv1.DenyRule {
			return &catalogv1.DenyRule{Application: x.app.GetName()}
		}),
		denying("subscription", func(x *product) *catalogv1.DenyRule {
			return &catalogv1.DenyRule{Subscription: x.subscription.GetName(), ExpireTime: timestamppb.New(time.Now().Add(time.Hour))}
		}),
		denying("address at the API", func(x *product) *catalogv1.DenyRule {
			return &catalogv1.DenyRule{Api: x.api.GetName(), ClientAddress: "127.0.0.0/8"}
		}),
		denying("everything", func(x *product) *catalogv1.DenyRule {
			return &catalogv1.DenyRule{
				Api: x.api.GetName(), Versions: []string{x.version.GetName()}, Application: x.app.GetName(), Subscription: x.subscription.GetName(), ClientAddress: "127.0.0.1",
			}
		}),
	}
}

func revocations() []ending {
	by := func(name func(x *product) string) func(*product, *user, *testing.T) *subscriptionv1.RevokeRequest {
		return func(x *product, _ *user, _ *testing.T) *subscriptionv1.RevokeRequest {
			return &subscriptionv1.RevokeRequest{Name: name(x)}
		}
	}
	return []ending{
		revoking("by a token", by(func(*product) string { return "" }), true),
		revoking("by a grant", func(x *product, p *user, t *testing.T) *subscriptionv1.RevokeRequest {
			return &subscriptionv1.RevokeRequest{Name: p.liveSessions(t, x)[0].GetGrant(), Application: x.app.GetName()}
		}, true),
		revoking("by an OAuth client", by(func(x *product) string { return x.oauthClient.GetName() }), true),
		revoking("by an application", by(func(x *product) string { return x.app.GetName() }), true),
		revoking("by a subscription", by(func(x *product) string { return x.subscription.GetName() }), true),
		revoking("by a secret", by(func(x *product) string { return x.secret.GetName() }), false),
		{"all of a version closed", func(t *testing.T, p *user, x *product, _ string) error {
			resp, err := p.sessions.CloseSessions(p.ctx(t), &gatewayv1.CloseSessionsRequest{Parent: "gateways/-", Version: x.version.GetName()})
			if err == nil && (resp.GetClosedSessions() != 1 || resp.GetGateways() != 1 || len(resp.GetSilentGateways()) > 0) {
				err = fmt.Errorf("CloseSessions() = %v, want one session on one gateway", resp)
			}
			return err
		}, 4010, "OPERATOR_CLOSE", 101},
	}
}

// liveSessions lists the live sessions of a product.
func (p *user) liveSessions(t *testing.T, x *product) []*gatewayv1.Session {
	t.Helper()
	list, err := p.sessions.ListSessions(p.ctx(t), &gatewayv1.ListSessionsRequest{
		Parent: "gateways/-", Filter: fmt.Sprintf("version = %q", x.version.GetName()),
	})
	if err != nil {
		t.Fatalf("ListSessions: %v", err)
	}
	return list.GetSessions()
}

// TestEndings ends live sessions from the control plane in every way: the
// client sees the code and the reason, the record of the ref says the same,
// and the next handshake is refused.
func TestEndings(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, s *Stack) {
		p := s.admin(t)
		backend := newBackend(t)
		for i, e := range slices.Concat(endings(), revocations(), denials()) {
			t.Run(e.name, func(t *testing.T) {
				t.Parallel()
				x := p.publish(t, fmt.Sprintf("Ending%d", i), backend)
				token := p.accessToken(t, x)
				conn := s.connect(t, s.WS+x.path, token)
				echo(t, conn, websocket.MessageText, "before")
				if err := e.do(t, p, x, token); err != nil {
					t.Fatal(err)
				}
				code, reason := closed(t, conn)
				word, ref, _ := strings.Cut(reason, " ref=")
				if code != e.code || word != e.word || ref == "" {
					t.Errorf("closed with %d %q, want %d %s ref=…", code, reason, e.code, e.word)
				}
				record := p.record(t, ref)
				if int(record.GetCloseCodeToClient()) != e.code || record.GetEndReason().String() != "END_REASON_"+e.word || record.GetCloseCodeToBackend() != 1001 {
					t.Errorf("record = %v, want %d %s, and 1001 to the backend", record, e.code, e.word)
				}
				if got := s.refused(t, s.WS+x.path, token); got != e.after {
					t.Errorf("the next handshake is answered %d, want %d", got, e.after)
				}
			})
		}
	})
}

// TestExpiry lets a token end under sessions that only listen.
func TestExpiry(t *testing.T) {
	t.Parallel()
	s := start(t, newData(t), append(quick(), "-no-sample", "-subscription.token-lifetime", "5s")...)
	p := s.admin(t)
	x := p.publish(t, "Expiry", newBackend(t))
	token := p.accessToken(t, x)
	conn := s.connect(t, s.WS+x.path, token)
	code, reason := closed(t, conn)
	word, ref, _ := strings.Cut(reason, " ref=")
	if code != 4001 || word != "EXPIRED" {
		t.Errorf("closed with %d %q, want 4001 EXPIRED ref=…", code, reason)
	}
	if record := p.record(t, ref); record.GetEndReason() != usagev1.EndReason_END_REASON_EXPIRED || record.GetEndedBy() != usagev1.SessionRecord_PARTY_GATEWAY {
		t.Errorf("record = %v, want one that the gateway ended, EXPIRED", record)
	}
	if got := s.refused(t, s.WS+x.path, token); got != http.StatusUnauthorized {
		t.Errorf("the next handshake is answered %d, want 401", got)
	}
}

// record waits for the record of a ref.
func (p *user) record(t *testing.T, ref string) *usagev1.SessionRecord {
	t.Helper()
	var record *usagev1.SessionRecord
	eventually(t, func() (err error) {
		record, err = p.usage.GetSessionRecord(p.ctx(t), &usagev1.GetSessionRecordRequest{Name: "sessionRecords/" + ref})
		return err
	})
	return record
}

// totals is usage, summed up.
type totals struct{ sessions, in, out, bytesIn, bytesOut uint64 }

// totals sums up the usage of a product's subscription.
func (p *user) totals(t *testing.T, x *product) totals {
	t.Helper()
	list, err := p.usage.ListUsage(p.ctx(t), &usagev1.ListUsageRequest{Filter: fmt.Sprintf("subscription = %q", x.subscription.GetName())})
	if err != nil {
		t.Fatalf("ListUsage: %v", err)
	}
	var sum totals
	for _, u := range list.GetUsage() { // one row an hour
		sum.sessions += u.GetSessions()
		sum.in += u.GetInbound().GetMessages()
		sum.out += u.GetOutbound().GetMessages()
		sum.bytesIn += u.GetInbound().GetPayloadBytes()
		sum.bytesOut += u.GetOutbound().GetPayloadBytes()
	}
	return sum
}

// TestUsage counts what went through, to the byte.
func TestUsage(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, s *Stack) {
		p := s.admin(t)
		x := p.publish(t, "Meter", newBackend(t))
		token := p.accessToken(t, x)
		const sessions, messages = 3, 7
		var payload uint64
		for i := range sessions {
			conn := s.connect(t, s.WS+x.path, token)
			for j := range messages {
				text := strings.Repeat("x", 100*i+j)
				payload += uint64(len(text))
				echo(t, conn, websocket.MessageText, text)
			}
			if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Fatalf("close: %v", err)
			}
		}
		want := totals{sessions: sessions, in: sessions * messages, out: sessions * messages, bytesIn: payload, bytesOut: payload}
		eventually(t, func() error {
			if got := p.totals(t, x); got != want {
				return fmt.Errorf("usage = %+v, want %+v", got, want)
			}
			return nil
		})
		var list *usagev1.ListSessionRecordsResponse
		eventually(t, func() (err error) { // records are reported beside usage
			list, err = p.usage.ListSessionRecords(p.ctx(t), &usagev1.ListSessionRecordsRequest{
				Filter: fmt.Sprintf("version = %q", x.version.GetName()),
			})
			if n := len(list.GetSessionRecords()); err == nil && n != sessions {
				err = fmt.Errorf("%d records, want %d", n, sessions)
			}
			return err
		})
		for _, r := range list.GetSessionRecords() {
			if r.GetEndedBy() != usagev1.SessionRecord_PARTY_CLIENT || r.GetCloseCodeFromClient() != 1000 || r.GetCloseCodeToBackend() != 1000 {
				t.Errorf("record = %v, want one that the client closed with 1000", r)
			}
		}
	})
}

// TestCommandsLive runs the command line's commands about live traffic.
func TestCommandsLive(t *testing.T) {
	t.Parallel()
	s := onSQLite(t)
	p, sh := s.admin(t), s.newShell(t)
	x := p.publish(t, "Live", newBackend(t))
	sh.run(t, "login", "--password-file", s.PasswordFile)
	conn := s.connect(t, s.WSS+x.path, p.accessToken(t, x))
	echo(t, conn, websocket.MessageText, "hello")
	sh.says(t, []string{"Live/1.0.0", "Live client", "127.0.0.1:"}, "session", "list", "--api", "Live")
	sh.says(t, []string{"Live client  1 ", x.app.GetName()}, "session", "count", "--by", "application", "--api", "Live")
	sh.says(t, []string{"Live/1.0.0  1 "}, "session", "count", "--app", "Live client")
	name := p.liveSessions(t, x)[0].GetName()
	_, ref, _ := strings.Cut(name, "/sessions/")
	sh.says(t, []string{"Closed"}, "session", "close", ref)
	if code, reason := closed(t, conn); code != 4010 || !strings.HasSuffix(reason, " ref="+ref) {
		t.Errorf("closed with %d %q, want 4010 with the ref %s", code, reason, ref)
	}
	p.record(t, ref)
	sh.says(t, []string{"operator", "4010", ref}, "record", "list", "--app", "Live client")
	sh.says(t, []string{"operator", "Code to client     4010", "1 message, 5 bytes"}, "record", "get", ref)
	eventually(t, func() error {
		if out := sh.run(t, "usage", "--api", "Live"); strings.Count(out, "1 message, 5 bytes") != 2 {
			return fmt.Errorf("usage = %s", out)
		}
		return nil
	})
	sh.says(t, []string{"Live client", "Live/1.0.0", "Gold"}, "subscription", "list")
	sh.says(t, []string{"Deleted"}, "subscription", "delete", "Live client", "Live")
	sh.says(t, []string{"Deleted"}, "oauth-client", "delete", "Live client")
	sh.says(t, []string{"Deleted"}, "app", "delete", "Live client")
	sh.says(t, []string{"Demoted  Live/1.0.0", "created"}, "api", "demote", "Live")
	sh.says(t, []string{"Deleted"}, "api", "delete", "Live", "--force")
	if list, err := p.catalog.ListApis(p.ctx(t), &catalogv1.ListApisRequest{}); err != nil || len(list.GetApis()) != 0 {
		t.Errorf("ListApis = %v, %v, want none", list, err)
	}
}

// TestDrain stops the server under live sessions: each is closed with 1012, and
// its record and usage are there at the next start.
func TestDrain(t *testing.T) {
	t.Parallel()
	data := newData(t)
	s := start(t, data, append(quick(), "-no-sample")...)
	p := s.admin(t)
	x := p.publish(t, "Drain", newBackend(t))
	token := p.accessToken(t, x)
	const sessions = 5
	var conns []*websocket.Conn
	for range sessions {
		conn := s.connect(t, s.WS+x.path, token)
		echo(t, conn, websocket.MessageText, "hello")
		conns = append(conns, conn)
	}
	s.stop()
	for _, conn := range conns {
		if code, reason := closed(t, conn); code != 1012 || !strings.HasPrefix(reason, "DRAIN ") {
			t.Errorf("closed with %d %q, want 1012 DRAIN", code, reason)
		}
	}
	if code := s.wait(t); code != 0 {
		t.Errorf("the server ended with %d, want 0", code)
	}
	again := start(t, data, append(quick(), "-no-sample")...)
	p = again.admin(t)
	list, err := p.usage.ListSessionRecords(p.ctx(t), &usagev1.ListSessionRecordsRequest{Filter: `end_reason = "DRAIN"`})
	if err != nil || len(list.GetSessionRecords()) != sessions {
		t.Errorf("records of the drain = %v, %v, want %d", list.GetSessionRecords(), err, sessions)
	}
	want := totals{sessions: sessions, in: sessions, out: sessions, bytesIn: 5 * sessions, bytesOut: 5 * sessions}
	if got := p.totals(t, x); got != want {
		t.Errorf("usage = %+v, want %+v", got, want)
	}
	// The token outlives the restart.
	echo(t, again.connect(t, again.WS+x.path, token), websocket.MessageText, "again")
}

// TestStopUnderStreams stops the server under a watch of its health and a
// connection on which nothing was said yet: neither has the time that requests
// have.
func TestStopUnderStreams(t *testing.T) {
	t.Parallel()
	s := start(t, newData(t), append(quick(), "-no-sample", "-portal.drain", "1h")...)
	silent, err := net.Dial("tcp", s.GRPC)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	watch, err := healthgrpc.NewHealthClient(s.dial(t)).Watch(within(t), &healthgrpc.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthgrpc.HealthCheckResponse_ServingStatus{healthgrpc.HealthCheckResponse_SERVING, healthgrpc.HealthCheckResponse_NOT_SERVING} {
		if m, err := watch.Recv(); err != nil || m.GetStatus() != want {
			t.Fatalf("Watch = %v, %v, want %v", m, err, want)
		}
		s.stop()
	}
	if _, err := watch.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("Watch ends with %v, want UNAVAILABLE", err)
	}
	if code := s.wait(t); code != 0 {
		t.Errorf("the server ended with %d, want 0", code)
	}
}

// TestStopEarly stops a server that is still starting, at once or when its
// services have begun: it ends in order, says so, and welcomes nobody.
func TestStopEarly(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"-no-sample"}} {
		for _, at := range []string{"", `msg="installation made"`} {
			ctx, stop := context.WithCancel(t.Context())
			log := &stopWriter{at: at, stop: stop}
			if at == "" {
				stop()
			}
			var stdout bytes.Buffer
			p := run.Program{Name: "tidegate", Args: append(append([]string{"-data", newData(t)}, freePorts()...), args...), Stdout: &stdout, Stderr: log}
			ready := func(standalone.Addresses) { t.Errorf("serve %q, stopped at %q, says that it serves", args, at) }
			if code := standalone.Serve(ctx, p, standalone.Options{Ready: ready}); code != 0 || stdout.String() != "Tidegate has stopped.\n" || ctx.Err() == nil {
				t.Errorf("serve %q, stopped at %q (%v) = %d, want 0 and only that it has stopped:\n%s%s", args, at, ctx.Err(), code, &stdout, &log.text)
			}
			stop()
		}
	}
}

// stopWriter is a log that calls stop when it is told of an event. The log's
// handler writes one line at a time.
type stopWriter struct {
	at   string
	stop func()
	text bytes.Buffer
}

// Write writes.
func (w *stopWriter) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(w.at)) {
		w.stop()
	}
	return w.text.Write(p)
}
