package bench

import (
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

// setup is what a Tidegate is started as.
type setup struct {
	promise  promise
	gateways int
	// replicas is how many there are of the subscription service; 0 means 1. Users call the
	// first, gateways the last.
	replicas int
	// database makes an empty database and returns its URL; nil is a file of SQLite.
	database func(context.Context) (string, error)
}

// stack is catalog, subscription and gateway as processes of their own on
// loopback.
type stack struct {
	dir                   string
	catalog, subscription string   // addresses; of the replicas the last
	edges                 []string // addresses of the gateways
	signIn, users         string   // addresses of subscription and catalog for users; of the replicas the first
	procs                 []*process
	gateways, replicas    []*process // of them, the gateways and the subscription service
}

// startTidegate starts Tidegate in front of the backend, from the binaries in the
// folder above dir, with as many gateways, and returns them with a token and an API key that
// they accept.
// Only the gateways' processes count; authentication and metering are on. stop is never nil.
func startTidegate(ctx context.Context, dir, backend string, p promise, gateways int) (t *target, stop func(), err error) {
	s := &stack{dir: dir}
	t, _, err = s.serve(ctx, backend, setup{promise: p, gateways: gateways})
	return t, s.stop, err
}

// serve starts all in front of the backend, and waits until clients get in. After an error
// stop ends what was started.
func (s *stack) serve(ctx context.Context, backend string, as setup) (t *target, made published, err error) {
	if err := s.start(ctx, as); err != nil {
		return nil, published{}, err
	}
	made, err = s.publish(ctx, backend, as.promise)
	if err != nil {
		return nil, published{}, err
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
				return nil, published{}, fmt.Errorf("the gateway does not answer: %w\n%s", err, s.logs())
			}
		}
	}
	return t, made, nil
}

func (s *stack) stop() {
	for _, p := range slices.Backward(s.procs) {
		p.stop()
	}
}

// buildTidegate builds the services into dir, unless they are there already.
func buildTidegate(ctx context.Context, dir string) error {
	return build(ctx, dir, "catalog", "subscription", "gateway")
}

// build builds services into dir, unless they are there already; tidegate is not a service,
// but all of them.
func build(ctx context.Context, dir string, services ...string) error {
	args := []string{"build", "-trimpath", "-o", dir + "/"}
	missing := 0
	for _, name := range services {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			continue
		}
		folder := name
		if name == "tidegate" {
			folder = "standalone"
		}
		args = append(args, "github.com/tidegatehq/tidegate/services/"+folder+"/cmd/"+name)
		missing++
	}
	if missing == 0 {
		return nil
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as deploy/build does
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the services: %w\n%s", err, out)
	}
	return nil
}

func (s *stack) start(ctx context.Context, as setup) error {
	master, admin := filepath.Join(s.dir, "master-key"), filepath.Join(s.dir, "password")
	if _, err := seal.Create(master); err != nil {
		return err
	}
	if err := os.WriteFile(admin, []byte(password), 0o600); err != nil {
		return err
	}
	replicas := max(as.replicas, 1)
	free, err := freeAddrs(2 + 2*replicas + 2*as.gateways)
	if err != nil {
		return err
	}
	s.catalog, s.users = free[0], free[1]
	asked, edges := free[2:2+2*replicas], free[2+2*replicas:]
	s.signIn, s.subscription = asked[0], asked[len(asked)-1]
	subscriptionDB, err := s.databaseURL(ctx, as, "subscription")
	if err != nil {
		return err
	}
	catalogDB, err := s.databaseURL(ctx, as, "catalog")
	if err != nil {
		return err
	}
	var services []service
	for i := range replicas {
		services = append(services, service{"subscription", []string{
			"-db", subscriptionDB, "-issuer", "https://localhost:9443", "-instance", fmt.Sprint("subscription-", i),
			"-admin-password-file", admin, "-master-key-file", master,
			"-catalog", s.catalog, "-grpc", asked[2*i], "-grpc-internal", asked[2*i+1], "-ops", "",
		}})
	}
	services = append(services, service{"catalog", []string{
		"-db", catalogDB, "-master-key-file", master, "-subscription", asked[1],
		"-grpc", s.users, "-grpc-internal", s.catalog, "-ops", "",
	}})
	for i := range as.gateways {
		edge, internal := edges[2*i], edges[2*i+1]
		s.edges = append(s.edges, edge)
		services = append(services, service{"gateway", []string{
			"-ws", edge, "-wss", "", "-catalog", s.catalog, "-subscription", s.subscription,
			"-master-key-file", master, "-routes-file", filepath.Join(s.dir, fmt.Sprint("routes-", i)),
			"-dial-loopback", "-max-handshake-rate", "0", "-grpc", "", "-grpc-internal", internal, "-ops", "", "-drain", "1s",
		}})
	}
	// They end in their order, by stop: a gateway whose services end with it waits for them.
	ctx = context.WithoutCancel(ctx)
	for _, svc := range services {
		p, err := start(ctx, s.logFile(svc.name), filepath.Join(filepath.Dir(s.dir), svc.name), svc.args...)
		if err != nil {
			return err
		}
		s.procs = append(s.procs, p)
		switch svc.name {
		case "gateway":
			s.gateways = append(s.gateways, p)
		case "subscription":
			s.replicas = append(s.replicas, p)
		}
	}
	return nil
}

// databaseURL returns the URL of a service's database, which is empty.
func (s *stack) databaseURL(ctx context.Context, as setup, service string) (string, error) {
	if as.database == nil {
		return "sqlite:" + filepath.Join(s.dir, service+".db"), nil
	}
	return as.database(ctx)
}

// freeAddrs returns n free addresses.
func freeAddrs(n int) ([]string, error) {
	free := make([]string, n)
	for i := range free {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		free[i] = addr
	}
	return free, nil
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
	token string // of an application, for versions 1.0.0 and 3.0.0, where it buys tickets
	key   string // an API key of it, for version 2.0.0, which has no other scheme
	plan  string // of its subscriptions

	versions    []string // names of the versions, in their order
	application string   // the application's name
	client      *oauth2v1.ClientCredentials
}

// publish publishes an API with three versions for the backend, and subscribes an application
// to them.
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
	if ctx, err = signedIn(ctx, subConn, password); err != nil {
		return published{}, err
	}
	return publish(ctx, catConn, subConn, backend, p)
}

// publish does what stack's does, for the administrator whose token ctx has.
func publish(ctx context.Context, catConn, subConn *grpc.ClientConn, backend string, p promise) (published, error) {
	catalog := catalogv1.NewCatalogServiceClient(catConn)
	plans, err := p.make(ctx, catalog)
	if err != nil {
		return published{}, err
	}
	versions, err := publishAPI(ctx, catalog, backend, plans)
	if err != nil {
		return published{}, err
	}
	made, err := subscribe(ctx, subConn, versions, plans)
	made.plan, made.versions = plans.subscription, versions
	return made, err
}

// signedIn adds the administrator's token to what is called with ctx.
func signedIn(ctx context.Context, subscription *grpc.ClientConn, password string) (context.Context, error) {
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

// publishAPI publishes the versions 1.0.0, which takes tokens and plain requests, too, 2.0.0, which takes API
// keys, and 3.0.0, which takes tickets, and returns their names.
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
		{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: []*catalogv1.CredentialPlace{
			{Place: &catalogv1.CredentialPlace_Ticket{Ticket: &catalogv1.TicketPlace{}}},
		}}}},
	} {
		var beside *catalogv1.HTTPOptions
		if i == 0 {
			beside = &catalogv1.HTTPOptions{Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{
				{Endpoint: &catalogv1.Endpoint_Url{Url: "http://" + backend}},
			}}}
		}
		v, err := catalog.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: api.Name, Version: &catalogv1.Version{
			Version: fmt.Sprintf("%d.0.0", i+1), Http: beside, Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{
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
	made.application = app.Name
	made.client = &oauth2v1.ClientCredentials{ClientId: client.ClientId, ClientSecret: secret.Secret}
	if made.token, err = issue(ctx, conn, made.client); err != nil {
		return published{}, err
	}
	key, err := subscriptionv1.NewAPIKeyServiceClient(conn).CreateAPIKey(ctx, &subscriptionv1.CreateAPIKeyRequest{
		Parent: app.Name, ApiKey: &subscriptionv1.APIKey{DisplayName: "Bench", Stage: catalogv1.Stage_STAGE_PRODUCTION},
	})
	made.key = key.GetKey()
	return made, err
}

// issue gets an OAuth client a token.
func issue(ctx context.Context, conn *grpc.ClientConn, client *oauth2v1.ClientCredentials) (string, error) {
	issued, err := oauth2v1.NewOAuth2ServiceClient(conn).IssueToken(ctx, &oauth2v1.IssueTokenRequest{
		GrantType: "client_credentials", ClientCredentials: client,
	})
	return issued.GetAccessToken(), err
}
