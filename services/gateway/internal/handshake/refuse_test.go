package handshake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
)

func origins(t *testing.T, list ...string) routes.Origins {
	t.Helper()
	o, err := routes.ParseOrigins(list)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestRefusals sends every kind of request that is refused before the backend is
// dialled.
func TestRefusals(t *testing.T) {
	w := newWorld(t, nil)
	backend := newEcho(t, nil)
	w.serve(backend.url)
	version := func(v string, edit func(*routes.Route)) {
		w.serve(backend.url, func(r *routes.Route) {
			r.Name, r.Segment, r.Default = "apis/echo/versions/"+v, v, false
			edit(r)
		})
	}
	version("hidden", func(r *routes.Route) { r.Published = false })
	version("needs", func(r *routes.Route) { r.Requires = []string{"unknown", "other"} })
	version("cookie", func(r *routes.Route) {
		r.Schemes[0].Places, r.Origins = []credential.Place{credential.InHeader("Authorization", credential.Bearer), credential.InCookie("sid")}, origins(t, "https://ok.example")
	})
	version("protocol", func(r *routes.Route) { r.Schemes[0].Places = []credential.Place{credential.InSubprotocol()} })
	version("origin", func(r *routes.Route) { r.Origins = origins(t, "https://ok.example") })
	version("noscheme", func(r *routes.Route) { r.Schemes = nil })
	version("query", func(r *routes.Route) { r.Schemes[0].Places = credential.OAuth2Places()[1:] })
	version("testing", func(r *routes.Route) { r.Production, r.Sandbox = nil, r.Production })
	version("both", func(r *routes.Route) { r.Sandbox = r.Production })

	const missing = "the API needs a credential; it is looked for in the header Authorization: Bearer, then in the query parameter access_token"
	const challenge, invalidChallenge = `Bearer realm="tidegate"`, `Bearer realm="tidegate", error="invalid_token"`
	tests := []struct {
		name, target, more string
		status             int
		code, detail       string
		header, value      string
	}{
		{"dot segment", "/echo/../1.0.0", good, 400, "BAD_PATH", routes.ErrBadPath.Error(), "", ""},
		{"encoded dot segment", "/echo/1.0.0/%2e%2E", good, 400, "BAD_PATH", routes.ErrBadPath.Error(), "", ""},
		{"empty segment", "/echo//1.0.0", good, 400, "BAD_PATH", routes.ErrBadPath.Error(), "", ""},
		{"empty segments at the end", "/echo/1.0.0//", good, 400, "BAD_PATH", routes.ErrBadPath.Error(), "", ""},
		{"encoded slash", "/echo/1.0.0/a%2Fb", good, 400, "BAD_PATH", routes.ErrBadPath.Error(), "", ""},
		{"encoded backslash", "/echo/1.0.0/a%5cb", good, 400, "BAD_PATH", routes.ErrBadPath.Error(), "", ""},
		{"encoded NUL", "/echo/1.0.0/%00", good, 400, "BAD_PATH", routes.ErrBadPath.Error(), "", ""},

		{"no credential", "/echo/1.0.0", "", 401, "CREDENTIAL_MISSING", missing, "Www-Authenticate", challenge},
		{"empty parameter", "/echo/1.0.0?access_token=", "", 401, "CREDENTIAL_MISSING", missing, "Www-Authenticate", challenge},
		{"another scheme", "/echo/1.0.0", "Authorization: Basic Z29vZA==\r\n", 401, "CREDENTIAL_MISSING", missing, "Www-Authenticate", challenge},
		{"another parameter", "/echo/1.0.0?access_token2=good&apikey=good", "", 401, "CREDENTIAL_MISSING", missing, "Www-Authenticate", challenge},
		{"place that the API does not list", "/echo/query", good, 401, "CREDENTIAL_MISSING", "the API needs a credential; it is looked for in the query parameter access_token", "Www-Authenticate", challenge},
		{"unknown", "/echo/1.0.0", "Authorization: Bearer 00000000-0000-0000-0000-000000000000\r\n", 401, "CREDENTIAL_INVALID", "the credential is not valid", "Www-Authenticate", invalidChallenge},
		{"unknown in the query", "/echo/1.0.0?access_token=nonsense", "", 401, "CREDENTIAL_INVALID", "the credential is not valid", "Www-Authenticate", invalidChallenge},
		{"malformed", "/echo/1.0.0", "Authorization: Bearer a b\r\n", 401, "CREDENTIAL_INVALID", "the credential is not valid", "Www-Authenticate", invalidChallenge},
		{"empty", "/echo/1.0.0?access_token=good", "Authorization: Bearer\r\n", 401, "CREDENTIAL_INVALID", "the credential is not valid", "Www-Authenticate", invalidChallenge},
		{"no fallback", "/echo/1.0.0?access_token=good", "Authorization: Bearer bad\r\n", 401, "CREDENTIAL_INVALID", "the credential is not valid", "Www-Authenticate", invalidChallenge},
		{"repeated header", "/echo/1.0.0", good + good, 401, "CREDENTIAL_INVALID", "the credential is not valid", "Www-Authenticate", invalidChallenge},
		{"repeated parameter", "/echo/1.0.0?access_token=good&access_token=good", "", 401, "CREDENTIAL_INVALID", "the credential is not valid", "Www-Authenticate", invalidChallenge},
		{"expired", "/echo/1.0.0", "Authorization: Bearer expired\r\n", 401, "CREDENTIAL_INVALID", "the credential is not valid", "Www-Authenticate", invalidChallenge},
		{"API without a scheme", "/echo/noscheme", good, 401, "CREDENTIAL_MISSING", "the API needs a credential; it is looked for in ", "Www-Authenticate", challenge},

		{"blocked", "/echo/1.0.0", "Authorization: Bearer blocked\r\n", 403, "BLOCKED", "the application's subscription to this version of the API is blocked", "", ""},
		{"suspended", "/echo/1.0.0", "Authorization: Bearer suspended\r\n", 403, "BLOCKED", "the application's owner is suspended", "", ""},
		{"not subscribed", "/echo/1.0.0", "Authorization: Bearer unsubscribed\r\n", 403, "NOT_SUBSCRIBED", "the application is not subscribed to this version of the API", "", ""},
		{"no sandbox", "/echo/1.0.0", "Authorization: Bearer sandbox\r\n", 403, "NO_ENDPOINT", "the API has no endpoint of the stage sandbox", "", ""},
		{"no production", "/echo/testing", good, 403, "NO_ENDPOINT", "the API has no endpoint of the stage production", "", ""},
		{"stage that is not known", "/echo/both", "Authorization: Bearer untyped\r\n", 403, "NO_ENDPOINT", "the API has no endpoint of the stage unknown", "", ""},
		{"other origin", "/echo/origin", good + "Origin: https://bad.example\r\n", 403, "ORIGIN_REFUSED", "the API does not take connections from this origin", "", ""},
		{"null origin", "/echo/origin", good + "Origin: null\r\n", 403, "ORIGIN_REFUSED", "the API does not take connections from this origin", "", ""},
		{"two origins", "/echo/origin", good + "Origin: https://ok.example\r\nOrigin: https://ok.example\r\n", 403, "ORIGIN_REFUSED", "the API does not take connections from this origin", "", ""},
		{"a cookie without an origin", "/echo/cookie", "Cookie: sid=good\r\n", 403, "ORIGIN_REFUSED", "a credential in a cookie needs the header Origin", "", ""},
		{"a cookie from another page", "/echo/cookie", "Cookie: sid=good\r\nOrigin: https://bad.example\r\n", 403, "ORIGIN_REFUSED", "the API does not take connections from this origin", "", ""},
		{"no cookie", "/echo/cookie", "", 401, "CREDENTIAL_MISSING", "the API needs a credential; it is looked for in the header Authorization: Bearer, then in the cookie sid", "", ""},
		{"two cookies", "/echo/cookie", "Cookie: sid=good; sid=good\r\nOrigin: https://ok.example\r\n", 401, "CREDENTIAL_INVALID", "the credential is not valid", "", ""},
		{"Kubernetes' sub-protocol alone", "/echo/protocol", "Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.Z29vZA\r\n", 400, "BAD_REQUEST",
			"a sub-protocol base64url.bearer.authorization.k8s.io.TOKEN needs another sub-protocol beside it, which can be the answer", "", ""},
		{"no sub-protocol with a token", "/echo/protocol", "Sec-WebSocket-Protocol: bearer\r\n", 401, "CREDENTIAL_MISSING", "the API needs a credential; it is looked for in the sub-protocol after bearer", "", ""},
		{"the credential before the origin", "/echo/origin", "Origin: https://bad.example\r\n", 401, "CREDENTIAL_MISSING", missing, "", ""},

		{"no such API", "/none/1.0.0", good, 404, "NOT_FOUND", "no such API or version", "", ""},
		{"no such version", "/echo/9.9.9", good, 404, "NOT_FOUND", "no such API or version", "", ""},
		{"not published", "/echo/hidden", good, 404, "NOT_FOUND", "no such API or version", "", ""},
		{"the route before the credential", "/none/1.0.0", "", 404, "NOT_FOUND", "no such API or version", "", ""},
		{"root", "/", good, 404, "NOT_FOUND", "no such API or version", "", ""},

		{"POST", "", "", 405, "METHOD_NOT_ALLOWED", "the method must be GET", "Allow", "GET"},
		{"feature missing", "/echo/needs", "", 503, "FEATURE_MISSING", "this gateway cannot serve the API: it lacks the feature unknown", "Retry-After", "60"},
		{"control plane away", "/echo/1.0.0", "Authorization: Bearer away\r\n", 503, "CREDENTIAL_UNCHECKED", "the credential cannot be checked now", "Retry-After", "2"},
		{"too many look-ups", "/echo/1.0.0", "Authorization: Bearer busy\r\n", 503, "BUSY", "too many credentials are being checked", "Retry-After", "1"},
		{"anything else", "/echo/1.0.0", "Authorization: Bearer broken\r\n", 503, "UNAVAILABLE", "the gateway cannot serve the request now", "Retry-After", "1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conn := w.dial(strings.Contains(tt.name, "origin"))
			if tt.target == "" {
				w.send(conn, "POST /echo/1.0.0 HTTP/1.1\r\n"+upgradeLines+"\r\n")
			} else {
				w.send(conn, request(tt.target, tt.more))
			}
			a := w.receive(conn)
			if a.StatusCode != tt.status || a.Code != tt.code || a.Detail != tt.detail || tt.header != "" && a.Header.Get(tt.header) != tt.value {
				t.Errorf("%s with %q: %d %s %q %v, want %d %s %q %s: %s",
					tt.target, tt.more, a.StatusCode, a.Code, a.Detail, a.Header, tt.status, tt.code, tt.detail, tt.header, tt.value)
			}
		})
	}
	select {
	case r := <-backend.requests:
		if r.URL.Path != "/" || len(backend.requests) > 0 {
			t.Errorf("the backend was asked %v and more, want at most one request, for the credential that expires in time", r.URL)
		}
	default:
	}
}

// TestABackendsRefusalReachesTheClient: with its status where that is for the client,
// and with what that says about trying again and authenticating, but in a body of the
// gateway's.
func TestABackendsRefusalReachesTheClient(t *testing.T) {
	w := newWorld(t, nil)
	for _, status := range []int{401, 403, 404, 410, 429, 503} {
		w.serve(saying(t, fmt.Sprintf("HTTP/1.1 %d X\r\nRetry-After: 7\r\nWWW-Authenticate: Basic realm=\"a\"\r\nwww-authenticate: Bearer\r\n"+
			"Set-Cookie: a=b\r\nX-Other: x\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\nno!", status)))
		a := w.ask("/echo/1.0.0", good)
		if a.StatusCode != status || a.Code != "BACKEND_REFUSED" || !strings.HasPrefix(a.Detail, fmt.Sprintf("the backend answered %d ", status)) {
			t.Errorf("a backend's %d: %d %s %q, want the same and BACKEND_REFUSED", status, a.StatusCode, a.Code, a.Detail)
		}
		if got := a.Header; got.Get("Retry-After") != "7" || !slices.Equal(got.Values("WWW-Authenticate"), []string{`Basic realm="a"`, "Bearer"}) ||
			got.Get("Set-Cookie") != "" || got.Get("X-Other") != "" || got.Get("Content-Type") != "application/problem+json" {
			t.Errorf("a backend's %d: %v, want when to try again and how to authenticate, and no more", status, got)
		}
		if r := w.explained(a); r.Problem.Detail != a.Detail || r.Problem.Code.Reason() != ending.BackendRefused || r.Grant == nil {
			t.Errorf("a backend's %d: %+v is noted, want the same detail and the grant", status, r)
		}
	}
	if len(w.records) > 0 {
		t.Errorf("%d records of sessions, want none", len(w.records))
	}
}

func TestNotReady(t *testing.T) {
	w := newWorld(t, nil)
	if a := w.ask("/echo/1.0.0", good); a.StatusCode != 503 || a.Code != "NOT_READY" || a.Header.Get("Retry-After") != "1" {
		t.Errorf("before the first routes: %d %s, want 503 NOT_READY", a.StatusCode, a.Code)
	}
}

// TestBackendRefuses has backends fail in every way.
func TestBackendRefuses(t *testing.T) {
	w := newWorld(t, nil)
	mute := accepting(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
	tests := []struct {
		name, url    string
		status       int
		code, detail string
	}{
		{"400", saying(t, "HTTP/1.1 400 X\r\n\r\n"), 502, "BACKEND_REFUSED", "the backend answered 400 Bad Request"},
		{"302", saying(t, "HTTP/1.1 302 X\r\nLocation: /\r\n\r\n"), 502, "BACKEND_REFUSED", "the backend answered 302 Found"},
		{"500", saying(t, "HTTP/1.1 500 X\r\n\r\n"), 502, "BACKEND_REFUSED", "the backend answered 500 Internal Server Error"},
		{"200", saying(t, "HTTP/1.1 200 OK\r\n\r\n"), 502, "BACKEND_REFUSED", "the backend answered 200 OK"},
		{"wrong proof", saying(t, "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"), 502, "BACKEND_INCORRECT", "the backend's answer is not a correct 101: its Sec-WebSocket-Accept does not belong to the key"},
		{"no HTTP", saying(t, "hello\r\n\r\n"), 502, "BACKEND_INCORRECT", "the backend's answer is not a correct 101: it is malformed"},
		{"breaks off", accepting(t, func(net.Conn) {}), 502, "BACKEND_BROKEN", "the backend closed the connection within the handshake"},
		{"nobody there", "ws://127.0.0.1:1", 502, "BACKEND_UNREACHABLE", "the backend cannot be reached"},
		{"forbidden address", "ws://169.254.169.254", 502, "BACKEND_FORBIDDEN", "the backend's address is not allowed here"},
		{"silent in TLS", "wss" + strings.TrimPrefix(mute, "ws"), 504, "BACKEND_TIMEOUT", "the backend did not answer in time"},
	}
	patient, hasty := w.dialer, newDialer(t, 50*time.Millisecond)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.handler.Dialer = patient
			if tt.status == http.StatusGatewayTimeout {
				w.handler.Dialer = hasty
			}
			w.serve(tt.url)
			a := w.ask("/echo/1.0.0", good)
			if a.StatusCode != tt.status || a.Code != tt.code || a.Detail != tt.detail {
				t.Errorf("answer = %d %s %q, want %d %s %q", a.StatusCode, a.Code, a.Detail, tt.status, tt.code, tt.detail)
			}
			if a.Header.Get("WWW-Authenticate") != "" {
				t.Errorf("the backend's headers came with the refusal: %v", a.Header)
			}
			if g, n := w.sessions.Gauges(), w.handler.Dialer.Dials(); g.Registered != 0 || n != 0 {
				t.Errorf("sessions = %+v, dials = %d, want none", g, n)
			}
		})
	}
}

func TestSlowBackend(t *testing.T) {
	w := newWorld(t, func(c *listener.Config) { c.Timeout = time.Second })
	url, asked, left := silent(t)
	w.serve(url)
	a := w.ask("/echo/1.0.0", good)
	if a.StatusCode != 504 || a.Code != "HANDSHAKE_TIMEOUT" {
		t.Errorf("answer = %d %s, want 504 HANDSHAKE_TIMEOUT", a.StatusCode, a.Code)
	}
	comes(t, "the backend is asked", asked)
	comes(t, "the backend is left", left)
}

// TestEndedDuringDial ends the session while the backend has not answered yet.
func TestEndedDuringDial(t *testing.T) {
	for _, tt := range []struct {
		name   string
		end    func(w *world)
		status int
		code   string
	}{
		{"revoked", func(w *world) { w.sessions.EndAllOn(ending.New(ending.Revoked, ""), "grants/1") }, 401, "CREDENTIAL_INVALID"},
		{"expired", func(w *world) { w.sessions.EndAllOn(ending.New(ending.Expired, ""), "grants/1") }, 401, "CREDENTIAL_INVALID"},
		{"removed", func(w *world) { w.sessions.EndAllOn(ending.New(ending.Blocked, ""), "applications/1") }, 403, "BLOCKED"},
		{"by an operator", func(w *world) { w.sessions.EndAllOn(ending.New(ending.OperatorClose, ""), "apis/echo") }, 503, "OPERATOR_CLOSE"},
		{"demoted", func(w *world) {
			w.serve("ws://127.0.0.1:1", func(r *routes.Route) { r.Published = false })
			w.sessions.EndAllOn(ending.New(ending.Blocked, ""), "apis/echo/versions/1")
		}, 404, "NOT_FOUND"},
		{"drain", func(w *world) { go func() { _ = w.sessions.Drain(context.Background(), 0) }() }, 503, "DRAINING"},
		{"stop of the listener", func(w *world) { go w.stop() }, 503, "DRAINING"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			url, asked, left := silent(t)
			w.serve(url)
			conn := w.dial(true)
			w.send(conn, request("/echo/1.0.0", good))
			<-asked
			tt.end(w)
			if a := w.receive(conn); a.StatusCode != tt.status || a.Code != tt.code {
				t.Errorf("answer = %d %s, want %d %s", a.StatusCode, a.Code, tt.status, tt.code)
			}
			<-left
		})
	}
}

// TestChangedMeanwhile changes what the handshake rests on after that was looked up
// and before there is a session that could be ended.
func TestChangedMeanwhile(t *testing.T) {
	hide := func(w *world) {
		w.serve("ws://127.0.0.1:1", func(r *routes.Route) { r.Published = false })
	}
	for _, tt := range []struct {
		name    string
		verify  func(w *world)
		confirm func(s grant.Session) error
		status  int
		code    string
	}{
		{"demoted", hide, nil, 404, "NOT_FOUND"},
		{"deleted", func(w *world) {
			table, _ := w.routes.Load().With(routes.Changes{Remove: []string{"apis/echo/versions/1"}})
			w.routes.Swap(table)
		}, nil, 404, "NOT_FOUND"},
		{"revoked", nil, func(s grant.Session) error { s.End(ending.New(ending.Revoked, "")); return s.Err() }, 401, "CREDENTIAL_INVALID"},
		{"not to be confirmed", nil, func(grant.Session) error { return grant.ErrUnavailable }, 503, "CREDENTIAL_UNCHECKED"},
		{"anything else", nil, func(grant.Session) error { return errors.New("broken") }, 503, "UNAVAILABLE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			backend := newEcho(t, nil)
			w.serve(backend.url)
			if tt.verify != nil {
				w.grants.verify = func(context.Context, string) { tt.verify(w) }
			}
			w.grants.confirm = tt.confirm
			if a := w.ask("/echo/1.0.0", good); a.StatusCode != tt.status || a.Code != tt.code {
				t.Errorf("answer = %d %s, want %d %s", a.StatusCode, a.Code, tt.status, tt.code)
			}
			if len(backend.requests) > 0 {
				t.Errorf("the backend was dialled")
			}
		})
	}
}

func TestDraining(t *testing.T) {
	w := newWorld(t, nil)
	w.serve(newEcho(t, nil).url)
	if err := w.sessions.Drain(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if a := w.ask("/echo/1.0.0", good); a.StatusCode != 503 || a.Code != "DRAINING" || a.Header.Get("Retry-After") != "1" {
		t.Errorf("answer = %d %s, want 503 DRAINING", a.StatusCode, a.Code)
	}
}

// TestClientLeaves has the client leave while the handshake waits for the control
// plane or for the backend. Both are called off.
func TestClientLeaves(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for _, reset := range []bool{false, true} {
			w := newWorld(t, nil)
			url, asked, left := silent(t)
			w.serve(url)
			conn := w.dial(secure)
			w.send(conn, request("/echo/1.0.0", good)+"some bytes of a frame")
			<-asked
			if tcp, ok := conn.(*net.TCPConn); ok && reset {
				_ = tcp.SetLinger(0)
			}
			_ = conn.Close()
			<-left

			waiting := make(chan context.Context, 1)
			w.grants.verify = func(ctx context.Context, _ string) { waiting <- ctx; <-ctx.Done() }
			conn = w.dial(secure)
			w.send(conn, request("/echo/1.0.0", good))
			ctx := <-waiting
			_ = conn.Close()
			<-ctx.Done()
			if err := context.Cause(ctx); !errors.Is(err, errClientGone) {
				t.Errorf("tls=%t reset=%t: the lookup was called off with %v, want %v", secure, reset, err, errClientGone)
			}
		}
	}
}

// TestHalfClosedClient has the client half-close its connection. It counts as gone
// and gets no answer.
func TestHalfClosedClient(t *testing.T) {
	w := newWorld(t, nil)
	url, asked, left := silent(t)
	w.serve(url)
	conn := w.dial(false)
	w.send(conn, request("/echo/1.0.0", good))
	<-asked
	_ = conn.(*net.TCPConn).CloseWrite()
	<-left
	if got, err := io.ReadAll(conn); len(got) > 0 || err != nil {
		t.Errorf("the client got %q, %v, want EOF", got, err)
	}
}

// TestOutOfDescriptorsIsNotTheBackend: the answer is 503 with Retry-After, does not
// blame the backend, and is noted as every other.
func TestOutOfDescriptorsIsNotTheBackend(t *testing.T) {
	w := newWorld(t, nil)
	client, conn := net.Pipe()
	_ = client.SetDeadline(time.Now().Add(20 * time.Second))
	go w.handler.refuse(t.Context(), &attempt{Request: &listener.Request{Conn: conn}, ref: "ref-of-16-letters"}, &upstream.Error{Kind: upstream.Exhausted})
	if a := w.receive(client); a.StatusCode != http.StatusServiceUnavailable || a.Code != "OUT_OF_DESCRIPTORS" || a.Header.Get("Retry-After") == "" {
		t.Errorf("the answer is %d %s %v, want 503 OUT_OF_DESCRIPTORS with Retry-After", a.StatusCode, a.Code, a.Header)
	}
}
