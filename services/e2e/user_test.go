package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/tidegatehq/tidegate/gen"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// user is somebody who is signed in over gRPC.
type user struct {
	stack   *Stack
	name    string
	token   string
	catalog catalogv1.CatalogServiceClient
	changes changev1.ChangeServiceClient
	signIns identityv1.SignInServiceClient
	users   identityv1.UserServiceClient
	apps    subscriptionv1.ApplicationServiceClient
	keys    subscriptionv1.APIKeyServiceClient
	subs    subscriptionv1.SubscriptionServiceClient
	tokens  subscriptionv1.TokenServiceClient

	revocations subscriptionv1.RevocationServiceClient

	oauth    oauth2v1.OAuth2ServiceClient
	usage    usagev1.UsageServiceClient
	quotas   usagev1.QuotaServiceClient
	deny     catalogv1.DenyRuleServiceClient
	sessions gatewayv1.SessionServiceClient
}

// dial connects to the public gRPC.
func (s *Stack) dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(s.GRPC, grpc.WithTransportCredentials(credentials.NewTLS(s.trust(t))))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// signIn signs somebody in.
func (s *Stack) signIn(t *testing.T, username, password string) *user {
	t.Helper()
	conn := s.dial(t)
	p := &user{
		stack:   s,
		catalog: catalogv1.NewCatalogServiceClient(conn),
		changes: changev1.NewChangeServiceClient(conn),
		signIns: identityv1.NewSignInServiceClient(conn),
		users:   identityv1.NewUserServiceClient(conn),
		apps:    subscriptionv1.NewApplicationServiceClient(conn),
		keys:    subscriptionv1.NewAPIKeyServiceClient(conn),
		subs:    subscriptionv1.NewSubscriptionServiceClient(conn),
		tokens:  subscriptionv1.NewTokenServiceClient(conn),

		revocations: subscriptionv1.NewRevocationServiceClient(conn),

		oauth:    oauth2v1.NewOAuth2ServiceClient(conn),
		usage:    usagev1.NewUsageServiceClient(conn),
		quotas:   usagev1.NewQuotaServiceClient(conn),
		deny:     catalogv1.NewDenyRuleServiceClient(conn),
		sessions: gatewayv1.NewSessionServiceClient(conn),
	}
	in, err := p.signIns.SignIn(within(t), &identityv1.SignInRequest{Username: username, Password: password})
	if err != nil {
		t.Fatalf("SignIn(%q) = %v", username, err)
	}
	p.token, p.name = in.GetAccessToken(), in.GetUser().GetName()
	return p
}

// admin signs the first administrator in.
func (s *Stack) admin(t *testing.T) *user {
	t.Helper()
	return s.signIn(t, "admin", s.password(t))
}

// ctx returns a context for calls of the user's.
func (p *user) ctx(t *testing.T) context.Context {
	return metadata.AppendToOutgoingContext(within(t), "authorization", "Bearer "+p.token)
}

// product is an API with an application that is subscribed to it.
type product struct {
	path         string // at the gateway
	api          *catalogv1.Api
	version      *catalogv1.Version
	app          *subscriptionv1.Application
	subscription *subscriptionv1.Subscription
	oauthClient  *subscriptionv1.OAuthClient
	secret       *subscriptionv1.OAuthClientSecret
}

// quotaByDay gives the product's subscription a plan with a quota by the day: that of Gold,
// by the minute, has no row any more when the minute turns.
func (p *user) quotaByDay(t *testing.T, x *product) {
	t.Helper()
	if _, err := p.subs.UpdateSubscription(p.ctx(t), &subscriptionv1.UpdateSubscriptionRequest{
		Subscription: &subscriptionv1.Subscription{Name: x.subscription.GetName(), Plan: p.plan(t, "AsyncGold")},
	}); err != nil {
		t.Fatal(err)
	}
}

// publish makes an API in front of backend, and everything that is needed to
// talk to it, over gRPC.
func (p *user) publish(t *testing.T, name, backend string) *product {
	t.Helper()
	ctx := p.ctx(t)
	x := &product{path: "/" + strings.ToLower(name) + "/1.0.0"}
	var err error
	try := func(what string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	gold := p.plan(t, "Gold")
	x.api, err = p.catalog.CreateApi(ctx, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: name, Context: "/" + strings.ToLower(name)}})
	try("CreateApi")
	x.version, err = p.catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: x.api.GetName(), Version: &catalogv1.Version{
		Version: "1.0.0", Endpoints: &catalogv1.Endpoints{Production: endpoint(backend)}, Plans: []string{gold},
	}})
	try("CreateVersion")
	x.version = p.publishVersion(t, x.version.GetName())
	of := p.application(t, name+" client")
	x.app, x.oauthClient, x.secret = of.app, of.oauthClient, of.secret
	x.subscription = p.subscribe(t, x.app.GetName(), x.version.GetName())
	return x
}

// application makes an application with an OAuth client.
func (p *user) application(t *testing.T, name string) *product {
	t.Helper()
	ctx, x := p.ctx(t), &product{}
	var err error
	try := func(what string) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	x.app, err = p.apps.CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{Application: &subscriptionv1.Application{DisplayName: name}})
	try("CreateApplication")
	x.oauthClient, err = p.apps.CreateOAuthClient(ctx, &subscriptionv1.CreateOAuthClientRequest{
		Parent: x.app.GetName(), OauthClient: &subscriptionv1.OAuthClient{Stage: catalogv1.Stage_STAGE_PRODUCTION},
	})
	try("CreateOAuthClient")
	x.secret, err = p.apps.CreateOAuthClientSecret(ctx, &subscriptionv1.CreateOAuthClientSecretRequest{
		Parent: x.oauthClient.GetName(), OauthClientSecret: &subscriptionv1.OAuthClientSecret{},
	})
	try("CreateOAuthClientSecret")
	return x
}

// subscribe subscribes an application to a version.
func (p *user) subscribe(t *testing.T, app, version string) *subscriptionv1.Subscription {
	t.Helper()
	subscription, err := p.subs.CreateSubscription(p.ctx(t), &subscriptionv1.CreateSubscriptionRequest{Subscription: &subscriptionv1.Subscription{
		Application: app, Version: version, Plan: p.plan(t, "Gold"),
	}})
	if err != nil {
		t.Fatalf("CreateSubscription: %v", err)
	}
	return subscription
}

// plan returns the resource name of a plan.
func (p *user) plan(t *testing.T, name string) string {
	t.Helper()
	list, err := p.catalog.ListPlans(p.ctx(t), &catalogv1.ListPlansRequest{Filter: fmt.Sprintf("display_name = %q", name)})
	if err != nil || len(list.GetPlans()) != 1 {
		t.Fatalf("ListPlans(%q) = %v, %v, want one", name, list, err)
	}
	return list.GetPlans()[0].GetName()
}

// endpoint is a stage with one endpoint.
func endpoint(url string) []*catalogv1.Endpoint {
	return []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: url}}}
}

// publishVersion publishes a version and waits until gateways know.
func (p *user) publishVersion(t *testing.T, name string) *catalogv1.Version {
	t.Helper()
	var header metadata.MD
	v, err := p.catalog.PublishVersion(p.ctx(t), &catalogv1.PublishVersionRequest{Name: name}, grpc.Header(&header))
	return p.moved(t, v, header, err)
}

// demote demotes a version and waits until gateways know.
func (p *user) demote(t *testing.T, name string) *catalogv1.Version {
	t.Helper()
	var header metadata.MD
	v, err := p.catalog.DemoteVersion(p.ctx(t), &catalogv1.DemoteVersionRequest{Name: name}, grpc.Header(&header))
	return p.moved(t, v, header, err)
}

// moved waits until gateways know a version's new state.
func (p *user) moved(t *testing.T, v *catalogv1.Version, header metadata.MD, err error) *catalogv1.Version {
	t.Helper()
	if err != nil {
		t.Fatalf("the transition failed: %v", err)
	}
	change := strings.Join(header.Get(gen.ChangeHeader), "")
	applied, err := p.changes.WaitChange(p.ctx(t), &changev1.WaitChangeRequest{Name: change})
	if err != nil || !applied.GetApplied() {
		t.Fatalf("WaitChange(%q) = %v, %v", change, applied, err)
	}
	return v
}

// accessToken gets a token of the product's application.
func (p *user) accessToken(t *testing.T, x *product) string {
	t.Helper()
	token, err := p.oauth.IssueToken(within(t), &oauth2v1.IssueTokenRequest{
		GrantType: "client_credentials", ClientCredentials: credentialsOf(x),
	})
	if err != nil {
		t.Fatalf("IssueToken: %v", err)
	}
	return token.GetAccessToken()
}

func credentialsOf(x *product) *oauth2v1.ClientCredentials {
	return &oauth2v1.ClientCredentials{ClientId: x.oauthClient.GetClientId(), ClientSecret: x.secret.GetSecret()}
}
