package api

import (
	"net/netip"
	"slices"
	"testing"

	"google.golang.org/grpc"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// TestSessionsByCredential finds and counts the sessions that end with an OAuth client, a
// secret or a token. By a secret and a token only the application's owner and administrators do.
func TestSessionsByCredential(t *testing.T) {
	f := newFixture(t)
	const (
		client, other = "applications/x/oauthClients/p", "applications/x/oauthClients/s"
		secret        = client + "/secrets/1"
	)
	for ref, g := range map[string]grant.Grant{
		"r1": {Name: "grants/a", OAuthClient: client, Secret: secret},
		"r2": {Name: "grants/b", OAuthClient: client, Secret: client + "/secrets/2"},
		"r3": {Name: "grants/c", OAuthClient: other},
		"r4": {Name: "grants/d", APIKey: "applications/x/apiKeys/k"},
	} {
		g.User, g.Application = "users/sue", "applications/x"
		if _, err := f.registry.New(nil, session.Info{
			Ref: ref, Route: &session.Route{Version: v1}, ClientAddr: netip.MustParseAddrPort("192.0.2.1:1234"), Grant: &g,
		}); err != nil {
			t.Fatal(err)
		}
	}
	f.add("r5", v1, "")
	byClient, bySecret, byGrant := `oauth_client = "`+client+`"`, `secret = "`+secret+`"`, `grant = "grants/c"`
	for who, tt := range map[string]struct {
		as     grpc.CallOption
		filter string
		want   []string
	}{
		"root, by OAuth client":                    {f.root, byClient, []string{"r1", "r2"}},
		"root, without one":                        {f.root, `oauth_client = "" AND application = "applications/x"`, []string{"r4"}},
		"root, by secret":                          {f.root, bySecret, []string{"r1"}},
		"root, by grant":                           {f.root, byGrant, []string{"r3"}},
		"the application's owner, by secret":       {f.sue, bySecret, []string{"r1"}},
		"the application's owner, by grant":        {f.sue, byGrant, []string{"r3"}},
		"the version's owner, by OAuth client":     {f.ann, byClient, []string{"r1", "r2"}},
		"the version's owner, by secret":           {f.ann, bySecret, nil},
		"the version's owner, by grant":            {f.ann, byGrant, nil},
		"the version's owner, of those without it": {f.ann, `secret = ""`, nil},
		"somebody else, by OAuth client":           {f.tom, byClient, nil},
	} {
		list, err := f.ListSessions(t.Context(), &gatewayv1.ListSessionsRequest{Parent: parent, Filter: tt.filter}, tt.as)
		if err != nil || !slices.Equal(refs(list.GetSessions()), tt.want) {
			t.Errorf("%s: ListSessions(%s) = %v, %v, want %v", who, tt.filter, refs(list.GetSessions()), err, tt.want)
		}
		counts, err := f.CountSessions(t.Context(), &gatewayv1.CountSessionsRequest{Parent: parent, GroupBy: "gateway", Filter: tt.filter}, tt.as)
		if err != nil || int(counts.GetTotal()) != len(tt.want) {
			t.Errorf("%s: CountSessions(%s) = %v, %v, want %d", who, tt.filter, counts, err, len(tt.want))
		}
	}
	counts, err := f.CountSessions(t.Context(), &gatewayv1.CountSessionsRequest{Parent: parent, GroupBy: "oauth_client"}, f.root)
	if want := client + " 2, " + other + " 1 of 5"; err != nil || counted(counts) != want {
		t.Errorf("CountSessions by OAuth client = %s, %v, want %s", counted(counts), err, want)
	}
	got, err := f.GetSession(t.Context(), &gatewayv1.GetSessionRequest{Name: parent + "/sessions/r3"}, f.ann)
	if err != nil || got.GetOauthClient() != other {
		t.Errorf("GetSession = %v, %v, want its OAuth client %s", got, err, other)
	}
}
