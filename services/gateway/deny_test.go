package gateway

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// behindProxy makes a world whose clients have the address that they say, as behind a
// trusted proxy. It is not started.
func behindProxy(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	if err := w.cfg.Listen.Proxies.Trusted.Set("127.0.0.0/8"); err != nil {
		t.Fatal(err)
	}
	w.plane.put(w.route("1"))
	w.plane.put(w.open())
	return w
}

// from is the head of a client at an address, with a token or without.
func from(addr, token string) http.Header {
	h := http.Header{"X-Forwarded-For": {addr}}
	if token != "" {
		h.Set("Authorization", "Bearer "+token)
	}
	return h
}

// TestDenyRules denies clients by everything that a rule can name: their handshakes are
// refused with 403, their live sessions closed with 4006, and nobody else notices. The
// records name the rule, and clients are not told it.
func TestDenyRules(t *testing.T) {
	w := behindProxy(t)
	y := w.route("1")
	y.Name, y.Api, y.Context = "apis/y/versions/1", "apis/y", "/y"
	w.plane.put(y)
	w.start()
	for _, token := range []string{"a", "b"} {
		w.plane.subscribe(token, "", "")
	}
	type who struct{ path, addr, token string }
	clients := []who{
		{"/x/1", "203.0.113.7", "a"}, {"/x/1", "203.0.113.8", "a"}, {"/x/1", "203.0.113.7", "b"}, {"/x/1", "2001:db8::7", "b"},
		{"/y/1", "203.0.113.7", "a"}, {"/y/1", "198.51.100.1", "b"}, {"/x/open", "203.0.113.7", ""}, {"/x/open", "2001:db8:0:1::9", ""},
	}
	head := func(c who) http.Header { return from(c.addr, c.token) }
	for what, tt := range map[string]struct {
		rule   *catalogv1.DenyRule
		denied []int
	}{
		"an address":           {&catalogv1.DenyRule{ClientAddress: "203.0.113.7"}, []int{0, 2, 4, 6}},
		"a network of IPv4":    {&catalogv1.DenyRule{ClientAddress: "203.0.113.0/24"}, []int{0, 1, 2, 4, 6}},
		"a network of IPv6":    {&catalogv1.DenyRule{ClientAddress: "2001:db8::/32"}, []int{3, 7}},
		"an API":               {&catalogv1.DenyRule{Api: "apis/x"}, []int{0, 1, 2, 3, 6, 7}},
		"a version":            {&catalogv1.DenyRule{Api: "apis/x", Versions: []string{"apis/x/versions/open"}}, []int{6, 7}},
		"an application":       {&catalogv1.DenyRule{Application: "applications/a"}, []int{0, 1, 4}},
		"a subscription":       {&catalogv1.DenyRule{Subscription: "subscriptions/b"}, []int{2, 3, 5}},
		"an address of an API": {&catalogv1.DenyRule{Api: "apis/y", ClientAddress: "203.0.113.7"}, []int{4}},
		"all conditions": {&catalogv1.DenyRule{
			Api: "apis/x", Versions: []string{"apis/x/versions/1"}, Application: "applications/a", Subscription: "subscriptions/a", ClientAddress: "203.0.113.8/32",
		}, []int{1}},
	} {
		t.Run(what, func(t *testing.T) {
			isDenied := map[int]bool{}
			for _, i := range tt.denied {
				isDenied[i] = true
			}
			var live []*websocket.Conn
			for _, c := range clients {
				conn, r := w.ask(w.plain+c.path, head(c))
				if conn == nil {
					t.Fatalf("%v before the rule: %d %s", c, r.status, r.body)
				}
				live = append(live, conn)
			}
			begin := time.Now()
			w.plane.deny("r", tt.rule)
			for i := range clients {
				if isDenied[i] {
					closes(t, live[i], 4006, "BLOCKED")
				}
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("the closes came after %s", took)
			}
			for i, c := range clients {
				conn, r := w.ask(w.plain+c.path, head(c))
				switch {
				case !isDenied[i] && conn == nil:
					t.Errorf("%v is refused: %d %s", c, r.status, r.body)
				case !isDenied[i]:
					echoes(t, live[i], "goes on")
				case r.status != 403 || !strings.Contains(r.body, `"code":"DENIED"`) || strings.Contains(r.body, "denyRules/"):
					t.Errorf("%v: %d %s, want 403 DENIED without the rule", c, r.status, r.body)
				default:
					_, ref, _ := strings.Cut(r.body, `"ref":"`)
					ref, _, _ = strings.Cut(ref, `"`)
					if got := w.explained(refusedAnswer{403, "DENIED", ref}); got.GetDetail() != "denied by denyRules/r" {
						t.Errorf("the record says %q, want the rule", got.GetDetail())
					}
				}
			}
			w.plane.allow("r")
			eventually(t, "everybody is let in again", func() bool {
				for _, c := range clients {
					if conn, _ := w.ask(w.plain+c.path, head(c)); conn == nil {
						return false
					}
				}
				return true
			})
		})
	}
}

// TestDeniedWithinASecond: a listener that a new rule denies is told within a second.
func TestDeniedWithinASecond(t *testing.T) {
	w := newWorld(t)
	b := newRawBackend(t)
	r := w.route("1")
	r.Endpoints.Production = endpoint("ws://" + b.Addr().String())
	w.plane.put(r)
	w.start()
	best := time.Hour
	for i := 0; i < 3 && best > time.Second; i++ {
		w.plane.allow("r")
		token := w.plane.subscribe(fmt.Sprint("t", i), "", "")
		var client *end
		eventually(t, "the rule before is gone", func() bool {
			c, status := w.dial("1", token)
			if c != nil {
				_ = c.CloseNow()
				_ = (<-b.ends).Close()
			}
			return status == http.StatusSwitchingProtocols
		})
		client, _ = w.pair(b, w.plain+"/x/1", bearer(token))
		begin := time.Now()
		w.plane.deny("r", &catalogv1.DenyRule{Application: "applications/" + token})
		if code, reason := client.closed(); code != 4006 || !strings.HasPrefix(reason, "BLOCKED ref=") {
			t.Errorf("closed with %d %q, want 4006 BLOCKED", code, reason)
		}
		best = min(best, time.Since(begin))
	}
	if best > time.Second {
		t.Errorf("the close came after %s at best, want a second", best)
	}
}

// TestDeniedBeforeTheCredential: the control plane is not asked about the credential of a
// client whose address is denied, by the installation or for an API.
func TestDeniedBeforeTheCredential(t *testing.T) {
	w := behindProxy(t)
	w.start()
	w.plane.deny("all", &catalogv1.DenyRule{ClientAddress: "203.0.113.7"})
	w.plane.deny("x", &catalogv1.DenyRule{Api: "apis/x", ClientAddress: "203.0.113.8"})
	eventually(t, "the rules are held", func() bool {
		_, all := w.ask(w.plain+"/x/open", from("203.0.113.7", ""))
		_, x := w.ask(w.plain+"/x/open", from("203.0.113.8", ""))
		return all.status == 403 && x.status == 403
	})
	asked := func() int {
		w.plane.mu.Lock()
		defer w.plane.mu.Unlock()
		return w.plane.verified
	}
	before := asked()
	for path, want := range map[string]string{"/x/1": "403", "/nothing/at/all": "403"} {
		if _, r := w.ask(w.plain+path, from("203.0.113.7", "made up")); fmt.Sprint(r.status) != want {
			t.Errorf("%s from a denied address: %d, want %s, before there is a route", path, r.status, want)
		}
	}
	if _, r := w.ask(w.plain+"/x/1", from("203.0.113.8", "made-up")); r.status != 403 {
		t.Errorf("from an address that the API denies: %d, want 403", r.status)
	}
	if n := asked(); n != before {
		t.Errorf("the control plane was asked about %d credentials of denied clients", n-before)
	}
	if _, r := w.ask(w.plain+"/x/1", from("203.0.113.9", "made-up")); r.status != 401 || asked() == before {
		t.Errorf("from another address: %d, and the control plane was not asked", r.status)
	}
}

// TestDeniedDuringTheDial: a rule that comes while a handshake waits for its backend refuses
// it, and the backend's connection ends.
func TestDeniedDuringTheDial(t *testing.T) {
	w := newWorld(t)
	url, connected := backendAt(t, silentBackend)
	w.leads("silent", url)
	w.start()
	for name, rule := range map[string]*catalogv1.DenyRule{
		"address": {ClientAddress: "127.0.0.1"}, "API": {Api: "apis/x"},
	} {
		conn := w.sends(headOf("/x/silent", ""))
		<-connected
		w.plane.deny("r", rule)
		if a := w.read(conn); a.Status != 403 || a.Code != "DENIED" {
			t.Errorf("%s: %+v, want 403 DENIED", name, a)
		} else if r := w.explained(a); r.GetDetail() != "denied by denyRules/r" {
			t.Errorf("%s: the record says %q, want the rule", name, r.GetDetail())
		}
		w.plane.allow("r")
		eventually(t, "the rule is gone", func() bool {
			conn := w.sends(headOf("/x/silent", ""))
			defer conn.Close()
			select {
			case <-connected:
				return true
			case <-time.After(200 * time.Millisecond):
				return false
			}
		})
	}
}

// TestDenyRulesSurviveARestart: a gateway that restarts while the control plane is away
// holds the rules that it had, until they expire by its own clock. Its own endpoints answer
// everybody.
func TestDenyRulesSurviveARestart(t *testing.T) {
	w := behindProxy(t)
	w.start()
	expires := time.Now().Add(4 * time.Second)
	w.plane.deny("address", &catalogv1.DenyRule{ClientAddress: "203.0.113.7"})
	w.plane.deny("network", &catalogv1.DenyRule{ClientAddress: "2001:db8::/32"})
	w.plane.deny("machine", &catalogv1.DenyRule{ClientAddress: "127.0.0.0/8"})
	w.plane.deny("short", &catalogv1.DenyRule{ClientAddress: "198.51.100.0/24", ExpireTime: timestamppb.New(expires)})
	w.plane.deny("gone", &catalogv1.DenyRule{ClientAddress: "192.0.2.1"})
	w.plane.allow("gone")
	status := func(addr string) int {
		conn, r := w.ask(w.plain+"/x/open", from(addr, ""))
		if conn != nil {
			_ = conn.CloseNow()
		}
		return r.status
	}
	held := func() {
		t.Helper()
		for addr, want := range map[string]int{"203.0.113.7": 403, "2001:db8::1": 403, "203.0.113.8": 101, "192.0.2.1": 101} {
			if got := status(addr); got != want {
				t.Errorf("%s: %d, want %d", addr, got, want)
			}
		}
		for _, path := range []string{"/-/healthz", "/-/readyz"} {
			if got := w.get(path); got != http.StatusOK {
				t.Errorf("%s is %d for an address that is denied", path, got)
			}
		}
	}
	eventually(t, "the rules are held", func() bool { return status("192.0.2.1") == 101 && status("198.51.100.1") == 403 })
	held()
	if err := w.shut(); err != nil {
		t.Fatalf("Run = %v", err)
	}
	w.plane.away()
	w.start()
	held()
	if time.Now().Before(expires) && status("198.51.100.1") != 403 && time.Now().Before(expires) {
		t.Error("the rule that expires is not held before it does")
	}
	eventually(t, "the rule expires", func() bool { return status("198.51.100.1") == 101 })
	if time.Now().Before(expires) {
		t.Errorf("the rule ended %s before its time", time.Until(expires))
	}
	w.plane.back()
}

// TestOneAddressAmongAThousandSessions denies one of ten addresses with a hundred sessions
// each: these end, and no other.
func TestOneAddressAmongAThousandSessions(t *testing.T) {
	w := behindProxy(t)
	w.cfg.Metrics = prometheus.NewRegistry()
	w.start()
	const addresses, each = 10, 100
	conns := make([][]*websocket.Conn, addresses)
	var wg sync.WaitGroup
	for a := range addresses {
		wg.Go(func() {
			for range each {
				c, r := w.ask(w.plain+"/x/open", from(fmt.Sprintf("203.0.113.%d", a), ""))
				if c == nil {
					t.Errorf("refused: %d %s", r.status, r.body)
					return
				}
				conns[a] = append(conns[a], c)
			}
		})
	}
	if wg.Wait(); t.Failed() {
		return
	}
	w.plane.deny("r", &catalogv1.DenyRule{ClientAddress: "203.0.113.3"})
	for _, c := range conns[3] {
		closes(t, c, 4006, "BLOCKED")
	}
	if got := measure(t, w.cfg.Metrics).sums["tidegate_deny_rules"]; got != 1 {
		t.Errorf("tidegate_deny_rules = %v, want 1", got)
	}
	for a, list := range conns {
		for _, c := range list {
			if a != 3 {
				echoes(t, c, "here")
			}
		}
	}
}

// TestGrantsThatChangeAreJudged: a rule holds for what a live session's grant becomes.
func TestGrantsThatChangeAreJudged(t *testing.T) {
	w := started(t)
	w.plane.issue("t1", "subscriptions/1", time.Hour)
	w.plane.deny("r", &catalogv1.DenyRule{Subscription: "subscriptions/2"})
	c := w.connect("1", "t1")
	echoes(t, c, "not denied")
	w.plane.mu.Lock()
	w.plane.tokens["t1"].subscription = "subscriptions/2"
	w.plane.mu.Unlock()
	w.plane.touch(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, "subscriptions/1")
	closes(t, c, 4006, "BLOCKED")
}

// TestNoSurvivorOfADenyRule has clients connect while a rule for their address comes: each is
// refused, or its session is closed; none goes on.
func TestNoSurvivorOfADenyRule(t *testing.T) {
	w := behindProxy(t)
	w.start()
	for round := range 20 {
		addr := fmt.Sprintf("203.0.113.%d", round)
		var wg sync.WaitGroup
		live := make(chan *websocket.Conn, 1000)
		stop := make(chan struct{})
		for range 8 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					conn, r := w.ask(w.plain+"/x/open", from(addr, ""))
					switch {
					case conn != nil:
						live <- conn
					case r.status == 403:
						return
					default:
						t.Errorf("answered %d %s, want 101 or 403", r.status, r.body)
						return
					}
				}
			})
		}
		first := <-live // they are under way
		w.plane.deny(fmt.Sprint(round), &catalogv1.DenyRule{ClientAddress: addr})
		wg.Wait()
		close(stop)
		close(live)
		closes(t, first, 4006, "BLOCKED")
		for conn := range live {
			closes(t, conn, 4006, "BLOCKED")
		}
	}
}

// TestADeniedHiddenVersionIsNone: a rule does not tell that there is a version which is not
// published to whoever has no token for it. Whoever has one is denied.
func TestADeniedHiddenVersionIsNone(t *testing.T) {
	w := newWorld(t)
	hidden := w.route("hidden")
	hidden.State = catalogv1.Version_STATE_CREATED
	w.plane.put(hidden)
	w.plane.deny("r", &catalogv1.DenyRule{Api: "apis/x"})
	w.start()
	good := w.plane.issueTryOut(hidden.GetName())
	w.refused("hidden", "", 404)
	w.refused("hidden", tryOutToken(hidden.GetName(), "bad"), 404)
	w.refused("hidden", good, 403)
}

// TestDeniedAfterTheFirstMessage: a rule about whoever shows the credential is judged once it
// is there, and the answer is a close; one about the address before the 101.
func TestDeniedAfterTheFirstMessage(t *testing.T) {
	w := behindProxy(t)
	hears := w.route("hears")
	hears.Security = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: []*catalogv1.CredentialPlace{
		{Place: &catalogv1.CredentialPlace_FirstMessage{FirstMessage: &catalogv1.FirstMessagePlace{}}},
	}}}}}
	w.plane.put(hears)
	w.start()
	w.plane.subscribe("a", "", "")
	w.plane.subscribe("b", "", "")
	w.plane.deny("application", &catalogv1.DenyRule{Application: "applications/a"})
	w.plane.deny("address", &catalogv1.DenyRule{Api: "apis/x", ClientAddress: "203.0.113.7"})
	eventually(t, "the rules are held", func() bool {
		_, r := w.ask(w.plain+"/x/open", from("203.0.113.7", ""))
		return r.status == 403
	})
	says := func(token string) *websocket.Conn {
		t.Helper()
		conn, r := w.ask(w.plain+"/x/hears", from("203.0.113.8", ""))
		if conn == nil {
			t.Fatalf("before the credential: %d %s", r.status, r.body)
		}
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(token)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	echoes(t, says("b"), "not denied")
	closes(t, says("a"), 4002, "DENIED")
	if _, r := w.ask(w.plain+"/x/hears", from("203.0.113.7", "")); r.status != 403 {
		t.Errorf("from the denied address: %d, want 403 before the 101", r.status)
	}
}

func refusedByRules(w *world) []refusedAnswer {
	w.plane.put(w.open())
	w.plane.deny("r", &catalogv1.DenyRule{ClientAddress: "127.0.0.1"})
	w.start()
	return []refusedAnswer{w.refuses(headOf("/x/open", ""))}
}
