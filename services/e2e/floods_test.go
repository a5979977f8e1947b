package e2e

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/coder/websocket"
)

// madeUp returns what looks like a token of ours, with a key id that nobody has seen.
func madeUp(typ string) string {
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	head := fmt.Sprintf(`{"alg":"ES256","kid":%q,"typ":%q}`, rand.Text(), typ)
	return part(head) + "." + part(`{"sub":"users/x","exp":4000000000}`) + "." + part(rand.Text()+rand.Text()+"123456789012")
}

// TestFloodAtARestart: the server is started again, so nothing is cached, and one
// address shows it tokens with random key ids, at the gateway and over REST. Every
// request with a good token is answered meanwhile.
func TestFloodAtARestart(t *testing.T) {
	t.Parallel()
	data := newData(t)
	s := start(t, data, quick()...)
	admin := s.admin(t)
	token := s.sampleToken(t)
	s.stop()
	if code := s.wait(t); code != 0 {
		t.Fatalf("the server ended with %d", code)
	}
	s = start(t, data, append(quick(), "-gateway.max-lookups", "8", "-gateway.max-handshakes-per-address", "64")...)
	transport := &http.Transport{
		TLSClientConfig: s.trust(t), DisableKeepAlives: true,
		DialContext: (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext,
	}
	rest := s.http(t)
	stop := flood(t, s, &http.Client{Transport: transport})
	for i := range 20 {
		conn, status, err := s.tryConnect(t, []string{s.WS, s.WSS}[i%2]+"/echowebsocket/1.0.0", token)
		if err != nil {
			t.Fatalf("handshake %d beside the flood: %d, %v", i, status, err)
		}
		echo(t, conn, websocket.MessageText, "hello")
		_ = conn.CloseNow()
		if status := s.getMe(t, rest, admin.token); status != http.StatusOK {
			t.Fatalf("REST request %d beside the flood: %d", i, status)
		}
	}
	stop()
}

// flood sends made-up tokens from many clients until the function that it returns is
// called, at most 1000 to each.
func flood(t *testing.T, s *server, client *http.Client) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			for range 100 {
				h := http.Header{"Authorization": {"Bearer " + madeUp("at+jwt")}}
				conn, _, err := websocket.Dial(ctx, s.WS+"/echowebsocket/1.0.0", &websocket.DialOptions{HTTPHeader: h, HTTPClient: client}) //nolint:bodyclose // Dial has read the body
				if err == nil {
					t.Error("a made-up token got in")
					_ = conn.CloseNow()
				}
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Portal+"/v1/users/me", nil)
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Authorization", "Bearer "+madeUp("tidegate-user+jwt"))
				if resp, err := client.Do(req); err == nil {
					if resp.Body.Close(); resp.StatusCode == http.StatusOK {
						t.Error("a made-up token is a user's")
					}
				}
				if ctx.Err() != nil {
					return
				}
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}
