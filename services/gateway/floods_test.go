package gateway

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
)

// TestFloodOfMadeUpTokens: right after a start, one address shows tokens that nobody
// made, more than can be verified at once, and each takes the control plane long. Every
// client with a good token at another address gets in meanwhile.
func TestFloodOfMadeUpTokens(t *testing.T) {
	const lookups, share, flood, clients = 8, 3, 40, 20
	w := newWorld(t)
	w.cfg.Grants.MaxLookups = lookups
	asked, hang := make(chan struct{}, flood), make(chan struct{})
	release := sync.OnceFunc(func() { close(hang) })
	defer release()
	w.judge(func(req *backplanev1.VerifyCredentialRequest, _ *backplanev1.VerifyCredentialResponse) {
		if strings.HasPrefix(req.GetCredential(), "made-up") {
			asked <- struct{}{}
			<-hang
		}
	})
	w.plane.put(w.route("1"))
	for i := range clients {
		w.plane.issue(fmt.Sprint("good-", i), "subscriptions/1", time.Hour)
	}
	w.start()
	client := trusting(t)
	client.Transport.(*http.Transport).DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext
	var all sync.WaitGroup
	for i := range flood {
		all.Go(func() {
			_, resp, err := websocket.Dial(context.WithoutCancel(t.Context()), w.plain+"/x/1", //nolint:bodyclose // Dial has read the body
				&websocket.DialOptions{HTTPHeader: bearer(fmt.Sprint("made-up-", i)), HTTPClient: client})
			if err == nil || resp == nil || resp.StatusCode != http.StatusUnauthorized && resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("made-up token %d: %v, want 401 or 503", i, err)
			}
		})
	}
	for range share { // as many as one address may have verified at once
		<-asked
	}
	for i := range clients {
		c := w.connect("1", fmt.Sprint("good-", i))
		echoes(t, c, "hello")
		_ = c.CloseNow()
	}
	release()
	all.Wait()
}
