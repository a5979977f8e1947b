package gateway

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/kit/ref"
)

// refusedAnswer is what a client is shown.
type refusedAnswer struct {
	Status    int
	Code, Ref string
}

// refuses sends a head, reads the refusal, and returns what the client is shown.
func (w *world) refuses(head string) refusedAnswer {
	w.t.Helper()
	return w.read(w.sends(head))
}

// headOf is the head of a handshake with a version.
func headOf(path, more string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: api.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nUser-Agent: contract\r\n" + more + "\r\n"
}

// sends connects and sends a head.
func (w *world) sends(head string) net.Conn {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.plain, "ws://"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, head); err != nil {
		w.t.Fatal(err)
	}
	return conn
}

// read reads a refusal.
func (w *world) read(conn net.Conn) (a refusedAnswer) {
	w.t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		w.t.Fatalf("read the answer: %v", err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil || a.Status != resp.StatusCode || a.Ref == "" {
		w.t.Errorf("the answer is %d %+v, %v, want a refusal with a ref", resp.StatusCode, a, err)
	}
	return a
}

// backendAt is a backend that does something with each connection, and tells of it.
func backendAt(t *testing.T, do func(net.Conn)) (url string, connected <-chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan struct{}, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			came <- struct{}{}
			go func() { defer conn.Close(); do(conn) }()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	return "ws://" + l.Addr().String(), came
}

func silentBackend(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

func saying(answer string) func(net.Conn) {
	return func(conn net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
			_, _ = io.WriteString(conn, answer)
		}
	}
}

// leads puts a version that asks for no credential and leads to a backend.
func (w *world) leads(version, url string, edit ...func(*backplanev1.Route)) {
	r := w.open()
	r.Name, r.Version, r.Endpoints = "apis/x/versions/"+version, version, &catalogv1.Endpoints{Production: endpoint(url)}
	for _, f := range edit {
		f(r)
	}
	w.plane.put(r)
}

// TestEveryRefusalIsExplained provokes the refusals of every code, and wants a record of
// each ref that a client was shown, with the answer's status and code.
func TestEveryRefusalIsExplained(t *testing.T) {
	seen := map[string]bool{}
	for name, world := range map[string]func(w *world) []refusedAnswer{
		"heads": refusedHeads, "routes": refusedRoutes, "credentials": refusedCredentials, "backends": refusedByBackends,
		"silent backend": refusedForSilentBackend, "too slow": refusedAsTooSlow,
		"not ready": refusedBeforeRoutes, "draining": refusedWhileDraining, "address": refusedAddress, "busy": refusedAsBusy,
		"full": refusedAsFull, "busy backend": refusedForBusyBackend,
		"limits": refusedByLimits, "rate of an address": refusedForRateOfAddress, "unknown plan": refusedForUnknownPlan, "rules": refusedByRules,
		"elsewhere": refusedElsewhere, "requests": refusedRequests, "for the backend": refusedForTheBackend,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			answers := world(w)
			for _, a := range answers {
				seen[a.Code] = true
				w.explained(a)
			}
		})
	}
	// The tests of packages handshake and beside want the same of these, and who buys tickets has no record.
	for _, c := range []problem.Code{problem.OutOfDescriptors, problem.OperatorClose, problem.Unavailable, problem.RequestsFull, problem.TicketsFull} {
		seen[c.String()] = true
	}
	for c := problem.Code(1); int(c) < problem.Codes; c++ {
		if !seen[c.String()] {
			t.Errorf("no refusal with %s was provoked", c)
		}
	}
}

// explained wants a record that explains an answer, and returns it.
func (w *world) explained(a refusedAnswer) *usagev1.SessionRecord {
	w.t.Helper()
	r := w.record(" ref=" + a.Ref)
	if _, ok := ref.Hour(a.Ref); !ok || r.GetCode() != a.Code || int(r.GetStatus()) != a.Status || r.GetDetail() == "" || r.GetEndTime() == nil || r.GetStartTime() != nil ||
		r.GetEndReason() != usagev1.EndReason_END_REASON_REFUSED && r.GetEndReason() != usagev1.EndReason_END_REASON_BACKEND_REFUSED {
		w.t.Errorf("the record of %+v is %v", a, r)
	}
	return r
}

func refusedHeads(w *world) []refusedAnswer {
	w.start()
	return []refusedAnswer{
		w.refuses("nonsense\r\n\r\n"),
		w.refuses(strings.Replace(headOf("/x/open", ""), "dGhlIHNhbXBsZSBub25jZQ==", "short", 1)),
		w.refuses(strings.Replace(headOf("/x/open", ""), "GET", "POST", 1)),
		w.refuses(strings.Replace(headOf("/x/open", ""), "Upgrade: websocket", "Upgrade: h2c", 1)),
		w.refuses(headOf("/x/"+strings.Repeat("a", 9000), "")),
		w.refuses(headOf("/x/open", "A: "+strings.Repeat("a", 40000)+"\r\n")),
	}
}

func refusedRoutes(w *world) []refusedAnswer {
	w.plane.put(w.open())
	w.leads("hidden", "ws://127.0.0.1:1", func(r *backplanev1.Route) { r.State = catalogv1.Version_STATE_CREATED })
	w.leads("needs", "ws://127.0.0.1:1", func(r *backplanev1.Route) { r.Requires = []string{"unknown"} })
	w.leads("origin", "ws://127.0.0.1:1", func(r *backplanev1.Route) { r.AllowedOrigins = []string{"https://app.example"} })
	w.start()
	hidden, none, other := w.refuses(headOf("/x/hidden?access_token=SECRET", "")), w.refuses(headOf("/x/9", "")), w.refuses(headOf("/y/1", ""))
	origin := w.refuses(headOf("/x/origin", "Origin: https://evil.example\r\n"))
	for a, want := range map[refusedAnswer]*usagev1.SessionRecord{
		hidden: {Version: "apis/x/versions/hidden", Path: "/x/hidden", Detail: "no such API or version: the version is not published"},
		none:   {Api: "apis/x", Path: "/x/9", Detail: "no such API or version: the API has no version with this version string, and no default version that takes the path"},
		other:  {Path: "/y/1", Detail: "no such API or version: no API has a context that the path begins with"},
		origin: {Version: "apis/x/versions/origin", Path: "/x/origin", Detail: "the API does not take connections from this origin: https://evil.example"},
	} {
		r := w.explained(a)
		if r.GetVersion() != want.GetVersion() || r.GetApi() != want.GetApi() || r.GetPath() != want.GetPath() || r.GetDetail() != want.GetDetail() ||
			r.GetHost() != "api.example" || r.GetUserAgent() != "contract" || !strings.HasPrefix(r.GetClientAddress(), "127.0.0.1:") {
			w.t.Errorf("the record is %v, want %v", r, want)
		}
	}
	return []refusedAnswer{
		hidden, none, other, origin, w.refuses(headOf("/x//open", "")), w.refuses(headOf("/x/needs", "")),
		w.refuses(headOf("/x/open", "Via: 1.1 tidegate-test\r\n")),
	}
}

// refusedElsewhere shows an API key from where it is not good.
func refusedElsewhere(w *world) []refusedAnswer {
	w.judge(func(req *backplanev1.VerifyCredentialRequest, resp *backplanev1.VerifyCredentialResponse) {
		g := resp.GetGrant()
		g.ApiKey = g.GetApplication() + "/apiKeys/k"
		if req.GetCredential() == "far" {
			g.PermittedAddresses = []string{"192.0.2.1"}
		} else {
			g.PermittedReferers = []string{"shop.example.com"}
		}
	})
	w.plane.put(w.route("1"))
	w.start()
	w.plane.issue("far", "subscriptions/1", time.Hour)
	w.plane.issue("other", "subscriptions/1", time.Hour)
	return []refusedAnswer{
		w.refuses(headOf("/x/1", "Authorization: Bearer far\r\n")),
		w.refuses(headOf("/x/1", "Authorization: Bearer other\r\nReferer: https://other.example.com/\r\n")),
	}
}

func refusedCredentials(w *world) []refusedAnswer {
	denials := map[string]backplanev1.Denial_Reason{
		"stranger": backplanev1.Denial_REASON_NO_SUBSCRIPTION, "suspended": backplanev1.Denial_REASON_SUSPENDED,
		"old": backplanev1.Denial_REASON_EXPIRED, "gone": backplanev1.Denial_REASON_REVOKED,
	}
	w.judge(func(req *backplanev1.VerifyCredentialRequest, resp *backplanev1.VerifyCredentialResponse) {
		if reason, ok := denials[req.GetCredential()]; ok {
			resp.Verdict = &backplanev1.VerifyCredentialResponse_Denial{Denial: &backplanev1.Denial{Reason: reason, Application: "applications/" + req.GetCredential()}}
		}
	})
	w.plane.put(w.route("1"))
	sandbox := w.route("sandbox")
	sandbox.Endpoints = &catalogv1.Endpoints{Sandbox: sandbox.GetEndpoints().GetProduction()}
	w.plane.put(sandbox)
	w.start()
	w.plane.issue("good", "subscriptions/1", time.Hour)
	with := func(version, token string) refusedAnswer {
		return w.refuses(headOf("/x/"+version, "Authorization: Bearer "+token+"\r\n"))
	}
	all := []refusedAnswer{w.refuses(headOf("/x/1", "")), with("1", "unknown"), with("1", "a b")}
	for token := range denials { // asked for once, and again from the cache
		for range 2 {
			a := with("1", token)
			if r := w.explained(a); r.GetApplication() != "applications/"+token {
				w.t.Errorf("the record of %s is %v, want whose it is", token, r)
			}
			all = append(all, a)
		}
	}
	for token, why := range map[string]string{
		"old": "it has expired", "gone": "it was revoked, its OAuth client deleted, its sign-in ended, or the version given to another owner", "unknown": "it is malformed, not known, or for another address",
	} {
		a := with("1", token)
		if r := w.explained(a); r.GetVersion() != "apis/x/versions/1" || r.GetDetail() != "the credential is not valid: "+why {
			w.t.Errorf("the record of %s is %v, want %q", token, r, why)
		}
		all = append(all, a)
	}
	stage := with("sandbox", "good")
	if r := w.explained(stage); r.GetApplication() != "applications/a" || r.GetSubscription() != "subscriptions/1" || r.GetGrant() != "grants/good" {
		w.t.Errorf("the record of a good credential is %v, want whose it is", r)
	}
	w.plane.away()
	all = append(all, stage, with("1", "new"))
	w.plane.back()
	return all
}

func refusedByBackends(w *world) []refusedAnswer {
	urls := map[string]string{"away": "ws://127.0.0.1:1", "metadata": "ws://169.254.169.254"}
	for version, do := range map[string]func(net.Conn){
		"refusing": saying("HTTP/1.1 401 X\r\n\r\n"), "failing": saying("HTTP/1.1 500 X\r\n\r\n"), "incorrect": saying("hello\r\n\r\n"),
		"broken": func(net.Conn) {},
	} {
		urls[version], _ = backendAt(w.t, do)
	}
	for version, url := range urls {
		w.leads(version, url)
	}
	w.start()
	var all []refusedAnswer
	for version := range urls {
		all = append(all, w.refuses(headOf("/x/"+version, "")))
	}
	return all
}

// refusedForSilentBackend has a gateway of its own: its other backends may be slower.
func refusedForSilentBackend(w *world) []refusedAnswer {
	w.cfg.Upstream.Timeout = 100 * time.Millisecond
	url, _ := backendAt(w.t, silentBackend)
	w.leads("silent", "wss"+strings.TrimPrefix(url, "ws"))
	w.start()
	return []refusedAnswer{w.refuses(headOf("/x/silent", ""))}
}

func refusedAsTooSlow(w *world) []refusedAnswer {
	w.cfg.Listen.Timeout = time.Second
	url, _ := backendAt(w.t, silentBackend)
	w.leads("silent", url)
	w.start()
	return []refusedAnswer{w.refuses(headOf("/x/silent", ""))}
}

func refusedBeforeRoutes(w *world) []refusedAnswer {
	w.plane.away()
	w.start()
	a := w.refuses(headOf("/x/1", ""))
	w.plane.back()
	return []refusedAnswer{a}
}

func refusedWhileDraining(w *world) []refusedAnswer {
	url, connected := backendAt(w.t, silentBackend)
	w.leads("silent", url)
	w.start()
	conn := w.sends(headOf("/x/silent", ""))
	<-connected
	w.stop()
	a := w.read(conn)
	if err := w.shut(); err != nil {
		w.t.Errorf("Run = %v", err)
	}
	return []refusedAnswer{a}
}

func refusedAddress(w *world) []refusedAnswer {
	w.plane.put(w.open())
	w.cfg.MaxSessionsPerAddress, w.cfg.Listen.MaxPerAddress = 1, 1
	w.start()
	// What came before, the check of readiness too, may hold the one place for a moment.
	eventually(w.t, "the address has a session", func() bool { c, _ := w.dial("open", ""); return c != nil })
	var full, busy refusedAnswer
	eventually(w.t, "the address has its sessions", func() bool { full = w.refuses(headOf("/x/open", "")); return full.Code == "ADDRESS_FULL" })
	silent := w.sends("GET")
	eventually(w.t, "the address has its share", func() bool { busy = w.refuses(headOf("/none", "")); return busy.Code == "ADDRESS_BUSY" })
	_ = silent.Close()
	return []refusedAnswer{full, busy}
}

func refusedAsBusy(w *world) []refusedAnswer {
	w.plane.put(w.open())
	w.cfg.Listen.MaxHandshakes = 2
	w.start()
	silent := w.sends("GET")
	a := w.refuses(headOf("/x/open", ""))
	_ = silent.Close()
	return []refusedAnswer{a}
}

func refusedAsFull(w *world) []refusedAnswer {
	w.plane.put(w.open())
	w.cfg.MaxSessions = 1
	w.start()
	w.connect("open", "")
	return []refusedAnswer{w.refuses(headOf("/x/open", ""))}
}

func refusedForBusyBackend(w *world) []refusedAnswer {
	w.cfg.MaxHandshakesPerVersion = 1
	url, connected := backendAt(w.t, silentBackend)
	w.leads("silent", url)
	w.leads("same", url)
	w.start()
	waiting := w.sends(headOf("/x/silent", ""))
	<-connected
	all := []refusedAnswer{w.refuses(headOf("/x/silent", "")), w.refuses(headOf("/x/same", ""))}
	_ = waiting.Close()
	return all
}

// limitOfAnswer is the limit that an answer names.
type limitOfAnswer struct {
	Name, Place                       string
	Limit, Window, Burst, Used, Reset int64
}

// refusedByLimits has each kind of limit, at each place, refuse a handshake, and looks at
// what the client is told and what the record says.
func refusedByLimits(w *world) (all []refusedAnswer) {
	sessions := &catalogv1.Limit{Name: "sessions-per-day", Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{
		Unit: catalogv1.Unit_UNIT_SESSIONS, Amount: 2, Window: catalogv1.Quota_WINDOW_DAY,
	}}}
	kinds := []struct {
		code, policy, rate string
		limit              *catalogv1.Limit
		want               limitOfAnswer
	}{
		{"CONNECTIONS_FULL", `"connections";q=2;qu="concurrent-requests"`, `"connections";r=0`, connections(2), limitOfAnswer{Name: "connections", Limit: 2, Used: 2}},
		{"HANDSHAKE_RATE", `"handshakes-rate";q=1;w=3600`, `"handshakes-rate";r=0;t=`, perHour("handshakes-rate", catalogv1.Unit_UNIT_HANDSHAKES, 2, 0, 0),
			limitOfAnswer{Name: "handshakes-rate", Limit: 1, Window: 3600, Burst: 2, Used: 2}},
		{"SESSION_QUOTA", `"sessions-per-day";q=2;w=86400`, `"sessions-per-day";r=0;t=`, sessions, limitOfAnswer{Name: "sessions-per-day", Limit: 2, Window: 86400, Used: 2}},
	}
	const subscription, application, version = catalogv1.PlanPlace_PLAN_PLACE_SUBSCRIPTION, catalogv1.PlanPlace_PLAN_PLACE_APPLICATION, catalogv1.PlanPlace_PLAN_PLACE_VERSION
	places := map[catalogv1.PlanPlace]string{subscription: "subscription", application: "application", version: ""}
	w.plane.putPlan("none")
	for _, kind := range kinds {
		w.plane.putPlan(kind.want.Name, kind.limit)
		w.plane.put(w.route(kind.want.Name))
		r := w.route("of-" + kind.want.Name)
		r.TrafficPlan = "plans/" + kind.want.Name
		w.plane.put(r)
	}
	w.start()
	for _, kind := range kinds {
		plan := "plans/" + kind.want.Name
		for place, word := range places {
			target, token := kind.want.Name, ""
			switch place {
			case subscription:
				token = w.plane.subscribe("s"+target, plan, "")
			case application:
				token = w.plane.subscribe("a"+target, "plans/none", plan)
			default:
				target, token = "of-"+target, w.plane.subscribe("v"+target, "plans/none", "")
			}
			for range 2 {
				echoes(w.t, w.connect(target, token), "hello")
			}
			resp := w.answered(headOf("/x/"+target, "Authorization: Bearer "+token+"\r\n"))
			var a struct {
				refusedAnswer
				Detail string
				Limit  *limitOfAnswer
			}
			if err := json.Unmarshal([]byte(resp.body), &a); err != nil || resp.status != http.StatusTooManyRequests || a.Status != http.StatusTooManyRequests || a.Code != kind.code {
				w.t.Errorf("%s of the %s: %d %s (%v), want 429 %s", kind.want.Name, place, resp.status, resp.body, err, kind.code)
				continue
			}
			retry, err := strconv.ParseInt(resp.header.Get("Retry-After"), 10, 64)
			if err != nil || retry < 1 {
				w.t.Errorf("%s of the %s: Retry-After = %q, want seconds", kind.want.Name, place, resp.header.Get("Retry-After"))
			}
			detail, want := fmt.Sprintf("the limit %q of the %s is reached", kind.want.Name, word), kind.want
			policy, rate := resp.header.Get("RateLimit-Policy"), resp.header.Get("RateLimit")
			if place == version {
				// Nothing says which limit it is, or how much it is.
				detail = "the API's own limit is reached"
				if a.Limit != nil || policy != "" || rate != "" || strings.Contains(resp.body, kind.want.Name) || strings.Contains(resp.body, "plans/") {
					w.t.Errorf("%s of the version: the client is told %v %s", kind.want.Name, resp.header, resp.body)
				}
			} else {
				if want.Place = word; strings.Contains(rate, "t=") { // a rate and a quota say when
					want.Reset = retry
				}
				if a.Limit == nil || *a.Limit != want || policy != kind.policy || !strings.HasPrefix(rate, kind.rate) || strings.Contains(rate, "t=") && !strings.HasSuffix(rate, fmt.Sprint("t=", retry)) {
					w.t.Errorf("%s of the %s: the client is told %+v, %s and %s, Retry-After %d, want %+v, %s and %s", kind.want.Name, place, a.Limit, policy, rate, retry, want, kind.policy, kind.rate)
				}
			}
			r := w.explained(a.refusedAnswer)
			did := []*usagev1.LimitUsage{{Place: place, Plan: plan, Limit: kind.want.Name, RefusedHandshakes: 1}}
			full := "a limit of the " + word + " is reached" // for all who read the record
			if place == version {
				full = detail
			}
			if by := r.GetDecidingLimit(); by.GetPlace() != place || by.GetPlan() != plan || by.GetLimit() != kind.want.Name || !strings.HasPrefix(by.GetDetail(), "2 of ") {
				w.t.Errorf("%s of the %s: the record says that it was %v", kind.want.Name, place, by)
			}
			if a.Detail != detail || r.GetDetail() != full || r.GetApplication() != "applications/"+token || r.GetVersion() != "apis/x/versions/"+target {
				w.t.Errorf("%s of the %s: the client is told %q, and the record is %v, want %q and %q", kind.want.Name, place, a.Detail, r, detail, full)
			}
			if diff := cmp.Diff(did, r.GetLimits(), protocmp.Transform()); diff != "" {
				w.t.Errorf("%s of the %s: limits in the record differ (- want, + got):\n%s", kind.want.Name, place, diff)
			}
			all = append(all, a.refusedAnswer)
		}
	}
	return all
}

// answered sends a head and returns the answer.
func (w *world) answered(head string) reply {
	w.t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(w.sends(head)), nil)
	if err != nil {
		w.t.Fatalf("read the answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("read the answer: %v", err)
	}
	return reply{status: resp.StatusCode, header: resp.Header, body: string(body), ends: resp.Close}
}

// refusedForRateOfAddress: before anything is looked at, a route or a credential.
func refusedForRateOfAddress(w *world) []refusedAnswer {
	w.cfg.Listen.MaxRate = 1
	w.plane.put(w.route("1"))
	w.start()
	var a refusedAnswer
	for range 100 {
		if a = w.refuses(headOf("/none", "")); a.Code != "NOT_FOUND" {
			break
		}
	}
	resp := w.answered(headOf("/x/1", ""))
	if retry := resp.header.Get("Retry-After"); a.Status != http.StatusTooManyRequests || resp.status != http.StatusTooManyRequests || retry == "" {
		w.t.Errorf("after a flood: %+v, then %d, Retry-After %q, want 429 and a second", a, resp.status, retry)
	}
	return []refusedAnswer{a}
}

func refusedForUnknownPlan(w *world) []refusedAnswer {
	w.plane.put(w.route("1"))
	w.start()
	return []refusedAnswer{w.refuses(headOf("/x/1", "Authorization: Bearer "+w.plane.subscribe("t", "plans/nobody-knows", "")+"\r\n"))}
}

// TestAFloodOfRefusalsIsCounted: of a flood some are kept, and with those that are counted
// they are as many as there were. Another code, another API and sessions are not lost in it.
func TestAFloodOfRefusalsIsCounted(t *testing.T) {
	const flood = 40
	w := newWorld(t)
	w.cfg.Metering.MaxRefusals = 3
	w.plane.put(w.open())
	w.plane.put(w.route("1"))
	w.start()
	for range flood {
		w.refuses(headOf("/x/1", ""))
		w.refuses(headOf("/nothing", ""))
	}
	w.explained(w.refuses(headOf("/x/none", "")))
	c := w.connect("open", "")
	_ = c.CloseNow()
	if err := w.shut(); err != nil {
		t.Errorf("Run = %v", err)
	}
	kept := map[string]int{}
	for _, r := range w.plane.records {
		kept[fmt.Sprint(r.GetCode(), r.GetVersion(), r.GetApi())]++
	}
	left := map[string]uint64{}
	for _, l := range w.plane.leftOut {
		left[l.GetCode()+l.GetVersion()] += l.GetCount()
	}
	for _, of := range []string{"CREDENTIAL_MISSINGapis/x/versions/1", "NOT_FOUND"} {
		if n := kept[of]; n < 3 || n > 6 || n+int(left[of]) != flood { // 6 if an hour began meanwhile
			t.Errorf("%s: %d are kept and %d counted, want 3 and %d", of, n, left[of], flood-3)
		}
	}
	if kept["NOT_FOUNDapis/x"] != 1 || len(left) != 2 || kept["apis/x/versions/open"] != 1 {
		t.Errorf("kept are %v and left out %v, want all but the floods to be kept", kept, left)
	}
}
