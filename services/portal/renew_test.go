package portal_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// FindSession says whether the gateway has a session.
func (l *liveNode) FindSession(_ context.Context, req *backplanev1.FindSessionRequest) (*backplanev1.FindSessionResponse, error) {
	l.node.mu.Lock()
	defer l.node.mu.Unlock()
	for _, s := range l.node.sessions {
		if strings.HasSuffix(s.GetName(), "/"+req.GetRef()) {
			return &backplanev1.FindSessionResponse{Found: true}, nil
		}
	}
	return &backplanev1.FindSessionResponse{}, nil
}

// RenewSession takes the credential "good" for a session that the gateway has.
func (n *node) RenewSession(ctx context.Context, req *gatewayv1.RenewSessionRequest) (*gatewayv1.RenewSessionResponse, error) {
	if _, err := n.GetSession(ctx, &gatewayv1.GetSessionRequest{Name: req.GetName()}); err != nil || req.GetCredential() != "good" {
		return nil, fault.NotFound("%s that this credential can renew", req.GetName())
	}
	return &gatewayv1.RenewSessionResponse{Name: req.GetName(), Scopes: []string{"read"}}, nil
}

// TestRenewSession renews sessions at the gateway that has them: the ref's, or where that names
// none the one that says so. No other gets the credential, and what is wrong has one answer.
func TestRenewSession(t *testing.T) {
	s, nodes, client := fleet(t, 3)
	tags := []string{"aaaa", "bbbb", "cccc"}
	for i, n := range nodes {
		n.sessions = append(n.sessions, &gatewayv1.Session{Name: "gateways/" + n.instance + "/sessions/f6w1" + tags[i] + "q8s5d2h7m4zc"})
	}
	nodes[1].sessions = append(nodes[1].sessions, &gatewayv1.Session{Name: "gateways/g2/sessions/f6w10000q8s5d2h7m4zc"}) // a ticket's
	var known []*changev1.Watcher
	for i, n := range nodes {
		w := n.watcher()
		w.RefTag = tags[i]
		known = append(known, w)
	}
	s.gateways(known...)
	for _, tt := range []struct {
		name, credential, at string
		code                 codes.Code
	}{
		{"gateways/-/sessions/f6w1bbbbq8s5d2h7m4zc", "good", "g2", codes.OK},
		{"gateways/g3/sessions/f6w1ccccq8s5d2h7m4zc", "good", "g3", codes.OK},
		{"gateways/-/sessions/f6w10000q8s5d2h7m4zc", "good", "g2", codes.OK},
		{"gateways/-/sessions/f6w1aaaaq8s5d2h7m4zc", "bad", "g1", codes.NotFound},
		{"gateways/-/sessions/f6w1aaaa000000000000", "good", "g1", codes.NotFound},
		{"gateways/-/sessions/f6w10000000000000000", "good", "g1", codes.NotFound},
		{"gateways/-/sessions/f6w1zzzzq8s5d2h7m4zc", "good", "", codes.NotFound},
		{"gateways/-/sessions/short", "good", "", codes.NotFound},
		{"gateways/g9/sessions/f6w1aaaaq8s5d2h7m4zc", "good", "", codes.NotFound},
	} {
		for _, n := range nodes {
			n.asked = nil
		}
		resp, err := client.RenewSession(t.Context(), &gatewayv1.RenewSessionRequest{Name: tt.name, Credential: tt.credential}, bearer())
		if tt.code == codes.OK {
			if err != nil || !strings.HasPrefix(resp.GetName(), "gateways/"+tt.at+"/") {
				t.Errorf("RenewSession(%s) = %v, %v, want it renewed at %s", tt.name, resp, err, tt.at)
			}
		} else {
			wantError(t, "RenewSession("+tt.name+")", err, tt.code, tt.name+" that this credential can renew not found")
		}
		for _, n := range nodes {
			if sent := strings.Contains(strings.Join(n.asked, " "), "name:"); sent != (n.instance == tt.at) {
				t.Errorf("RenewSession(%s): %s is sent the credential: %t", tt.name, n.instance, sent)
			}
		}
	}
	nodes[2].hang = true
	_, err := client.RenewSession(t.Context(), &gatewayv1.RenewSessionRequest{Name: "gateways/-/sessions/f6w10000000000000000", Credential: "good"}, bearer())
	wantError(t, "RenewSession of what may be where nobody answers", err, codes.Unavailable, "gateways/g3 cannot be reached, try again")
	// Of a session that is there, who proves no right learns no more; who does renews it.
	const there = "gateways/-/sessions/f6w10000q8s5d2h7m4zc"
	_, err = client.RenewSession(t.Context(), &gatewayv1.RenewSessionRequest{Name: there, Credential: "bad"}, bearer())
	wantError(t, "RenewSession of a session, with a bad credential, while another gateway is frozen", err, codes.Unavailable, "gateways/g3 cannot be reached, try again")
	if _, err = client.RenewSession(t.Context(), &gatewayv1.RenewSessionRequest{Name: there, Credential: "good"}, bearer()); err != nil {
		t.Errorf("RenewSession of a session, with a good one, while another gateway is frozen: %v", err)
	}
	got := s.do(t, "POST", "/v1/gateways/-/sessions/f6w1bbbbq8s5d2h7m4zc:renew", `{"credential":"good"}`, "Authorization", "Bearer token", "Content-Type", "application/json")
	if want := `{"name":"gateways/g2/sessions/f6w1bbbbq8s5d2h7m4zc","scopes":["read"]}`; got.status != 200 || strings.ReplaceAll(got.body, " ", "") != want {
		t.Errorf("POST :renew = %d %s, want %s", got.status, got.body, want)
	}
}
