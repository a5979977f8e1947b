package cli

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// liveCredentials revokes anything, beside two live sessions.
type liveCredentials struct {
	subscriptionv1.UnimplementedRevocationServiceServer
	gatewayv1.UnimplementedSessionServiceServer
	filters []string
	revoked []*subscriptionv1.RevokeRequest
}

func (l *liveCredentials) ListSessions(_ context.Context, req *gatewayv1.ListSessionsRequest) (*gatewayv1.ListSessionsResponse, error) {
	l.filters = append(l.filters, req.GetFilter())
	return &gatewayv1.ListSessionsResponse{Sessions: make([]*gatewayv1.Session, 2)}, nil
}

func (l *liveCredentials) Revoke(_ context.Context, req *subscriptionv1.RevokeRequest) (*subscriptionv1.RevokeResponse, error) {
	l.revoked = append(l.revoked, req)
	return &subscriptionv1.RevokeResponse{Name: req.GetName(), Change: "services/subscription/changes/1", ClosedSessions: 2, Gateways: 1}, nil
}

// Who revokes is told at a terminal how many live sessions end with it, and says yes first. A
// script revokes at once, without a look at what there is.
func TestRevokingAsks(t *testing.T) {
	t.Parallel()
	const client = "applications/x/oauthClients/y"
	for name, filter := range map[string]string{
		"applications/x":                       `application = "applications/x"`,
		client:                                 `oauth_client = "` + client + `"`,
		client + "/secrets/z":                  `secret = "` + client + `/secrets/z"`,
		"applications/x/apiKeys/k":             `api_key = "applications/x/apiKeys/k"`,
		"subscriptions/s":                      `subscription = "subscriptions/s"`,
		"grants/g":                             `grant = "grants/g"`,
		"grants/of --app applications/try-out": `grant = "grants/of"`,
	} {
		for _, answer := range []string{"y\n", "n\n", ""} {
			l := &liveCredentials{}
			c := newFakeServer(t, func(srv *grpc.Server) {
				subscriptionv1.RegisterRevocationServiceServer(srv, l)
				gatewayv1.RegisterSessionServiceServer(srv, l)
			}).signIn(t)
			if answer != "" {
				c.stdin = typed(t, answer)
			}
			what, _, ofTryOut := strings.Cut(name, " --app ")
			_, stderr, code := c.run(t, append([]string{"revoke"}, strings.Fields(name)...)...)
			asked := "Revokes the credentials of " + what + " that were issued until now, with 2 live sessions.\nGo on? [y/N] "
			if answer == "" {
				asked, filter = "", ""
			}
			if !strings.HasPrefix(stderr, asked) || strings.Join(l.filters, "") != filter {
				t.Errorf("revoke %s: %q, and sessions were asked for by %q, want %q, by %q", name, stderr, l.filters, asked, filter)
			}
			if done := answer != "n\n"; done != (code == 0) || done != (len(l.revoked) == 1) || done && (l.revoked[0].GetName() != what || ofTryOut != (l.revoked[0].GetApplication() == tryOut)) {
				t.Errorf("revoke %s, answered %q: %d, and the server was asked for %v", name, answer, code, l.revoked)
			}
		}
	}
}
