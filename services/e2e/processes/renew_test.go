package processes

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// openFor opens a session at a gateway, and returns the ref that its 101 has.
func (w *world) openFor(gateway, token string) (*websocket.Conn, string) {
	w.t.Helper()
	//nolint:bodyclose // the 101 has none
	conn, res, err := websocket.Dial(w.t.Context(), "ws://"+w.port(gateway+":9099")+"/echo/1.0.0", &websocket.DialOptions{
		HTTPClient: w.http, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	must(w.t, err)
	w.t.Cleanup(func() { _ = conn.CloseNow() })
	return conn, res.Header.Get("X-Tidegate-Ref")
}

// own calls an endpoint of a gateway's own.
func (w *world) own(gateway, method, path, token string) (status int, body string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://"+w.port(gateway+":9099")+path, http.NoBody)
	must(w.t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := w.http.Do(req)
	must(w.t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	must(w.t, err)
	return res.StatusCode, string(text)
}

// refsAt lists the sessions of a token at a gateway.
func (w *world) refsAt(gateway, token string) (refs, silent []string) {
	w.t.Helper()
	status, body := w.own(gateway, http.MethodGet, "/-/sessions?path=/echo/1.0.0", token)
	var list struct {
		Sessions       []struct{ Ref string }
		SilentGateways []string
	}
	if err := json.Unmarshal([]byte(body), &list); err != nil || status != http.StatusOK {
		w.t.Fatalf("GET /-/sessions at %s = %d %s", gateway, status, body)
	}
	for _, s := range list.Sessions {
		refs = append(refs, s.Ref)
	}
	slices.Sort(refs)
	return refs, list.SilentGateways
}

// TestRenewalAtAnyGateway renews sessions of two gateways at either of them, over mutual TLS
// between them, and lists them all at both. Then both close what is revoked, and the portal
// counts it. A gateway that is killed is silent.
func TestRenewalAtAnyGateway(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			w := newWorld(startFleet(t, engine, local()))
			w.start("gateway2")
			w.ready("gateway2")
			old, next := w.token(), w.token()
			gateways := []string{"gateway", "gateway2"}
			conns, refs := map[string]*websocket.Conn{}, []string{}
			for _, gateway := range gateways {
				first, err := w.connectTo(gateway, next, false) // the gateway can ask by then
				must(t, err)
				must(t, first.Close(websocket.StatusNormalClosure, ""))
				conn, ref := w.openFor(gateway, old)
				conns[gateway], refs = conn, append(refs, ref)
			}
			sorted := slices.Sorted(slices.Values(refs))
			for _, gateway := range gateways {
				w.eventually(gateway+" lists the sessions of both", func() error {
					if got, silent := w.refsAt(gateway, old); !slices.Equal(got, sorted) || len(silent) > 0 {
						return fmt.Errorf("it lists %q, silent %q, want %q", got, silent, sorted)
					}
					return nil
				})
			}
			for i, ref := range refs {
				there := gateways[1-i] // the other gateway
				if status, body := w.own(there, http.MethodPost, "/-/sessions/"+ref+"/credential", next); status != http.StatusOK || !strings.Contains(body, ref) {
					t.Errorf("renewal of a session of %s at %s = %d %s", gateways[i], there, status, body)
				}
				if status, body := w.own(there, http.MethodPost, "/-/sessions/"+ref+"/credential", "garbage"); status != http.StatusNotFound {
					t.Errorf("renewal with garbage at the other gateway = %d %s, want 404", status, body)
				}
			}
			revocations := subscriptionv1.NewRevocationServiceClient(w.conn)
			ctx := w.signedIn()
			resp, err := revocations.Revoke(ctx, &subscriptionv1.RevokeRequest{Token: old})
			if err != nil || resp.GetClosedSessions() != 0 || len(resp.GetSilentGateways()) > 0 {
				t.Errorf("Revoke(the old token) = %v, %v, want no session closed, and nobody silent", resp, err)
			}
			for gateway, conn := range conns {
				must(t, conn.Write(t.Context(), websocket.MessageText, []byte("still here")))
				if _, got, err := conn.Read(t.Context()); err != nil || string(got) != "still here" {
					t.Errorf("the session of %s, renewed, answers %q, %v", gateway, got, err)
				}
			}
			resp, err = revocations.Revoke(ctx, &subscriptionv1.RevokeRequest{Token: next})
			if err != nil || resp.GetClosedSessions() != 2 || resp.GetGateways() != 2 || len(resp.GetSilentGateways()) > 0 {
				t.Errorf("Revoke(the new token) = %v, %v, want two sessions on two gateways", resp, err)
			}
			for gateway, conn := range conns {
				if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != 4001 {
					t.Errorf("the session of %s ended with %v, want 4001", gateway, err)
				}
			}
			w.kill("gateway2")
			last := w.token()
			w.openFor("gateway", last)
			if got, silent := w.refsAt("gateway", last); len(got) != 1 || !slices.Equal(silent, []string{"gateways/gateway2"}) {
				t.Errorf("after gateway2 was killed the list is %q, silent %q", got, silent)
			}
			closed, err := gatewayv1.NewSessionServiceClient(w.conn).CloseSessions(ctx, &gatewayv1.CloseSessionsRequest{Parent: "gateways/-", Version: w.version})
			if err != nil || closed.GetClosedSessions() != 1 || closed.GetGateways() != 1 || !slices.Equal(closed.GetSilentGateways(), []string{"gateways/gateway2"}) {
				t.Errorf("CloseSessions = %v, %v, want one session closed, and gateway2 silent", closed, err)
			}
			if status, body := w.own("gateway", http.MethodPost, "/-/sessions/"+refs[1]+"/credential", last); status != http.StatusServiceUnavailable {
				t.Errorf("renewal of a session of the gateway that was killed = %d %s, want 503", status, body)
			}
		})
	}
}
