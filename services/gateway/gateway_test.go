package gateway

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/seal"
)

func TestSessionIsServedCountedAndShown(t *testing.T) {
	w := started(t)
	token := w.plane.issue("t1", "subscriptions/1", time.Hour)
	c := w.connect("1", token)
	for i := range 10 {
		echoes(t, c, fmt.Sprint("message ", i))
	}
	api, ctx := w.sessions()
	list, err := api.ListSessions(ctx, &gatewayv1.ListSessionsRequest{Parent: "gateways/gateway-1"})
	if err != nil || len(list.GetSessions()) != 1 {
		t.Fatalf("ListSessions = %v, %v, want one", list, err)
	}
	name := list.GetSessions()[0].GetName()
	eventually(t, "the ten messages are shown", func() bool { // they are counted once they are sent
		s, err := api.GetSession(ctx, &gatewayv1.GetSessionRequest{Name: name})
		if err != nil || s.GetUser() != "users/sue" || s.GetExpireTime() == nil {
			t.Fatalf("GetSession = %v, %v", s, err)
		}
		return s.GetInbound().GetMessages() == 10
	})
	eventually(t, "the messages are reported", func() bool {
		sessions, in, out := w.plane.totals()
		return sessions == 1 && in == 10 && out == 10
	})
	if _, err := api.CloseSession(ctx, &gatewayv1.CloseSessionRequest{Name: name}); err != nil {
		t.Fatalf("CloseSession = %v", err)
	}
	closes(t, c, 4010, "OPERATOR_CLOSE")
	eventually(t, "the record is reported", func() bool { return slices.Equal(w.plane.endReasons(), []string{"OPERATOR_CLOSE"}) })
	if g, err := api.GetGateway(ctx, &gatewayv1.GetGatewayRequest{Name: "gateways/gateway-1"}); err != nil || !g.GetReady() || g.GetRoutesAppliedChangeNumber() != 2 {
		t.Errorf("GetGateway = %v, %v", g, err)
	}
	if w.plane.verified != 1 {
		t.Errorf("the credential was verified %d times, want once", w.plane.verified)
	}
}

func TestSessionsEndWithTheirGrants(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(p *plane)
		code websocket.StatusCode
		word string
	}{
		"token revoked": {func(p *plane) { p.touch(backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED, "grants/t1") }, 4001, "REVOKED"},
		"OAuth client deleted": {func(p *plane) {
			p.touch(backplanev1.GrantEvent_CAUSE_OAUTH_CLIENT_DELETED, "applications/a/oauthClients/c")
		}, 4001, "REVOKED"},
		"subscription deleted": {func(p *plane) {
			p.touch(backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_DELETED, "subscriptions/1")
		}, 4006, "BLOCKED"},
		"application deleted": {func(p *plane) { p.touch(backplanev1.GrantEvent_CAUSE_APPLICATION_DELETED, "applications/a") }, 4006, "BLOCKED"},
		"user deleted":        {func(p *plane) { p.touch(backplanev1.GrantEvent_CAUSE_USER_DELETED, "users/sue") }, 4006, "BLOCKED"},
		"user suspended":      {func(p *plane) { p.touch(backplanev1.GrantEvent_CAUSE_USER_SUSPENDED, "users/sue") }, 4006, "BLOCKED"},
		"version deleted":     {func(p *plane) { p.touch(backplanev1.GrantEvent_CAUSE_VERSION_DELETED, "apis/x/versions/1") }, 4006, "BLOCKED"},
		"something changed":   {func(p *plane) { p.touch(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, "subscriptions/1") }, 4006, "BLOCKED"},
		"another history":     {func(p *plane) { p.grants.restart() }, 4006, "BLOCKED"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := started(t)
			c, other := w.connect("1", w.plane.issue("t1", "subscriptions/1", time.Hour)), w.connect("open", "")
			echoes(t, c, "before")
			w.plane.end(backplanev1.GrantEvent_CAUSE_SUBSCRIPTION_DELETED, func(string, *token) bool { return true })
			tt.end(w.plane)
			closes(t, c, tt.code, tt.word)
			w.refused("1", "t1", http.StatusUnauthorized)
			echoes(t, other, "not concerned")
		})
	}
}

func TestChangesThatEndNothing(t *testing.T) {
	w := started(t)
	c := w.connect("1", w.plane.issue("t1", "subscriptions/1", time.Hour))
	w.plane.touch(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, "subscriptions/1")
	w.plane.touch(backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED, "grants/t2")
	w.plane.grants.restart()
	edited := w.route("1")
	edited.Endpoints.Production = endpoint("ws://127.0.0.1:1/elsewhere")
	w.plane.put(edited)
	w.plane.put(edited)
	w.plane.routes.restart()
	w.plane.put(w.route("2"))
	eventually(t, "a version after it all is served", func() bool {
		w.plane.issue("t3", "subscriptions/1", time.Hour)
		conn, status := w.dial("2", "t3")
		if conn != nil {
			_ = conn.CloseNow()
		}
		return status == http.StatusSwitchingProtocols
	})
	echoes(t, c, "still here")
	if got := w.served.Load(); got != 2 {
		t.Errorf("the backend has served %d sessions, want 2", got)
	}
}

func TestCredentialExpires(t *testing.T) {
	w := started(t)
	c := w.connect("1", w.plane.issue("t1", "subscriptions/1", 3*time.Second))
	expires := w.plane.tokens["t1"].expires
	echoes(t, c, "before")
	closes(t, c, 4001, "EXPIRED")
	if early := time.Until(expires); early > 500*time.Millisecond {
		t.Errorf("the close came %v early", early)
	}
	w.refused("1", "t1", http.StatusUnauthorized)
}

func TestVersionDemotedOrRemoved(t *testing.T) {
	w := started(t)
	c, other := w.connect("1", w.plane.issue("t1", "subscriptions/1", time.Hour)), w.connect("open", "")
	down := w.route("1")
	down.State = catalogv1.Version_STATE_CREATED
	w.plane.put(down)
	closes(t, c, 4006, "BLOCKED")
	w.refused("1", "t1", http.StatusNotFound)
	echoes(t, other, "not concerned")
	w.plane.put(w.route("1"))
	eventually(t, "the version is served again", func() bool {
		c, status := w.dial("1", "t1")
		if c != nil {
			_ = c.CloseNow()
		}
		return status == http.StatusSwitchingProtocols
	})
}

func TestFeatureThatIsMissing(t *testing.T) {
	w := started(t)
	r := w.open()
	r.Name, r.Version, r.Requires = "apis/x/versions/later", "later", []string{"time-travel"}
	w.plane.put(r)
	eventually(t, "the version is known", func() bool { _, status := w.dial("later", ""); return status != http.StatusNotFound })
	w.refused("later", "", http.StatusServiceUnavailable)
}

func TestControlPlaneAway(t *testing.T) {
	w := started(t)
	w.plane.issue("t1", "subscriptions/1", time.Hour)
	w.plane.issue("t2", "subscriptions/2", time.Hour)
	c := w.connect("1", "t1")
	echoes(t, c, "before")
	w.plane.away()
	echoes(t, c, "the session goes on")
	again := w.connect("1", "t1")
	echoes(t, again, "a cached grant is honoured")
	w.refused("1", "t2", http.StatusServiceUnavailable)
	w.connect("open", "")
	if status := w.get("/-/readyz"); status != http.StatusOK {
		t.Errorf("readyz = %d, want 200: the gateway has routes", status)
	}
	w.plane.end(backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED, func(name string, _ *token) bool { return name == "t1" })
	w.plane.touch(backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED, "grants/t1")
	w.plane.back()
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != 4001 {
		t.Errorf("after the control plane came back, read = %v, want the revocation that was missed", err)
	}
	eventually(t, "other tokens are verified again", func() bool {
		c, status := w.dial("1", "t2")
		if c != nil {
			_ = c.CloseNow()
		}
		return status == http.StatusSwitchingProtocols
	})
	eventually(t, "usage is reported", func() bool { _, in, _ := w.plane.totals(); return in == 3 })
}

func TestRestartFromDisk(t *testing.T) {
	w := started(t)
	w.plane.issue("t1", "subscriptions/1", time.Hour)
	w.connect("1", "t1")
	if err := w.shut(); err != nil {
		t.Fatalf("Run = %v", err)
	}
	w.plane.away()
	w.start()
	echoes(t, w.connect("open", ""), "served from disk")
	w.refused("1", "t1", http.StatusServiceUnavailable)
	w.refused("nothing", "", http.StatusNotFound)
	w.plane.back()
	eventually(t, "tokens are verified again", func() bool {
		c, status := w.dial("1", "t1")
		if c != nil {
			_ = c.CloseNow()
		}
		return status == http.StatusSwitchingProtocols
	})
}

// TestIssuerIsKnownAfterARestart restarts the gateway while the control plane is away:
// it still tells tokens of the installation from foreign ones, which pass.
func TestIssuerIsKnownAfterARestart(t *testing.T) {
	w := newWorld(t)
	sent := make(chan http.Header, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		sent <- r.Header
		rw.WriteHeader(http.StatusSwitchingProtocols) // an incorrect one: a refusal would leave a record to report
	}))
	t.Cleanup(backend.Close)
	r := w.open()
	r.Endpoints.Production = endpoint("ws" + strings.TrimPrefix(backend.URL, "http"))
	w.plane.put(r)
	w.start()
	eventually(t, "the issuer is kept", func() bool {
		_, err := os.Stat(filepath.Join(w.cfg.Data, "token-issuer"))
		return err == nil
	})
	if err := w.shut(); err != nil {
		t.Fatalf("Run = %v", err)
	}
	w.plane.away()
	w.start()
	ours := w.plane.signer.Token("pat")
	foreign := w.plane.signer.Sign(identity.UserType, map[string]any{"iss": "https://another.test"})
	w.refused("open", ours, http.StatusBadGateway)
	if got := (<-sent)["Authorization"]; len(got) > 0 {
		t.Errorf("the backend was sent %q, want no token of the installation", got)
	}
	w.refused("open", foreign, http.StatusBadGateway)
	if got := (<-sent).Get("Authorization"); got != "Bearer "+foreign {
		t.Errorf("the backend was sent %q, want the foreign token", got)
	}
}

func TestRestartWithoutACopy(t *testing.T) {
	w := started(t)
	if err := w.shut(); err != nil {
		t.Fatalf("Run = %v", err)
	}
	w.plane.away()
	w.cfg.MasterKey = seal.New()
	w.plane.versions = nil
	w.start()
	w.refused("open", "", http.StatusServiceUnavailable)
	if status := w.get("/-/healthz"); status != http.StatusOK {
		t.Errorf("healthz = %d, want 200", status)
	}
	if status := w.get("/-/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz = %d, want 503", status)
	}
}

func TestDrain(t *testing.T) {
	w := newWorld(t)
	w.cfg.Metering.Every = time.Hour // what is reported is reported at the stop
	w.cfg.Drain = 3 * time.Second
	w.plane.put(w.route("1"))
	w.plane.put(w.open())
	w.start()
	w.plane.issue("t1", "subscriptions/1", time.Hour)
	var all []*websocket.Conn
	for i := range 6 {
		c := w.connect("1", "t1")
		echoes(t, c, fmt.Sprint("from ", i))
		all = append(all, c)
	}
	begin := time.Now()
	w.stop()
	ended := make(chan time.Duration, len(all))
	for _, c := range all {
		go func() {
			_, _, err := c.Read(t.Context())
			if websocket.CloseStatus(err) != websocket.StatusServiceRestart {
				t.Errorf("read = %v, want a close 1012", err)
			}
			ended <- time.Since(begin)
		}()
	}
	first := <-ended
	if status := w.get("/-/readyz"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz while draining = %d, want 503", status)
	}
	w.refused("open", "", http.StatusServiceUnavailable)
	var last time.Duration
	for range len(all) - 1 {
		last = <-ended
	}
	if last-first < time.Second {
		t.Errorf("the sessions ended between %v and %v, want them spread", first, last)
	}
	err := <-w.done
	w.stop = nil
	if err != nil {
		t.Errorf("Run = %v", err)
	}
	if got := slices.DeleteFunc(w.plane.endReasons(), func(r string) bool { return r == "REFUSED" }); len(got) != 6 || !slices.Equal(slices.Compact(got), []string{"DRAIN"}) {
		t.Errorf("the records say %q, want DRAIN of all", got)
	}
	if sessions, in, out := w.plane.totals(); sessions != 6 || in != 6 || out != 6 {
		t.Errorf("reported %d sessions, %d and %d messages, want 6 of each", sessions, in, out)
	}
}

// TestStopCutsSilentClients stops a gateway with a client that never answers its
// close. With a short drain time it does not wait for long.
func TestStopCutsSilentClients(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the client")
	}
	t.Parallel()
	w := newWorld(t)
	w.cfg.Relay.Close, w.cfg.Drain = time.Hour, time.Millisecond
	w.plane.put(w.open())
	w.start()
	c := w.connect("open", "")
	echoes(t, c, "not read from now on")
	begin := time.Now()
	if err := w.shut(); err != nil {
		t.Errorf("Run = %v", err)
	}
	if took := time.Since(begin); took > maxCloseWait-time.Second {
		t.Errorf("the stop took %v, want about %v", took, minCloseWait)
	}
	if got := w.plane.endReasons(); len(got) != 1 || got[0] != "DRAIN" {
		t.Errorf("the records say %q, want DRAIN", got)
	}
}

func TestStopSaysWhatItCouldNotReport(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the last report to be given up")
	}
	t.Parallel()
	w := started(t)
	c := w.connect("open", "")
	w.plane.away()
	echoes(t, c, "unreported")
	// What was counted before and after a report that failed stands in two rows.
	lost := regexp.MustCompile(`report the last [12] rows of usage and 1 session records`)
	if err := w.shut(); err == nil || !lost.MatchString(err.Error()) {
		t.Errorf("Run = %v, want what was lost", err)
	}
}

func TestRunFailsWhenSomethingCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for name, tt := range map[string]struct {
		spoil func(c *Config)
		want  string
	}{
		"listener taken":    {func(c *Config) { c.Listen.Addr = taken.Addr().String() }, "-ws: " + taken.Addr().String() + " is taken by another program; give another"},
		"gRPC taken":        {func(c *Config) { c.GRPC.Addr = taken.Addr().String() }, "-grpc: " + taken.Addr().String() + " is taken by another program; give another"},
		"operations taken":  {func(c *Config) { c.Ops.Addr = taken.Addr().String() }, "-ops: " + taken.Addr().String() + " is taken by another program; give another"},
		"no master key":     {func(c *Config) { c.MasterKey, c.MasterKeyFile = nil, "/nonexistent/key" }, "read master key"},
		"no authority":      {func(c *Config) { c.Upstream.CAFile = "/nonexistent/ca" }, "read certificate authorities of backends"},
		"nothing to serve":  {func(c *Config) { c.Listen.Addr = "" }, "nobody could connect"},
		"folder impossible": {func(c *Config) { c.Data = "/dev/null/x" }, "make the folder of the routes"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			cfg := w.cfg
			cfg.Listen.Addr = "127.0.0.1:0"
			tt.spoil(&cfg)
			if err := Run(t.Context(), cfg, slog.New(slog.NewTextHandler(io.Discard, nil))); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run = %v, want %q in it", err, tt.want)
			}
		})
	}
}
