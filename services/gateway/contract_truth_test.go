package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
)

// held counts the sockets that this process holds on the gateway's side: those
// of clients, and those to the backend.
func held(t *testing.T, backend string, listeners ...string) (clients, backends int) {
	t.Helper()
	table, err := os.ReadFile("/proc/self/net/tcp")
	if err != nil {
		t.Skipf("sockets cannot be counted here: %v", err)
	}
	port := func(addr string) string {
		_, p, _ := net.SplitHostPort(addr)
		var n int
		_, _ = fmt.Sscan(p, &n)
		return fmt.Sprintf(":%04X", n)
	}
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 10 || f[3] == "0A" || f[9] == "0" { // listening, or held by nobody any more
			continue
		}
		for _, l := range listeners {
			if strings.HasSuffix(f[1], port(l)) {
				clients++
			}
		}
		if strings.HasSuffix(f[2], port(backend)) {
			backends++
		}
	}
	return clients, backends
}

// measured is what a registry has.
type measured struct {
	sums    map[string]float64 // of gauges and counters, over their labels
	samples map[string]uint64  // in histograms and summaries
	text    string
}

func measure(t *testing.T, reg *prometheus.Registry) measured {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	m := measured{sums: map[string]float64{}, samples: map[string]uint64{}, text: fmt.Sprint(all)}
	for _, f := range all {
		for _, v := range f.GetMetric() {
			m.sums[f.GetName()] += v.GetGauge().GetValue() + v.GetCounter().GetValue()
			m.samples[f.GetName()] += v.GetHistogram().GetSampleCount() + v.GetSummary().GetSampleCount()
		}
	}
	return m
}

// TestGaugesEqualTheTruth compares the gauges with the kernel's sockets while
// sessions come and end in many ways, and upgrades fail.
func TestGaugesEqualTheTruth(t *testing.T) {
	w := newWorld(t)
	secure := w.withTLS()
	reg := prometheus.NewRegistry()
	w.cfg.Metrics = reg
	w.cfg.Relay.Linger = 50 * time.Millisecond
	b := newRawBackend(t)
	b.serve(w, "raw")
	away := w.open()
	away.Name, away.Version, away.Endpoints = "apis/x/versions/away", "away", &catalogv1.Endpoints{Production: endpoint("ws://127.0.0.1:1")}
	w.plane.put(away)
	w.start()
	plain, addr := strings.TrimPrefix(w.plain, "ws://"), b.Addr().String()
	agree := func(when string, want, ended int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%s gauges and sockets say %d, and the counter that %d ended", when, want, ended), func() bool {
			clients, backends := held(t, addr, plain, strings.TrimPrefix(secure, "wss://"))
			m := measure(t, reg).sums
			return m["tidegate_sessions"] == float64(want) && clients == want && backends == want &&
				m["tidegate_handshakes_in_progress"] == 0 && m["tidegate_backend_dials"] == 0 &&
				m["tidegate_sessions_ended_total"] == float64(ended)
		})
	}
	agree("before all,", 0, 0)
	type pair struct{ client, backend *end }
	var live []pair
	for i := range 12 {
		client, backend := w.pair(b, []string{w.plain, secure}[i%2]+"/x/raw", nil)
		live = append(live, pair{client, backend})
	}
	agree("with sessions,", 12, 0)
	for i, p := range live[:8] {
		switch i % 4 {
		case 0:
			p.client.reset()
		case 1:
			_ = p.client.Close()
		case 2:
			p.backend.reset()
		default:
			_ = p.backend.Close()
		}
		_, _ = p.client.Close(), p.backend.Close()
	}
	agree("after some ended,", 4, 8)
	for range 10 {
		w.answers(w.plain+"/x/away", nil, http.StatusBadGateway)
		w.answers(w.plain+"/x/nothing", nil, http.StatusNotFound)
		conn, err := net.Dial("tcp", plain)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET /x/raw HT")
		_ = conn.Close()
	}
	agree("after failed upgrades,", 4, 8)
	for _, p := range live[8:] {
		_, _ = p.client.Close(), p.backend.Close()
	}
	agree("after all,", 0, 12)
}

// TestNoHistogramHoldsASession: a session's life is no request's latency.
func TestNoHistogramHoldsASession(t *testing.T) {
	w := newWorld(t)
	reg := prometheus.NewRegistry()
	w.cfg.Metrics = reg
	w.plane.put(w.open())
	w.start()
	c := w.connect("open", "")
	echoes(t, c, "hello")
	_ = c.Close(websocket.StatusNormalClosure, "")
	eventually(t, "the session is over", func() bool { return measure(t, reg).sums["tidegate_sessions"] == 0 && len(w.plane.endReasons()) == 1 })
	for name, n := range measure(t, reg).samples {
		if n > 0 {
			t.Errorf("%s holds %d samples, want none of a session", name, n)
		}
	}
}

// TestCredentialsAreNotLogged reads all that the gateway logs of handshakes that
// succeed and fail, and all its metrics.
func TestCredentialsAreNotLogged(t *testing.T) {
	w := newWorld(t)
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secure := w.withTLS()
	w.plane.put(w.route("1"))
	away := w.route("away")
	away.Endpoints.Production = endpoint("ws://127.0.0.1:1")
	w.plane.put(away)
	w.plain = "ws://" + plain.Addr().String()
	reg := prometheus.NewRegistry()
	cfg := w.cfg
	cfg.Listen.Listener, cfg.Metrics, cfg.GRPC.InternalListener = plain, reg, memnet.Listen("gateway")
	var log logged
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, cfg, slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	}()
	eventually(t, "the gateway is ready", func() bool { return w.get("/-/readyz") == http.StatusOK })

	const good, bad = "SECRET-good", "SECRET-bad"
	w.plane.issue(good, "subscriptions/1", time.Hour)
	for _, base := range []string{w.plain, secure} {
		for token, want := range map[string]int{good: 101, bad: 401} {
			w.answers(base+"/x/1", bearer(token), want)
			w.answers(base+"/x/1?access_token="+token, nil, want)
		}
		for _, target := range []string{"/x/away", "/x/nothing", "//x", "/x/1/"} {
			_, _ = w.ask(base+target+"?access_token="+good, nil)
		}
	}
	for _, head := range []string{
		"GET /x/1?access_token=SECRET HTTP/1.1\r\n\r\n", "GET /x/1?access_token=SECRET HTTP/3\r\n\r\n", "GET /x/1?access_token=SECRET HTTP/1.1\r\nHo st: h\r\n\r\n",
		"GET /x/%zz?access_token=SECRET HTTP/1.1\r\nHost: h\r\n\r\n", "GET /x/1 HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer SECRET\x00\r\n\r\n",
		"GET /x/1?access_token=SECRET HTTP/1.1\r\nHost: SECRET SECRET\r\n\r\n", "GET /x/1?access_token=SECRET",
	} {
		conn, err := net.Dial("tcp", plain.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, head)
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	}
	w.plane.away()
	w.answers(w.plain+"/x/1", bearer("SECRET-unknown"), 503)
	metrics := measure(t, reg).text
	w.plane.back()
	stop()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	var records string
	for _, r := range w.plane.records {
		records += fmt.Sprintln(r.GetDetail(), r.GetHost(), r.GetPath(), r.GetUserAgent())
	}
	for name, text := range map[string]string{"log": log.String(), "metrics": metrics, "records": records} {
		if i := strings.Index(text, "SECRET"); i >= 0 {
			t.Errorf("the %s has a credential: %s", name, text[max(0, i-200):min(len(text), i+100)])
		}
	}
	if !strings.Contains(log.String(), "CREDENTIAL_INVALID") || !strings.Contains(log.String(), "handshake refused") {
		t.Errorf("the log does not tell of refusals: %s", log.String())
	}
}

// logged is a log that is written and read at once.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestHealthWhileHandshakesAreTaken: clients that send nothing hold all the
// slots; the gateway answers for its health, refuses others, and serves again
// when they are gone.
func TestHealthWhileHandshakesAreTaken(t *testing.T) {
	w := newWorld(t)
	secure := w.withTLS()
	w.cfg.Listen.MaxHandshakes = 2
	reg := prometheus.NewRegistry()
	w.cfg.Metrics = reg
	w.plane.put(w.open())
	w.start()
	eventually(t, "nobody is left of the start", func() bool { return measure(t, reg).sums["tidegate_handshakes_in_progress"] == 0 })
	var silent []net.Conn
	for range 2 {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(secure, "wss://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, conn)
	}
	if status := w.get("/-/healthz"); status != http.StatusOK {
		t.Errorf("healthz = %d, want 200", status)
	}
	w.refused("open", "", http.StatusServiceUnavailable)
	for _, conn := range silent {
		_ = conn.Close()
	}
	eventually(t, "the gateway serves again", func() bool {
		c, status := w.dial("open", "")
		if c != nil {
			_ = c.CloseNow()
		}
		return status == http.StatusSwitchingProtocols
	})
}
