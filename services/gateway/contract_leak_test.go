package gateway

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/prometheus/client_golang/prometheus"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
)

// endings are the ways in which a session or its handshake ends. do is what the
// backend is asked for; how does the client's part and returns what it saw
// wrong. Refused handshakes have a record too; a client that left before its answer has
// none. With a plan the client is of an application of its own.
var endings = []struct {
	name, do string
	record   string // its cause
	status   int    // of the refusal
	how      func(v *visit) error

	plan, other string // other is the cause of another record
}{
	{"client closes", "echo", "PEER_CLOSE", 0, func(v *visit) error { return v.say(1000) }, "", ""},
	{"backend closes", "close", "PEER_CLOSE", 0, func(v *visit) error { return v.sees(1000) }, "", ""},
	{"client resets", "echo", "CLIENT_GONE", 0, func(v *visit) error { v.reset(); return nil }, "", ""},
	{"backend resets", "reset", "BACKEND_GONE", 0, func(v *visit) error { return v.sees(1013) }, "", ""},
	{"client ends", "echo", "CLIENT_GONE", 0, func(v *visit) error { return v.Close() }, "", ""},
	{"client half-closes", "echo", "CLIENT_GONE", 0, func(v *visit) error { return v.halfClose() }, "", ""},
	{"backend ends", "end", "BACKEND_GONE", 0, func(v *visit) error { return v.sees(1013) }, "", ""},
	{"revoked", "echo", "REVOKED", 0, func(v *visit) error {
		v.w.plane.touch(backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED, "grants/"+v.token)
		return v.sees(4001)
	}, "", ""},
	{"closed by an operator", "echo", "OPERATOR_CLOSE", 0, func(v *visit) error { return errors.Join(v.operate(v.LocalAddr().String()), v.sees(4010)) }, "", ""},
	{"breach", "echo", "PROTOCOL", 0, func(v *visit) error {
		_, err := v.Write([]byte{0xff, 0x80, 0, 0, 0, 0})
		return errors.Join(err, v.sees(1002))
	}, "", ""},
	{"backend refuses", "refuse", "BACKEND_REFUSED", http.StatusForbidden, nil, "", ""},
	{"no such token", "echo", "REFUSED", http.StatusUnauthorized, nil, "", ""},
	{"client leaves during the dial", "silence", "", 0, nil, "", ""},
	{"replaced", "echo", "REPLACED", 0, func(v *visit) error {
		second, err := v.again()
		if err != nil {
			return err
		}
		defer second.Close()
		return errors.Join(v.sees(4003), second.say(1000))
	}, "oldest", "PEER_CLOSE"},
	{"no seat", "echo", "PEER_CLOSE", 0, func(v *visit) error {
		_, err := v.again()
		if !errors.Is(err, ws.StatusError(http.StatusTooManyRequests)) {
			return fmt.Errorf("another one = %w, want 429", err)
		}
		return v.say(1000)
	}, "one", "REFUSED"},
	{"throttled", "echo", "THROTTLED", 0, func(v *visit) error {
		return errors.Join(v.write(ws.NewTextFrame([]byte("one too many"))), v.sees(4003))
	}, "two-messages", ""},
}

// visit is one client's.
type visit struct {
	*end
	w       *world
	url     string
	token   string
	silent  *silence
	operate func(client string) error // closes the session of an address
}

// silence is what a backend that does not answer tells: whose handshake it has.
type silence struct{ has sync.Map } // of chan struct{} by token

func (s *silence) of(token string) chan struct{} {
	c, _ := s.has.LoadOrStore(token, make(chan struct{}))
	return c.(chan struct{})
}

// TestNothingLeaks has 1 000 clients come and go in every way, each with a seat at three
// places. Then goroutines, sockets, files and gauges are what they were, each session has its
// record, and all seats are free, no more and no less than there were.
func TestNothingLeaks(t *testing.T) {
	const clients, atOnce, seats = 1000, 16, 100
	w := newWorld(t)
	secure := w.withTLS()
	reg := prometheus.NewRegistry()
	w.cfg.Metrics, w.cfg.Relay.Linger, w.cfg.Listen.MaxRate = reg, 50*time.Millisecond, 0
	silent := &silence{}
	backend := httptest.NewServer(doing(silent))
	t.Cleanup(backend.Close)
	r := w.route("1")
	r.Endpoints = &catalogv1.Endpoints{Production: endpoint("ws" + strings.TrimPrefix(backend.URL, "http"))}
	r.TrafficPlan = "plans/seats"
	w.plane.put(r)
	oldest := connections(1)
	oldest.Reaction = catalogv1.Limit_REACTION_CLOSE_OLDEST
	w.plane.putPlan("seats", connections(seats))
	w.plane.putPlan("oldest", oldest)
	w.plane.putPlan("one", connections(1))
	w.plane.putPlan("two-messages", connections(seats), perHour("messages-rate", catalogv1.Unit_UNIT_MESSAGES, 2, catalogv1.Direction_DIRECTION_BOTH, catalogv1.Limit_REACTION_CLOSE))
	w.start()
	operate := w.operator()
	ended := 0
	visits := func(from, to int) {
		room := make(chan struct{}, atOnce)
		var wg sync.WaitGroup
		for i := from; i < to; i++ {
			v := &visit{w: w, url: []string{w.plain, secure}[i/len(endings)%2], token: fmt.Sprint("token-", i), silent: silent, operate: operate}
			room <- struct{}{}
			wg.Go(func() {
				defer func() { <-room }()
				if err := v.run(i % len(endings)); err != nil {
					t.Errorf("%s: %v", endings[i%len(endings)].name, err)
				}
			})
			ended += len(recordsOf(i))
		}
		wg.Wait()
		eventually(t, "each session has its record", func() bool { return len(w.plane.endReasons()) == ended })
	}
	settled := func() bool {
		m := measure(t, reg).sums
		held, dialled := held(t, backend.Listener.Addr().String(), strings.TrimPrefix(w.plain, "ws://"), strings.TrimPrefix(secure, "wss://"))
		return m["tidegate_sessions"]+m["tidegate_handshakes_in_progress"]+m["tidegate_backend_dials"] == 0 && held+dialled == 0
	}
	visits(0, 2*len(endings)) // what is made once is made
	eventually(t, "nothing is left of the first clients", settled)
	var routines, files int
	eventually(t, "the process has come to rest", func() bool {
		was, had := routines, files
		routines, files = runtime.NumGoroutine(), openFiles(t)
		return was == routines && had == files
	})
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it would close what was forgotten
	visits(2*len(endings), 2*len(endings)+clients)
	eventually(t, "sockets and gauges are what they were", settled)
	eventually(t, "files are what they were", func() bool { return openFiles(t) <= files })
	eventually(t, "goroutines are what they were", func() bool { return runtime.NumGoroutine() <= routines })
	want := map[string]int{}
	for i := range 2*len(endings) + clients {
		for _, reason := range recordsOf(i) {
			want[reason]++
		}
	}
	for _, reason := range w.plane.endReasons() {
		want[reason]--
	}
	for reason, n := range want {
		if n != 0 {
			t.Errorf("%d records too few of %s", n, reason)
		}
	}
	if text := measure(t, reg).text; strings.Contains(text, "tidegate_plan_connections") {
		t.Errorf("connections are in use by plans: %s", text)
	}
	w.plane.issueWith("last", "plans/seats", "plans/seats")
	for range seats {
		w.connect("1", "last")
	}
	w.full("1", "last")
}

// recordsOf are the causes of the records of a visit.
func recordsOf(visit int) []string {
	e := endings[visit%len(endings)]
	return slices.DeleteFunc([]string{e.record, e.other}, func(cause string) bool { return cause == "" })
}

// openFiles counts what the process has open.
func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("files cannot be counted here: %v", err)
	}
	return len(all)
}

// doing is a backend that does what the query asks for.
func doing(silent *silence) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("do") {
		case "refuse":
			http.Error(rw, "no", http.StatusForbidden)
			return
		case "silence":
			close(silent.of(r.Header.Get("X-Token")))
			<-r.Context().Done()
			return
		}
		conn, _, _, err := ws.UpgradeHTTP(r, rw)
		if err != nil {
			return
		}
		defer conn.Close()
		e := &end{Conn: conn, in: bufio.NewReader(conn)}
		for {
			f, err := e.next()
			if err != nil {
				return
			}
			f = ws.NewFrame(f.Header.OpCode, true, f.Payload) // without the mask
			switch do := r.URL.Query().Get("do"); {
			case f.Header.OpCode == ws.OpClose:
				_ = e.write(f)
				return
			case do == "close":
				_ = e.write(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "")))
			case do == "reset":
				e.reset()
				return
			case do == "end":
				return
			default:
				_ = e.write(f)
			}
		}
	})
}

// run comes, says something, and goes in the way given.
func (v *visit) run(way int) error {
	e := endings[way]
	switch {
	case e.name == "no such token":
	case e.plan != "":
		v.w.plane.subscribe(v.token, "plans/"+e.plan, "plans/seats")
	default:
		v.w.plane.issueWith(v.token, "plans/seats", "plans/seats")
	}
	if e.do == "silence" {
		return v.leave()
	}
	d := ws.Dialer{TLSConfig: &tls.Config{InsecureSkipVerify: true}, Header: ws.HandshakeHeaderHTTP(bearer(v.token))}
	conn, br, _, err := d.Dial(v.w.t.Context(), v.url+"/x/1?do="+e.do)
	if e.status != 0 {
		if !errors.Is(err, ws.StatusError(e.status)) {
			return fmt.Errorf("dial = %w, want status %d", err, e.status)
		}
		return nil
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	if br == nil {
		br = bufio.NewReader(conn)
	}
	v.end = &end{Conn: conn, in: br, mask: true}
	_ = v.SetDeadline(time.Now().Add(20 * time.Second))
	if err := v.write(ws.NewTextFrame([]byte("hello"))); err != nil {
		return err
	}
	if e.do == "echo" {
		if f, err := v.next(); err != nil || string(f.Payload) != "hello" {
			return fmt.Errorf("echo = %q, %w", f.Payload, err)
		}
	}
	return e.how(v)
}

// again opens another session with the same token.
func (v *visit) again() (*visit, error) {
	d := ws.Dialer{TLSConfig: &tls.Config{InsecureSkipVerify: true}, Header: ws.HandshakeHeaderHTTP(bearer(v.token))}
	conn, br, _, err := d.Dial(v.w.t.Context(), v.url+"/x/1?do=echo")
	if err != nil {
		return nil, err
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return &visit{end: &end{Conn: conn, in: br, mask: true}}, nil
}

// leave goes when a silent backend has its handshake.
func (v *visit) leave() error {
	addr, secure := strings.CutPrefix(v.url, "wss://")
	conn, err := net.Dial("tcp", strings.TrimPrefix(addr, "ws://"))
	if err != nil {
		return err
	}
	defer conn.Close()
	if secure {
		conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	}
	_, err = fmt.Fprintf(conn, "GET /x/1?do=silence HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer %s\r\nX-Token: %[1]s\r\n\r\n", v.token)
	if err != nil {
		return err
	}
	<-v.silent.of(v.token)
	return conn.Close()
}

// sees wants a close with this code, and answers it.
func (v *visit) sees(code int) error {
	if got, reason := v.closed(); got != code {
		return fmt.Errorf("close = %d %q, want %d", got, reason, code)
	}
	_ = v.write(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(code), "")))
	_, _ = io.Copy(io.Discard, v)
	return nil
}

// say closes in order.
func (v *visit) say(code int) error {
	if err := v.write(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(code), ""))); err != nil {
		return err
	}
	if got, _ := v.closed(); got != code {
		return fmt.Errorf("answer to the close = %d, want %d", got, code)
	}
	return nil
}

// halfClose sends no more, and keeps the connection until the gateway ends it.
func (v *visit) halfClose() error {
	if err := v.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, v)
	return nil
}

// operator returns what closes the session of a client's address.
func (w *world) operator() func(client string) error {
	api, ctx := w.sessions()
	return func(client string) error {
		list, err := api.ListSessions(ctx, &gatewayv1.ListSessionsRequest{Parent: "gateways/gateway-1"})
		if err != nil {
			return err
		}
		for _, s := range list.GetSessions() {
			if s.GetClientAddress() == client {
				_, err := api.CloseSession(ctx, &gatewayv1.CloseSessionRequest{Name: s.GetName()})
				return err
			}
		}
		return fmt.Errorf("no session of %s", client)
	}
}
