package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/tidegatehq/tidegate/services/standalone"
)

// asked returns the status of a GET, under another host name if host is one.
func asked(t *testing.T, url, host string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

// TestOps asks the server for metrics, health and readiness.
func TestOps(t *testing.T) {
	t.Parallel()
	ready := make(chan standalone.Addresses, 1)
	data := newData(t)
	s := launch(t, data, func(a standalone.Addresses) { ready <- a }, append(quick(), "-ops", "0", "-pprof", "0", "-ops-hosts", "localhost,monitor.example")...)
	t.Cleanup(func() {
		s.stop()
		s.wait(t)
	})
	at := await(t, ready)
	s.Stack = stackOf(t, s.banner(), data+"/ca.pem")
	token := s.sampleToken(t)
	echo(t, s.connect(t, s.WS+samplePath, token), websocket.MessageText, "counted")
	get := func(path string) (int, string) {
		t.Helper()
		res, err := http.Get(at.Ops + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode, body(t, res)
	}
	for url, want := range map[string]int{
		at.Ops + "/debug/pprof/": 404, at.Pprof + "/debug/pprof/cmdline": 200, at.Pprof + "/metrics": 404,
	} {
		if code := asked(t, url, ""); code != want {
			t.Errorf("%s = %d, want %d", url, code, want)
		}
		if code := asked(t, url, "attacker.example"); code != http.StatusMisdirectedRequest {
			t.Errorf("%s as attacker.example = %d, want 421", url, code)
		}
		if code := asked(t, url, "monitor.example:9091"); code != want {
			t.Errorf("%s as monitor.example = %d, want %d", url, code, want)
		}
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if code, text := get(path); code != 200 {
			t.Errorf("%s = %d %s, want 200", path, code, text)
		}
	}
	var text string
	eventually(t, func() (err error) { // the counts follow the handshake
		var code int
		code, text = get("/metrics")
		for _, want := range []string{"\ntidegate_sessions 1\n", "\ntidegate_backend_dials 0\n", "\ntidegate_handshakes_in_progress 0\n", "\ngrpc_server_handled_total{", "\ngo_goroutines "} {
			if !strings.Contains(text, want) || code != 200 {
				err = errors.Join(err, fmt.Errorf("/metrics = %d without %q", code, want))
			}
		}
		return err
	})
	if strings.Contains(text, token) {
		t.Error("/metrics has the token")
	}
	if _, stderr := s.output(); strings.Contains(stderr, token) || strings.Contains(stderr, strings.Split(token, ".")[2]) {
		t.Error("the log has the token")
	}
}

// await waits for a value.
func await[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-within(t).Done():
		t.Fatalf("nothing came within %v", patience)
		panic("unreachable")
	}
}

// TestHost listens on another address: what is printed and advertised names it,
// and the certificate is good for it.
func TestHost(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("127.0.0.2 is on loopback on Linux only")
	}
	s := start(t, newData(t), append(quick(), "-host", "127.0.0.2")...)
	for _, url := range []string{s.Portal, s.WS, s.WSS, "//" + s.GRPC} {
		if !strings.Contains(url, "//127.0.0.2:") {
			t.Errorf("address %s, want one on 127.0.0.2", url)
		}
	}
	pasteConnect(t, s.banner())
	s.trySample(t)
	if v := s.admin(t).onlyVersion(t); len(v.GetAddresses()) != 2 || v.GetAddresses()[1] != s.WSS+"/echowebsocket/1.0.0" {
		t.Errorf("addresses = %q, want those on 127.0.0.2", v.GetAddresses())
	}
}
