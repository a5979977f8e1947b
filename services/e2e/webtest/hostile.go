package webtest

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// packed returns the payloads in texts of at most so many characters.
func packed(most int) []string {
	var texts []string
	for _, payload := range Payloads() {
		if n := len(texts); n > 0 && len(texts[n-1])+1+len(payload) <= most {
			texts[n-1] += " " + payload
		} else {
			texts = append(texts, payload)
		}
	}
	return texts
}

// Hostile stores the payloads wherever users can store a text, and leaves them in records of
// sessions. It returns texts that pages must show: by what they are, one of each.
func (s *Tidegate) Hostile(t testing.TB) map[string]string {
	t.Helper()
	ctx := s.As(t, "admin", s.Password)
	all, names := strings.Join(Payloads(), " "), packed(100)
	s.hostileUser(t, ctx, names[0])
	catalog := catalogv1.NewCatalogServiceClient(s.Conn)
	applications, subscriptions := subscriptionv1.NewApplicationServiceClient(s.Conn), subscriptionv1.NewSubscriptionServiceClient(s.Conn)
	backend := "ws" + strings.TrimPrefix(silent(t), "http")
	// What lists have first has more than the others.
	slices.SortFunc(names, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	var first *catalogv1.Version
	var app *subscriptionv1.Application
	for i, name := range names {
		plan, err := catalog.CreatePlan(ctx, &catalogv1.CreatePlanRequest{Plan: &catalogv1.Plan{DisplayName: name, Description: all, PriceLabel: name, Billing: catalogv1.Plan_BILLING_COMMERCIAL, Limits: sessionsOfMonth()}})
		must(t, err)
		api, err := catalog.CreateApi(ctx, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: name, Context: "/h" + string(rune('a'+i%26)) + string(rune('a'+i/26)), Description: all}})
		must(t, err)
		v, err := catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: api.GetName(), Version: &catalogv1.Version{
			Version: "1", Description: all, Tags: packed(50)[:20], Plans: []string{plan.GetName()},
			Endpoints: &catalogv1.Endpoints{
				Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: backend + "/" + strings.Join(strings.Fields(strings.NewReplacer("#", "", "{", "", "}", "").Replace(name)), "")}}},
				ProductionConnection: &catalogv1.Connection{Credential: &catalogv1.Connection_Basic{Basic: &catalogv1.BasicCredential{
					User: visible(name), Password: &catalogv1.Secret{Value: "p"},
				}}},
				Sandbox: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: backend}}},
			},
			Http: &catalogv1.HTTPOptions{Endpoints: &catalogv1.Endpoints{
				Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: "http://127.0.0.1:1"}}}, Sandbox: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: "http://127.0.0.1:1"}}},
			}},
		}})
		must(t, err)
		v, err = catalog.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: v.GetName()})
		must(t, err)
		a, err := applications.CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{Application: &subscriptionv1.Application{DisplayName: name, Description: all}})
		must(t, err)
		_, err = subscriptions.CreateSubscription(ctx, &subscriptionv1.CreateSubscriptionRequest{
			Subscription: &subscriptionv1.Subscription{Application: a.GetName(), Version: v.GetName(), Plan: plan.GetName()},
		})
		must(t, err)
		if i == 0 {
			first, app = v, a
			_, err := catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: api.GetName(), SourceVersion: v.GetName(), Version: &catalogv1.Version{Version: "2"}})
			must(t, err)
		}
	}
	api, _, _ := strings.Cut(first.GetName(), "/versions/")
	_, err := catalogv1.NewDenyRuleServiceClient(s.Conn).CreateDenyRule(ctx, &catalogv1.CreateDenyRuleRequest{
		DenyRule: &catalogv1.DenyRule{Api: api, ClientAddress: "203.0.113.7", Reason: packed(500)[0]},
	})
	must(t, err)
	client, err := applications.CreateOAuthClient(ctx, &subscriptionv1.CreateOAuthClientRequest{Parent: app.GetName(), OauthClient: &subscriptionv1.OAuthClient{Stage: catalogv1.Stage_STAGE_PRODUCTION}})
	must(t, err)
	_, err = applications.CreateOAuthClientSecret(ctx, &subscriptionv1.CreateOAuthClientSecretRequest{Parent: client.GetName(), OauthClientSecret: &subscriptionv1.OAuthClientSecret{}})
	must(t, err)
	_, err = subscriptionv1.NewAPIKeyServiceClient(s.Conn).CreateAPIKey(ctx, &subscriptionv1.CreateAPIKeyRequest{
		Parent: app.GetName(), ApiKey: &subscriptionv1.APIKey{DisplayName: names[0], Stage: catalogv1.Stage_STAGE_PRODUCTION},
	})
	must(t, err)
	reason, agent := packed(100)[1], packed(250)[0]
	s.hostileSessions(t, ctx, app.GetName(), first, reason, agent)
	guess := packed(64)[0]
	s.hostileSignIn(t, ctx, guess)
	return map[string]string{"a username that was tried": guess, "a name": names[0], "a description": all, "a tag": packed(50)[0], "a close reason": reason, "a User-Agent": agent}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// sessionsOfMonth is the one limit of a plan: a quota of sessions that tests do not use up.
func sessionsOfMonth() []*catalogv1.Limit {
	return []*catalogv1.Limit{{Name: "sessions", Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{
		Unit: catalogv1.Unit_UNIT_SESSIONS, Amount: 1000000, Window: catalogv1.Quota_WINDOW_MONTH,
	}}}}
}

// hostileUser adds a user.
func (s *Tidegate) hostileUser(t testing.TB, ctx context.Context, name string) {
	t.Helper()
	_, err := identityv1.NewUserServiceClient(s.Conn).CreateUser(ctx, &identityv1.CreateUserRequest{
		User: &identityv1.User{Username: "mallory", DisplayName: name, Roles: []identityv1.User_Role{identityv1.User_ROLE_SUBSCRIBER}}, Password: UserPassword,
	})
	must(t, err)
}

// hostileSignIn leaves a sign-in with a username that is none in the security log.
func (s *Tidegate) hostileSignIn(t testing.TB, ctx context.Context, username string) {
	t.Helper()
	if _, err := s.signIn(ctx, username, "a guess"); err == nil {
		t.Fatal("a user that is none signs in")
	}
	security := identityv1.NewSecurityEventServiceClient(s.Conn)
	for deadline := time.Now().Add(patience); ; {
		list, err := security.ListSecurityEvents(ctx, &identityv1.ListSecurityEventsRequest{Filter: `event = "SIGN_IN_FAILED"`})
		must(t, err)
		if len(list.GetSecurityEvents()) > 0 {
			return
		}
		if time.Now().After(deadline) {
			must(t, errors.New("the failed sign-in does not come into the security log"))
		}
	}
}

// hostileSessions leaves a live session, the record of one that its client has ended, and
// that of a refused handshake.
func (s *Tidegate) hostileSessions(t testing.TB, ctx context.Context, app string, v *catalogv1.Version, reason, agent string) {
	t.Helper()
	token, err := subscriptionv1.NewTokenServiceClient(s.Conn).IssueApplicationToken(ctx, &subscriptionv1.IssueApplicationTokenRequest{Application: app, Version: v.GetName()})
	must(t, err)
	address := s.WS + "/haa/1"
	for range 2 {
		conn, _, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + token.GetAccessToken()}}}) //nolint:bodyclose // Dial has read the body
		must(t, err)
		if reason == "" {
			t.Cleanup(func() { _ = conn.CloseNow() })
			continue
		}
		must(t, conn.Close(4242, reason))
		reason = ""
	}
	_, resp, err := websocket.Dial(ctx, s.WS+"/none/"+url.PathEscape(agent), &websocket.DialOptions{HTTPHeader: http.Header{"User-Agent": {agent}}}) //nolint:bodyclose // Dial has read the body
	if err == nil || resp == nil {
		t.Fatal("a handshake for no version was not answered")
	}
	usage := usagev1.NewUsageServiceClient(s.Conn)
	for deadline := time.Now().Add(patience); ; {
		list, err := usage.ListSessionRecords(ctx, &usagev1.ListSessionRecordsRequest{})
		must(t, err)
		quotas, err := usagev1.NewQuotaServiceClient(s.Conn).ListQuotaUses(ctx, &usagev1.ListQuotaUsesRequest{})
		must(t, err)
		if len(list.GetSessionRecords()) >= 2 && len(quotas.GetQuotaUses()) > 0 {
			return
		}
		if time.Now().After(deadline) {
			must(t, errors.New("the records, or what was used of a quota, do not come"))
		}
	}
}

// silent starts a backend that takes sessions and says nothing.
func silent(t testing.TB) string {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = conn.CloseNow() }()
		_, _, _ = conn.Read(ctx)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(stop)
	return server.URL
}

// resource is an id in an address.
var resource = regexp.MustCompile(`/[^/]*[0-9][^/]*`)

// Crawl opens all that links lead to from the pages at these paths, of pages that differ
// only in what they are about at most so many, with and without a query, and returns the
// paths.
func (b *Browser) Crawl(most int, from ...string) []string {
	b.t.Helper()
	var paths []string
	seen := map[string][]string{} // paths by what they have in common
	for len(from) > 0 {
		path := from[0]
		from = from[1:]
		page, query, _ := strings.Cut(path, "?")
		kind := resource.ReplaceAllString(page, "/*")
		if query != "" {
			kind += "?"
		}
		if len(seen[kind]) == most || slices.Contains(seen[kind], path) || page == "/docs" || strings.HasPrefix(page, "/assets/") {
			continue
		}
		seen[kind] = append(seen[kind], path)
		p := b.Tab().Open(path)
		paths = append(paths, path)
		if p.URL.RequestURI() != path {
			continue // a redirect, to what is listed by itself
		}
		for _, to := range p.Attributes("href") {
			if to, _, _ = strings.Cut(to, "#"); strings.HasPrefix(to, "/") {
				from = append(from, to)
			}
		}
	}
	slices.Sort(paths)
	return paths
}

// visible is a text as the user of a backend can have it: "user" where nothing is left.
func visible(text string) string {
	only := strings.Map(func(c rune) rune {
		if c <= ' ' || c > '~' || c == ':' {
			return -1
		}
		return c
	}, text)
	return cmp.Or(only[:min(len(only), 255)], "user")
}
