package gateway

import (
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// TestCredentials tries good and bad credentials in both places, over ws and wss.
func TestCredentials(t *testing.T) {
	w := newWorld(t)
	secure := w.withTLS()
	w.plane.put(w.route("1"))
	w.start()
	jwt := w.plane.issue("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "subscriptions/1", time.Hour)
	opaque := w.plane.issue("opaque-~+/token==", "subscriptions/1", time.Hour)
	const zero = "00000000-0000-0000-0000-000000000000"
	for _, base := range []string{w.plain + "/x/1", secure + "/x/1"} {
		for _, good := range []string{jwt, opaque} {
			w.answers(base, bearer(good), 101)
			w.answers(base+"?access_token="+strings.ReplaceAll(good, "+", "%2B"), nil, 101)
		}
		for _, bad := range []string{zero, "nonsense", jwt[:len(jwt)-1], jwt + "x"} {
			w.answers(base, bearer(bad), 401)
			w.answers(base+"?access_token="+bad, nil, 401)
		}
		w.answers(base, nil, 401)
		w.answers(base+"?access_token="+jwt, bearer(zero), 401) // the first place decides
	}
}

// TestRefusalIsAProblem reads a refusal whole: it closes the connection and says
// nothing of what was wrong with the credential.
func TestRefusalIsAProblem(t *testing.T) {
	w := started(t)
	var bodies []string
	for _, name := range []string{"unknown", "expired", "revoked"} {
		w.plane.issue("expired", "subscriptions/1", -time.Hour)
		w.plane.issue("revoked", "subscriptions/1", time.Hour)
		w.plane.end(backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED, func(n string, _ *token) bool { return n == "revoked" })
		_, resp := w.ask(w.plain+"/x/1", bearer(name))
		text, ref, _ := strings.Cut(resp.body, `"ref":`)
		if resp.status != 401 || resp.header.Get("Content-Type") != "application/problem+json" || !resp.ends ||
			resp.header.Get("WWW-Authenticate") != `Bearer realm="tidegate", error="invalid_token"` || len(ref) < 10 {
			t.Errorf("%s: %d %v %s", name, resp.status, resp.header, resp.body)
		}
		bodies = append(bodies, text)
	}
	if len(slices.Compact(bodies)) != 1 {
		t.Errorf("the refusals differ: %q", bodies)
	}
}

// TestOriginAtTheGateway has pages of an allowed origin and of others connect,
// and clients that are no pages.
func TestOriginAtTheGateway(t *testing.T) {
	w := newWorld(t)
	r := w.open()
	r.AllowedOrigins = []string{"https://app.example"}
	w.plane.put(r)
	w.start()
	for origin, want := range map[string]int{"https://app.example": 101, "": 101, "https://evil.example": 403, "null": 403} {
		h := http.Header{}
		if origin != "" {
			h.Set("Origin", origin)
		}
		w.answers(w.plain+"/x/open", h, want)
	}
}

// TestQueryAtTheBackend compares what backends are asked for with what clients
// asked for.
func TestQueryAtTheBackend(t *testing.T) {
	w := newWorld(t)
	asked := make(chan *http.Request, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked <- r
		c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err == nil {
			_ = c.CloseNow()
		}
	}))
	t.Cleanup(backend.Close)
	r := w.route("1")
	r.Endpoints.Production = endpoint("ws" + strings.TrimPrefix(backend.URL, "http") + "/base")
	w.plane.put(r)
	w.start()
	w.plane.issue("t1", "subscriptions/1", time.Hour)
	for query, want := range map[string]string{
		"?access_token=t1&a=1&b=2":                         "?a=1&b=2",
		"?a=1&access_token=t1&b=2":                         "?a=1&b=2",
		"?a=1&b=2&access_token=t1":                         "?a=1&b=2",
		"?access_token=t1":                                 "",
		"?q=%2B%20%2F%3D&access_token=t1&r=%2b+":           "?q=%2B%20%2F%3D&r=%2b+",
		"?z&b=2&a=1&access_token=t1&b=1&a=&z&b=2":          "?z&b=2&a=1&b=1&a=&z&b=2",
		"?access_token2=t1&access_token=t1&xaccess_token=": "?access_token2=t1&xaccess_token=",
	} {
		_, resp := w.ask(w.plain+"/x/1"+query, nil)
		if resp.status != 101 {
			t.Errorf("%s: %d, want 101", query, resp.status)
			continue
		}
		if got := <-asked; got.RequestURI != "/base"+want || got.Header.Get("Authorization") != "" {
			t.Errorf("%s: the backend was asked for %s, want /base%s", query, got.RequestURI, want)
		}
	}
	if _, resp := w.ask(w.plain+"/x/1?access_token2=t1", nil); resp.status != 401 {
		t.Errorf("access_token2: %d, want 401", resp.status)
	}
	_, resp := w.ask(w.plain+"/x/1/rooms/%41?v", bearer("t1"))
	if got := <-asked; resp.status != 101 || got.RequestURI != "/base/rooms/%41?v" || got.Header.Get("Authorization") != "" {
		t.Errorf("%d, and the backend was asked for %s with %v", resp.status, got.RequestURI, got.Header)
	}
}

// TestSandboxOnly: an API with a sandbox alone takes the sandbox's token and
// refuses the one for production.
func TestSandboxOnly(t *testing.T) {
	w := newWorld(t)
	w.judge(func(req *backplanev1.VerifyCredentialRequest, resp *backplanev1.VerifyCredentialResponse) {
		if g := resp.GetGrant(); g != nil && req.GetCredential() == "sandbox" {
			g.Stage = catalogv1.Stage_STAGE_SANDBOX
		}
	})
	r := w.route("1")
	r.Endpoints = &catalogv1.Endpoints{Sandbox: r.GetEndpoints().GetProduction()}
	w.plane.put(r)
	w.start()
	for _, name := range []string{"sandbox", "production"} {
		w.plane.issue(name, "subscriptions/1", time.Hour)
	}
	w.answers(w.plain+"/x/1", bearer("sandbox"), 101)
	w.answers(w.plain+"/x/1", bearer("production"), 403)
}

// TestLifecycle: a version that is not published is not there, and the address
// without a version is that of the default version once it is published.
func TestLifecycle(t *testing.T) {
	w := started(t)
	next := w.open()
	next.Name, next.Version, next.Default, next.State = "apis/x/versions/2", "2", true, catalogv1.Version_STATE_CREATED
	w.plane.put(next)
	w.settled()
	w.answers(w.plain+"/x/2", nil, 404)
	w.answers(w.plain+"/x", nil, 404)
	next.State = catalogv1.Version_STATE_PUBLISHED
	w.plane.put(next)
	w.settled()
	w.answers(w.plain+"/x/2", nil, 101)
	w.answers(w.plain+"/x", nil, 101)
	next.Default = false
	w.plane.put(next)
	first := w.open()
	first.Default = true
	w.plane.put(first)
	w.settled()
	w.answers(w.plain+"/x", nil, 101)
	next.State = catalogv1.Version_STATE_CREATED
	w.plane.put(next)
	w.settled()
	w.answers(w.plain+"/x/2", nil, 404)
	w.answers(w.plain+"/x", nil, 101)
}

// TestOldTokenOnANewVersion: a token is good for a new version once its
// application has subscribed to it, and a denial before that is forgotten.
func TestOldTokenOnANewVersion(t *testing.T) {
	w := newWorld(t)
	subscribed := make(chan struct{})
	w.judge(func(req *backplanev1.VerifyCredentialRequest, resp *backplanev1.VerifyCredentialResponse) {
		select {
		case <-subscribed:
			return
		default:
		}
		if req.GetVersion() == "apis/x/versions/2" {
			resp.Verdict = &backplanev1.VerifyCredentialResponse_Denial{Denial: &backplanev1.Denial{
				Reason: backplanev1.Denial_REASON_NO_SUBSCRIPTION, RestsOn: []string{"grants/t1", pairOfTwo},
			}}
		}
	})
	w.cfg.Grants.DenialTTL = time.Hour // only the event makes it forgotten
	w.plane.put(w.route("1"))
	w.plane.put(w.route("2"))
	w.start()
	w.plane.issue("t1", "subscriptions/1", time.Hour)
	w.answers(w.plain+"/x/1", bearer("t1"), 101)
	w.answers(w.plain+"/x/2", bearer("t1"), 403)
	close(subscribed)
	w.plane.touch(backplanev1.GrantEvent_CAUSE_UNSPECIFIED, pairOfTwo)
	w.settled()
	w.answers(w.plain+"/x/2", bearer("t1"), 101)
	w.answers(w.plain+"/x/1", bearer("t1"), 101)
}

// pairOfTwo is what a subscription to the version 2 touches.
const pairOfTwo = "applications/a@apis/x/versions/2"

// TestSubprotocols: what the backend chooses is the client's answer, none
// included.
func TestSubprotocols(t *testing.T) {
	w := newWorld(t)
	choosing := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{Subprotocols: []string{"two"}})
		if err == nil {
			_ = c.Close(websocket.StatusNormalClosure, "")
		}
	}))
	t.Cleanup(choosing.Close)
	r := w.open()
	r.Name, r.Version = "apis/x/versions/choosing", "choosing"
	r.Endpoints = &catalogv1.Endpoints{Production: endpoint("ws" + strings.TrimPrefix(choosing.URL, "http"))}
	w.plane.put(r)
	w.plane.put(w.open())
	w.start()
	for _, tt := range []struct {
		version, want string
		offered       []string
	}{{"choosing", "two", []string{"one", "two"}}, {"choosing", "", []string{"one"}}, {"choosing", "", nil}, {"open", "", []string{"one", "two"}}} {
		c, resp := w.ask(w.plain+"/x/"+tt.version, nil, tt.offered...)
		if c == nil || c.Subprotocol() != tt.want || len(resp.header["Sec-Websocket-Protocol"]) > 1 {
			t.Errorf("%s, offered %q: %d %v, want 101 with %q", tt.version, tt.offered, resp.status, resp.header, tt.want)
		}
	}
}

// TestBackendRefusesBeforeTheAnswer: a backend's refusal reaches the client as its
// own or as a 502, and no 101 comes before it.
func TestBackendRefusesBeforeTheAnswer(t *testing.T) {
	w := newWorld(t)
	refusing := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("WWW-Authenticate", "Basic")
		rw.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(refusing.Close)
	for version, url := range map[string]string{"refusing": refusing.URL, "away": "http://127.0.0.1:1", "metadata": "http://169.254.169.254"} {
		r := w.open()
		r.Name, r.Version = "apis/x/versions/"+version, version
		r.Endpoints = &catalogv1.Endpoints{Production: endpoint("ws" + strings.TrimPrefix(url, "http"))}
		w.plane.put(r)
	}
	w.start()
	for version, want := range map[string]string{
		"refusing": "the backend answered 401 Unauthorized", "away": "the backend cannot be reached", "metadata": "the backend's address is not allowed here",
	} {
		_, resp := w.ask(w.plain+"/x/"+version, nil)
		status, challenge := 502, ""
		if version == "refusing" {
			status, challenge = 401, "Basic"
		}
		if resp.status != status || !strings.Contains(resp.body, want) || resp.header.Get("WWW-Authenticate") != challenge {
			t.Errorf("%s: %d %v %s, want %d and %q", version, resp.status, resp.header, resp.body, status, want)
		}
	}
}

// TestEditsTouchNoOthers: whatever happens to one API, the sessions of another
// stay the same ones, and what is applied again touches nothing at all.
// TestGatewayDialsNoListenerOfItsOwn has backends at every port that the gateway listens
// on, though backends may be on loopback.
func TestGatewayDialsNoListenerOfItsOwn(t *testing.T) {
	w := newWorld(t)
	ports := map[string]net.Addr{}
	listen := func(name string) net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports[name] = l.Addr()
		return l
	}
	w.cfg.GRPC.Listener, w.cfg.Ops.Listener, w.cfg.Ops.PprofListener = listen("grpc"), listen("ops"), listen("pprof")
	w.cfg.Listen.TLSListener = listen("wss")
	w.plane.put(w.open())
	w.start()
	ports["ws"] = addressOf(t, w.plain)
	for name, port := range ports {
		r := w.open()
		r.Name, r.Version = "apis/x/versions/"+name, name
		r.Endpoints.Production = endpoint("ws://" + port.String())
		w.plane.put(r)
		url := w.plain + "/x/" + name
		eventually(t, "the version is known", func() bool { _, r := w.ask(url, nil); return r.status != http.StatusNotFound })
		if _, r := w.ask(url, nil); r.status != http.StatusBadGateway || !strings.Contains(r.body, "the backend's address is not allowed here") {
			t.Errorf("a backend at -%s: %d %s, want that its address is not allowed", name, r.status, r.body)
		}
	}
}

// addressOf returns the address in a URL.
func addressOf(t *testing.T, url string) net.Addr {
	t.Helper()
	_, at, _ := strings.Cut(url, "://")
	addr, err := net.ResolveTCPAddr("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func TestEditsTouchNoOthers(t *testing.T) {
	w := started(t)
	other := w.open()
	other.Name, other.Api, other.Context = "apis/y/versions/1", "apis/y", "/y"
	w.plane.put(other)
	w.settled()
	mine, _ := w.ask(w.plain+"/x/open", nil)
	edited, _ := w.ask(w.plain+"/y/open", nil)
	before, beforeEdited := w.names("apis/x"), w.names("apis/y")

	for range 3 {
		w.plane.put(other) // again, as it is
	}
	w.plane.routes.restart() // and all of it again
	other.Endpoints = &catalogv1.Endpoints{Production: endpoint("ws://127.0.0.1:1/elsewhere")}
	other.AllowedOrigins = []string{"https://app.example"}
	w.plane.put(other)
	w.settled()
	echoes(t, edited, "an edit ends nothing")
	if got := w.names("apis/y"); !slices.Equal(got, beforeEdited) {
		t.Errorf("sessions of the API that was edited: %q, before %q", got, beforeEdited)
	}
	other.State = catalogv1.Version_STATE_CREATED
	w.plane.put(other)
	closes(t, edited, 4006, "BLOCKED")
	echoes(t, mine, "not concerned")
	if got := w.names("apis/x"); len(got) != 1 || !slices.Equal(got, before) {
		t.Errorf("sessions of the other API: %q, before %q", got, before)
	}
	if got := w.served.Load(); got != 2 {
		t.Errorf("the backend has served %d sessions, want 2", got)
	}
}

// TestPathsAsTheyCame: a slash at the end reaches the backend, and with
// default_version_paths what names no version does too.
func TestPathsAsTheyCame(t *testing.T) {
	w := newWorld(t)
	asked := make(chan string, 1)
	recording := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked <- r.RequestURI
		rw.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(recording.Close)
	r := w.open()
	r.Endpoints = &catalogv1.Endpoints{Production: endpoint("ws" + strings.TrimPrefix(recording.URL, "http") + "/base/")}
	r.Default, r.DefaultVersionPaths, r.VersionStrings = true, true, []string{"gone", "open"}
	w.plane.put(r)
	w.start()
	for path, want := range map[string]string{
		"/x/open": "/base/", "/x/open/": "/base/", "/x/open/a": "/base/a", "/x/open/a/": "/base/a/",
		"/x": "/base/", "/x/": "/base/", "/x/socket.io/?EIO=4": "/base/socket.io/?EIO=4", "/x/hub/open": "/base/hub/open",
	} {
		if _, resp := w.ask(w.plain+path, nil); resp.status != 502 {
			t.Errorf("%s: %d, want the backend's refusal as 502", path, resp.status)
			continue
		}
		if got := <-asked; got != want {
			t.Errorf("%s: the backend was asked for %s, want %s", path, got, want)
		}
	}
	for path, want := range map[string]int{"/x/gone": 404, "/x/gone/a": 404, "/x/open//a": 400, "/x//": 400} {
		if _, resp := w.ask(w.plain+path, nil); resp.status != want || len(asked) > 0 {
			t.Errorf("%s: %d, and the backend was asked: %t, want %d", path, resp.status, len(asked) > 0, want)
		}
	}
}
