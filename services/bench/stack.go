package bench

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/seal"
)

// password is the administrator's password during a run.
const password = "only-for-this-benchmark"

// stack is catalog, subscription and gateway as processes of their own on
// loopback and SQLite.
type stack struct {
	dir                   string
	catalog, subscription string   // addresses
	edges                 []string // addresses of the gateways
	signIn, users         string   // addresses of subscription and catalog for users
	postgres              string   // URL of the subscription service's database, of which there are two replicas then; empty for SQLite and one
	revokeAt              string   // address of subscription for users, where it is not the replica that gateways call
	subscriber            subscriber
	procs                 []*process
	gateways              []*process
}

// startTidegate starts Tidegate in front of the backend, from the binaries in the
// folder above dir, with as many gateways, and returns them with a token and an API key that
// they accept.
// Only the gateways' processes count; authentication and metering are on. stop is never nil.
func startTidegate(ctx context.Context, dir, backend string, p promise, gateways int) (t *target, stop func(), err error) {
	return (&stack{dir: dir}).startTarget(ctx, backend, p, gateways)
}

// startTarget does what startTidegate says.
func (s *stack) startTarget(ctx context.Context, backend string, p promise, gateways int) (t *target, stop func(), err error) {
	stop = s.stop
	if err := s.start(ctx, gateways); err != nil {
		return nil, stop, err
	}
	made, err := s.publish(ctx, backend, p)
	if err != nil {
		return nil, stop, err
	}
	t = &target{
		name: "Tidegate", addr: s.edges[0], more: s.edges[1:], path: "/bench/1.0.0",
		header: "Authorization: Bearer " + made.token + "\r\n",
		keyed:  door{"/bench/2.0.0", "apikey: " + made.key + "\r\n"},
		signIn: s.signIn, catalog: s.users, plan: made.plan,
	}
	for _, g := range s.gateways {
		t.procs = append(t.procs, func() []int { return []int{g.cmd.Process.Pid} })
	}
	for _, g := range t.gateways() {
		for _, as := range []*target{g, g.withKey()} {
			if err := waitHandshake(ctx, as); err != nil {
				return nil, stop, fmt.Errorf("the gateway does not answer: %w\n%s", err, s.logs())
			}
		}
	}
	return t, stop, nil
}

func (s *stack) stop() {
	for _, p := range slices.Backward(s.procs) {
		p.stop()
	}
}

// buildTidegate builds the services into dir.
func buildTidegate(ctx context.Context, dir string) error {
	const module = "github.com/tidegatehq/tidegate/services/"
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", dir+"/",
		module+"catalog/cmd/catalog", module+"subscription/cmd/subscription", module+"gateway/cmd/gateway")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as deploy/build does
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the services: %w\n%s", err, out)
	}
	return nil
}

func (s *stack) start(ctx context.Context, gateways int) error {
	master, admin := filepath.Join(s.dir, "master-key"), filepath.Join(s.dir, "password")
	if _, err := seal.Create(master); err != nil {
		return err
	}
	if err := os.WriteFile(admin, []byte(password), 0o600); err != nil {
		return err
	}
	free := make([]string, 6+2*gateways)
	for i := range free {
		addr, err := freeAddr()
		if err != nil {
			return err
		}
		free[i] = addr
	}
	s.catalog, s.subscription, s.signIn, s.users = free[0], free[1], free[2], free[3]
	s.revokeAt = s.signIn
	replica := func(instance, users, internal string) service {
		return service{"subscription", []string{
			"-db", cmp.Or(s.postgres, "sqlite:"+filepath.Join(s.dir, "subscription.db")), "-issuer", "https://localhost:9443",
			"-admin-password-file", admin, "-master-key-file", master, "-instance", instance,
			"-catalog", s.catalog, "-grpc", users, "-grpc-internal", internal, "-ops", "",
		}}
	}
	services := []service{
		replica("subscription-1", s.signIn, s.subscription),
		{"catalog", []string{
			"-db", "sqlite:" + filepath.Join(s.dir, "catalog.db"),
			"-master-key-file", master, "-subscription", s.subscription, "-grpc", s.users, "-grpc-internal", s.catalog, "-ops", "",
		}},
	}
	for i := range gateways {
		edge, internal := free[6+2*i], free[7+2*i]
		s.edges = append(s.edges, edge)
		services = append(services, service{"gateway", []string{
			"-ws", edge, "-wss", "", "-catalog", s.catalog, "-subscription", s.subscription,
			"-master-key-file", master, "-routes-file", filepath.Join(s.dir, fmt.Sprint("routes-", i)),
			"-dial-loopback", "-max-handshake-rate", "0", "-grpc", "", "-grpc-internal", internal, "-ops", "", "-drain", "1s",
		}})
	}
	if s.postgres != "" {
		s.revokeAt = free[4]
		services = append(services, replica("subscription-2", free[4], free[5]))
	}
	// They end in their order, by stop: a gateway whose services end with it waits for them.
	ctx = context.WithoutCancel(ctx)
	for _, svc := range services {
		p, err := start(ctx, s.logFile(svc.name), filepath.Join(filepath.Dir(s.dir), svc.name), svc.args...)
		if err != nil {
			return err
		}
		s.procs = append(s.procs, p)
		if svc.name == "gateway" {
			s.gateways = append(s.gateways, p)
		}
	}
	return nil
}

// service is a program and its options.
type service struct {
	name string
	args []string
}

// logFile is where all processes of a service write.
func (s *stack) logFile(name string) string { return filepath.Join(s.dir, name+".log") }

// logs returns the logs of the services.
func (s *stack) logs() string {
	var all strings.Builder
	for _, name := range []string{"catalog", "subscription", "gateway"} {
		b, _ := os.ReadFile(s.logFile(name))
		fmt.Fprintf(&all, "%s:\n%s", name, b)
	}
	return all.String()
}

// published is what clients of the backend's API need.
type published struct {
	token string // of an application, for version 1.0.0
	key   string // an API key of it, for version 2.0.0, which has no other scheme
	plan  string // of its subscriptions
	by    subscriber
}

// publish publishes an API with two versions for the backend, and subscribes an application
// to both.
func (s *stack) publish(ctx context.Context, backend string, p promise) (made published, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	defer func() {
		if err != nil {
			err = fmt.Errorf("publish the API: %w\n%s", err, s.logs())
		}
	}()
	catConn, err := dialService(s.catalog)
	if err != nil {
		return published{}, err
	}
	defer catConn.Close()
	subConn, err := dialService(s.subscription)
	if err != nil {
		return published{}, err
	}
	defer subConn.Close()
	if ctx, err = signedIn(ctx, subConn); err != nil {
		return published{}, err
	}
	catalog := catalogv1.NewCatalogServiceClient(catConn)
	plans, err := p.make(ctx, catalog)
	if err != nil {
		return published{}, err
	}
	versions, err := publishAPI(ctx, catalog, backend, plans)
	if err != nil {
		return published{}, err
	}
	made, err = subscribe(ctx, subConn, versions, plans)
	s.subscriber = made.by
	made.plan = plans.subscription
	return made, err
}

// engine says what the subscription service's data is in.
func (s *stack) engine() string {
	if s.postgres == "" {
		return "SQLite"
	}
	return "two replicas of subscription on Postgres, of which the gateway calls the other one"
}

// subscriber is the application that uses the API.
type subscriber struct {
	application string // applications/{application}
	credentials *oauth2v1.ClientCredentials
}

// signedIn adds the administrator's token to what is called with ctx.
func signedIn(ctx context.Context, subscription *grpc.ClientConn) (context.Context, error) {
	signIns := identityv1.NewSignInServiceClient(subscription)
	in, err := signIns.SignIn(ctx, &identityv1.SignInRequest{Username: "admin", Password: password}, grpc.WaitForReady(true))
	if err != nil {
		return nil, err
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+in.AccessToken), nil
}

func dialService(addr string) (*grpc.ClientConn, error) {
	return grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
}

// publishAPI publishes the versions 1.0.0, which takes tokens, and 2.0.0, which takes API
// keys, and returns their names.
func publishAPI(ctx context.Context, catalog catalogv1.CatalogServiceClient, backend string, p plans) (versions []string, err error) {
	api, err := catalog.CreateApi(ctx, &catalogv1.CreateApiRequest{
		Api: &catalogv1.Api{DisplayName: "Bench", Context: "/bench"},
	}, grpc.WaitForReady(true))
	if err != nil {
		return nil, err
	}
	for i, scheme := range []*catalogv1.SecurityScheme{
		{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{}}},
		{Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{}}},
	} {
		v, err := catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: api.Name, Version: &catalogv1.Version{
			Version: fmt.Sprintf("%d.0.0", i+1), Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{
				{Endpoint: &catalogv1.Endpoint_Url{Url: "ws://" + backend}},
			}}, Security: []*catalogv1.SecurityScheme{scheme}, Plans: []string{p.subscription}, TrafficPlan: p.wider,
		}})
		if err != nil {
			return nil, err
		}
		if _, err = catalog.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: v.Name}); err != nil {
			return nil, err
		}
		versions = append(versions, v.Name)
	}
	return versions, nil
}

// subscribe has an application subscribe to the versions, and gets it a token and a key.
func subscribe(ctx context.Context, conn *grpc.ClientConn, versions []string, p plans) (made published, err error) {
	apps, subscriptions := subscriptionv1.NewApplicationServiceClient(conn), subscriptionv1.NewSubscriptionServiceClient(conn)
	app, err := apps.CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{
		Application: &subscriptionv1.Application{DisplayName: "Bench", Plan: p.wider},
	})
	if err != nil {
		return published{}, err
	}
	for _, version := range versions {
		if _, err = subscriptions.CreateSubscription(ctx, &subscriptionv1.CreateSubscriptionRequest{
			Subscription: &subscriptionv1.Subscription{Application: app.Name, Version: version, Plan: p.subscription},
		}); err != nil {
			return published{}, err
		}
	}
	client, err := apps.CreateOAuthClient(ctx, &subscriptionv1.CreateOAuthClientRequest{
		Parent: app.Name, OauthClient: &subscriptionv1.OAuthClient{Stage: catalogv1.Stage_STAGE_PRODUCTION},
	})
	if err != nil {
		return published{}, err
	}
	secret, err := apps.CreateOAuthClientSecret(ctx, &subscriptionv1.CreateOAuthClientSecretRequest{
		Parent: client.Name, OauthClientSecret: &subscriptionv1.OAuthClientSecret{},
	})
	if err != nil {
		return published{}, err
	}
	by := subscriber{app.Name, &oauth2v1.ClientCredentials{ClientId: client.ClientId, ClientSecret: secret.Secret}}
	issued, err := oauth2v1.NewOAuth2ServiceClient(conn).IssueToken(ctx, &oauth2v1.IssueTokenRequest{
		GrantType: "client_credentials", ClientCredentials: by.credentials,
	})
	if err != nil {
		return published{}, err
	}
	key, err := subscriptionv1.NewAPIKeyServiceClient(conn).CreateAPIKey(ctx, &subscriptionv1.CreateAPIKeyRequest{
		Parent: app.Name, ApiKey: &subscriptionv1.APIKey{DisplayName: "Bench", Stage: catalogv1.Stage_STAGE_PRODUCTION},
	})
	return published{token: issued.GetAccessToken(), key: key.GetKey(), by: by}, err
}
