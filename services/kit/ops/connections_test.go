package ops_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/ops"
)

// TestConnectionsAreBounded: an address that opens too many connections is hung up on, and
// another one is answered beside it.
func TestConnectionsAreBounded(t *testing.T) {
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := ops.Default()
	cfg.Listener, cfg.HeadTimeout = lis, time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- ops.New(cfg, quiet(), ops.NewRegistry(), nil).Run(ctx) }()
	silent := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	var last net.Conn
	for range 20 {
		if last, err = silent.DialContext(t.Context(), "tcp", lis.Addr().String()); err != nil {
			t.Fatal(err)
		}
		defer last.Close()
	}
	if err := last.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := last.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("the 20th connection of an address is open: %v", err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+lis.Addr().String()+"/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	if res, err := client.Do(req); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("GET /healthz from another address = %v, %v", res, err)
	} else {
		res.Body.Close()
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
