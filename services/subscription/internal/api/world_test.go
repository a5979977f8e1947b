package api_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/tidegatehq/tidegate/gen"
	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/kit/validate"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogtest"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogwatch"
	"github.com/tidegatehq/tidegate/services/subscription/internal/password"
	"github.com/tidegatehq/tidegate/services/subscription/internal/securityevents"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const (
	issuerURL     = "https://tidegate.test"
	adminPassword = "the first password"
	v1            = "apis/a/versions/v1"
	v2            = "apis/a/versions/v2"
	gold          = "plans/gold"
	silver        = "plans/silver"
)

// clients are the services as one caller reaches them.
type clients struct {
	conn     *grpc.ClientConn
	users    identityv1.UserServiceClient
	signIns  identityv1.SignInServiceClient
	security identityv1.SecurityEventServiceClient
	apps     subscriptionv1.ApplicationServiceClient
	keys     subscriptionv1.APIKeyServiceClient
	subs     subscriptionv1.SubscriptionServiceClient
	changes  changev1.ChangeServiceClient
	issue    subscriptionv1.TokenServiceClient
	revoke   subscriptionv1.RevocationServiceClient
	oauth    oauth2v1.OAuth2ServiceClient
	usage    usagev1.UsageServiceClient
	tokens   backplanev1.GrantServiceClient
	metering backplanev1.MeteringServiceClient
	quotas   usagev1.QuotaServiceClient
	ledger   backplanev1.QuotaLedgerServiceClient
}

func newClients(conn *grpc.ClientConn) clients {
	return clients{
		conn:  conn,
		users: identityv1.NewUserServiceClient(conn), signIns: identityv1.NewSignInServiceClient(conn),
		security: identityv1.NewSecurityEventServiceClient(conn),
		apps:     subscriptionv1.NewApplicationServiceClient(conn), subs: subscriptionv1.NewSubscriptionServiceClient(conn),
		keys:    subscriptionv1.NewAPIKeyServiceClient(conn),
		changes: changev1.NewChangeServiceClient(conn),
		revoke:  subscriptionv1.NewRevocationServiceClient(conn),
		oauth:   oauth2v1.NewOAuth2ServiceClient(conn), issue: subscriptionv1.NewTokenServiceClient(conn), usage: usagev1.NewUsageServiceClient(conn),
		tokens: backplanev1.NewGrantServiceClient(conn), metering: backplanev1.NewMeteringServiceClient(conn),
		quotas: usagev1.NewQuotaServiceClient(conn), ledger: backplanev1.NewQuotaLedgerServiceClient(conn),
	}
}

// world is the service with all its parts, and some users.
type world struct {
	t               *testing.T
	db              *sqldb.DB
	store           *store.Store
	issuer          *token.Issuer
	catalog         *catalogtest.Catalog
	watch           *catalogwatch.Watch // does not run: it reads
	clients                             // on the listener for users
	gateway, portal clients             // on the listener for services
	master          *seal.Key
	passwords       *token.Passwords
	refreshKey      []byte
	logs            *buffer
	kept            *securityevents.Keeper         // of the replica that started last; it does not run: Flush writes
	signUps         identityv1.SignUpPolicy_Policy // of the replicas that are started then

	mu    sync.Mutex
	clock time.Time

	// Users, as contexts that carry their token.
	root, ann, bob, guest context.Context
	// Their names.
	rootName, annName, bobName string
}

// newWorld starts the service on a database. It does not follow the catalog: it
// reads from it when it needs to.
func newWorld(t *testing.T, db *sqldb.DB) *world {
	t.Helper()
	w := &world{
		t: t, db: db, catalog: catalogtest.New(t), logs: &buffer{}, master: seal.New(), passwords: token.NewPasswords(token.DefaultWaiting()), refreshKey: token.NewRefreshKey(),
		clock: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	var users, internal *memnet.Listener
	users, internal, w.store, w.issuer = w.replica()
	w.clients = newClients(w.dial(users, ""))
	w.gateway, w.portal = newClients(w.dial(internal, identity.Gateway)), newClients(w.dial(internal, identity.Portal))
	slot, err := w.passwords.Acquire(t.Context(), token.Place{})
	w.must(err)
	w.must(w.store.Install(t.Context(), store.Installation{Issuer: issuerURL, Canary: []byte{1}, RefreshKey: []byte{1}}, slot.Hash(adminPassword)))
	slot.Release()
	admin, _, _, err := w.store.Password(t.Context(), "admin")
	w.must(err)
	w.rootName = store.UserName(admin.ID)
	w.root = w.as(w.rootName, "admin")
	w.ann, w.annName = w.user("ann", "subscriber")
	w.bob, w.bobName = w.user("bob", "subscriber", "creator")
	w.guest, _ = w.user("guest", "creator")
	return w
}

// replica starts another replica of the service on the same database.
func (w *world) replica() (users, internal *memnet.Listener, st *store.Store, issuer *token.Issuer) {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	security, err := securitylog.Open("", log, w.now)
	w.must(err)
	rules, err := password.NewRules()
	w.must(err)
	changes := change.NewLog(identity.Subscription, w.db, log, w.now, 0)
	changes.Describe(api.Resource)
	st = store.New(w.db, changes, w.now)
	w.kept = securityevents.New(st.AddSecurityEvents, log)
	security.Tell(w.kept.Add)
	keys := token.NewKeys(st, w.master, token.Rotation{Every: 24 * time.Hour, Lead: time.Hour, MaxLifetime: time.Hour}, w.now, log)
	identities := token.NewKeys(st, w.master, token.Rotation{Of: store.BackendIdentity, Every: 24 * time.Hour, Lead: time.Hour, MaxLifetime: token.BackendIdentityLifetime}, w.now, log)
	w.must(errors.Join(keys.Start(w.t.Context()), identities.Start(w.t.Context())))
	lives := token.Lifetimes{Application: time.Hour, User: 15 * time.Minute}
	issuer = token.NewIssuer(issuerURL, keys, lives, w.now)
	hello := &backplanev1.Hello{Instance: "subscription", Kind: "subscription"}
	users, internal = memnet.Listen("subscription-users"), memnet.Listen("subscription")
	cfg := grpcserver.Default("", "")
	cfg.Listener, cfg.InternalListener = users, internal
	srv := grpcserver.New(cfg, log, grpcserver.Auth{
		Verifier: identity.NewVerifier(issuer.Keys(), st, w.now), Rules: api.Rules(), Security: security,
	}, validate.Option())
	w.watch = catalogwatch.New(backplanev1.NewRouteServiceClient(w.catalog.Conn()), st, hello, log, w.now)
	api.Register(api.Parts{
		Store: st, Changes: changes, Issuer: issuer, Keys: keys, IdentityKeys: identities, Passwords: w.passwords, PasswordRules: rules,
		Catalog:       w.watch,
		RefreshTokens: token.NewRefreshTokens(w.refreshKey), SignIns: store.Lasting{Idle: 24 * time.Hour, Most: 72 * time.Hour, Alive: 20},
		Lockout: store.Lockout{Each: 10, Name: 25, Pause: 30 * time.Second}, SignUps: w.signUps, Now: w.now, Log: log, Security: security,
	}, srv.Public(), srv.Internal())
	w.serve(changes.Run, srv.Run)
	return users, internal, st, issuer
}

// onBoth runs a test in a world on each engine.
func onBoth(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	testdb.Each(t, store.Schema(), func(t *testing.T, db *sqldb.DB) { test(t, newWorld(t, db)) })
}

// onSQLite returns a world on SQLite.
func onSQLite(t *testing.T) *world {
	t.Helper()
	return newWorld(t, testdb.SQLite(t, store.Schema()))
}

func (w *world) serve(tasks ...func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run.Group(ctx, tasks...) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("serve: %v", err)
		}
	})
}

func (w *world) dial(lis *memnet.Listener, caller string) *grpc.ClientConn {
	w.t.Helper()
	conn, err := lis.Dial(caller)
	w.must(err)
	w.t.Cleanup(func() { conn.Close() })
	return conn
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) add(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// as returns a context with a token of a user.
func (w *world) as(name string, roles ...string) context.Context {
	w.t.Helper()
	return bearer(w.t.Context(), w.userToken(name, roles...))
}

// userToken returns an access token of a user.
func (w *world) userToken(name string, roles ...string) string {
	w.t.Helper()
	raw, _, err := w.issuer.SignUser(identity.User{Name: name, Roles: roles, SignIn: "none", AsOf: w.latest()}, w.now().Add(time.Hour))
	w.must(err)
	return raw
}

func bearer(ctx context.Context, raw string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+raw)
}

// user adds a user without a password.
func (w *world) user(username string, roles ...string) (context.Context, string) {
	w.t.Helper()
	p, _, err := w.store.CreateUser(w.t.Context(), requestid.Request{}, store.User{Username: username, Roles: roles}, "")
	w.must(err)
	return w.as(store.UserName(p.ID), roles...), store.UserName(p.ID)
}

func (w *world) application(ctx context.Context, name string) *subscriptionv1.Application {
	w.t.Helper()
	a, err := w.apps.CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{
		Application: &subscriptionv1.Application{DisplayName: name},
	})
	w.must(err)
	return a
}

// oauthClient is an OAuth client with a secret that works.
type oauthClient struct {
	*subscriptionv1.OAuthClient
	secret *subscriptionv1.OAuthClientSecret
}

func (w *world) oauthClient(ctx context.Context, app string, stage catalogv1.Stage) *oauthClient {
	w.t.Helper()
	c, err := w.apps.CreateOAuthClient(ctx, &subscriptionv1.CreateOAuthClientRequest{
		Parent: app, OauthClient: &subscriptionv1.OAuthClient{Stage: stage},
	})
	w.must(err)
	return &oauthClient{OAuthClient: c, secret: w.secret(ctx, c.GetName(), nil)}
}

// secret makes a secret that expires at a time; nil means never.
func (w *world) secret(ctx context.Context, client string, expires *timestamppb.Timestamp) *subscriptionv1.OAuthClientSecret {
	w.t.Helper()
	s, err := w.apps.CreateOAuthClientSecret(ctx, createSecret(client, expires))
	w.must(err)
	return s
}

func createSecret(client string, expires *timestamppb.Timestamp) *subscriptionv1.CreateOAuthClientSecretRequest {
	return &subscriptionv1.CreateOAuthClientSecretRequest{
		Parent: client, OauthClientSecret: &subscriptionv1.OAuthClientSecret{ExpireTime: expires},
	}
}

func (w *world) subscribe(ctx context.Context, app, version string) *subscriptionv1.Subscription {
	w.t.Helper()
	s, err := w.subs.CreateSubscription(ctx, subscription(app, version, gold))
	w.must(err)
	return s
}

func subscription(app, version, plan string) *subscriptionv1.CreateSubscriptionRequest {
	return &subscriptionv1.CreateSubscriptionRequest{
		Subscription: &subscriptionv1.Subscription{Application: app, Version: version, Plan: plan},
	}
}

// publish puts published versions of Bob's into the catalog.
func (w *world) publish(names ...string) {
	w.t.Helper()
	for _, name := range names {
		w.catalog.Put(catalogtest.Route(name, w.bobName, true, gold, silver))
	}
}

// givePlan gives an application a plan, or with "" takes it.
func (w *world) givePlan(app, plan string) *subscriptionv1.Application {
	w.t.Helper()
	a, err := w.apps.UpdateApplication(w.root, &subscriptionv1.UpdateApplicationRequest{
		Application: &subscriptionv1.Application{Name: app, Plan: plan}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"plan"}},
	})
	w.must(err)
	return a
}

// hear has the service apply the catalog's change as its watch would, at once.
func (w *world) hear(routes ...*backplanev1.Route) {
	w.t.Helper()
	w.catalog.Put(routes...)
	for _, r := range routes {
		found, err := w.watch.Read(w.t.Context(), r.GetName())
		w.must(err)
		if !found {
			w.t.Fatalf("the catalog does not have %s", r.GetName())
		}
	}
}

// free is the route of a published version of Bob's, v1, that needs no subscription, or does.
func (w *world) free(is bool) *backplanev1.Route {
	r := catalogtest.Route(v1, w.bobName, true, gold, silver)
	r.Subscriptionless = is
	return r
}

func credentials(c *oauthClient) *oauth2v1.ClientCredentials {
	return &oauth2v1.ClientCredentials{ClientId: c.GetClientId(), ClientSecret: c.secret.GetSecret()}
}

// token gets an access token.
func (w *world) token(c *oauthClient) string {
	w.t.Helper()
	resp, err := w.oauth.IssueToken(w.t.Context(), &oauth2v1.IssueTokenRequest{GrantType: "client_credentials", ClientCredentials: credentials(c)})
	w.must(err)
	return resp.GetAccessToken()
}

// verify judges a credential, as the gateway does.
func (w *world) verify(credential, version string) *backplanev1.VerifyCredentialResponse {
	w.t.Helper()
	resp, err := w.gateway.tokens.VerifyCredential(w.t.Context(), &backplanev1.VerifyCredentialRequest{Credential: credential, Version: version, Scheme: backplanev1.CredentialScheme_CREDENTIAL_SCHEME_OAUTH2})
	w.must(err)
	return resp
}

// latest returns the moment of the newest change.
func (w *world) latest() moment.Moment {
	w.t.Helper()
	m, err := change.Latest(w.t.Context(), w.db)
	w.must(err)
	return m
}

func (w *world) head() uint64 {
	w.t.Helper()
	n, err := w.store.Head(w.t.Context())
	w.must(err)
	return n
}

// dump returns all rows of the service's tables except failed sign-ins, to show
// whether anything was written.
func (w *world) dump() string {
	w.t.Helper()
	var out strings.Builder
	for _, table := range []string{
		"installation", "signing_key", "identity_key", "users", "sign_in", "application", "oauth_client", "oauth_client_secret", "api_key", "api_key_value",
		"device", "version", "plan", "catalog_cursor", "subscription", "revocation", "revoked_at_version", "former_owner", "batch", "usage_series", "usage_minute", "usage_hour", "usage_day", "usage_20_days", "usage_limit_day", "usage_refused_day", "session_record", "change",
	} {
		rows, err := w.db.QueryContext(w.t.Context(), "SELECT * FROM "+table+" ORDER BY 1")
		w.must(err)
		columns, err := rows.Columns()
		w.must(err)
		for rows.Next() {
			values := make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			w.must(rows.Scan(into...))
			fmt.Fprintf(&out, "%s %q\n", table, values)
		}
		w.must(rows.Err())
		rows.Close()
	}
	return out.String()
}

// number returns the number in the header of a write's answer.
func number(t *testing.T, header metadata.MD) uint64 {
	t.Helper()
	values := header.Get(gen.ChangeHeader)
	if len(values) != 1 {
		t.Fatalf("header %s = %v, want one name", gen.ChangeHeader, values)
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(values[0], "services/subscription/changes/"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// refused checks the code and the whole message of an error.
func refused(t *testing.T, what string, err error, code codes.Code, text string) {
	t.Helper()
	if s := status.Convert(err); s.Code() != code || s.Message() != text {
		t.Errorf("%s:\n got %v %q\nwant %v %q", what, s.Code(), s.Message(), code, text)
	}
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write adds to the log.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns the log.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
