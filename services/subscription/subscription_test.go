package subscription_test

import (
	"bytes"
	"context"
	"flag"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/subscription"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const (
	v1       = "apis/a/versions/v1"
	password = "the first password"
)

// place is where a service lives: its files and its catalog.
type place struct {
	t       *testing.T
	folder  string
	db      string
	catalog *catalogtest.Catalog
}

func newPlace(t *testing.T, db string) *place {
	t.Helper()
	p := &place{t: t, folder: t.TempDir(), db: db, catalog: catalogtest.New(t)}
	if p.db == "" {
		p.db = "sqlite:" + p.path("subscription.db")
	}
	if _, err := seal.Create(p.path("master")); err != nil {
		t.Fatal(err)
	}
	p.write("password", password+"\n")
	return p
}

func (p *place) path(name string) string { return filepath.Join(p.folder, name) }

func (p *place) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(p.path(name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// config returns a valid configuration, with args as additional flags.
func (p *place) config(args ...string) subscription.Config {
	p.t.Helper()
	cfg := subscription.Default()
	fs := flag.NewFlagSet("subscription", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	cfg.Flags(fs, "")
	args = append([]string{
		"-db", p.db, "-issuer", "https://tidegate.test", "-master-key-file", p.path("master"),
		"-admin-password-file", p.path("password"), "-ops", "", "-instance", "one",
	}, args...)
	if err := fs.Parse(args); err != nil {
		p.t.Fatal(err)
	}
	cfg.Catalog.Conn = p.catalog.Conn()
	return cfg
}

// service is a running service.
type service struct {
	users   identityv1.UserServiceClient
	signIns identityv1.SignInServiceClient
	apps    subscriptionv1.ApplicationServiceClient
	subs    subscriptionv1.SubscriptionServiceClient
	oauth   oauth2v1.OAuth2ServiceClient
	tokens  backplanev1.GrantServiceClient
	stop    func()
	ctx     context.Context // of the service's run
}

// start runs a service over in-memory connections.
func (p *place) start(cfg subscription.Config) *service {
	p.t.Helper()
	users, internal := memnet.Listen("users"), memnet.Listen("internal")
	cfg.GRPC.Listener, cfg.GRPC.InternalListener = users, internal
	ctx, cancel := context.WithCancel(run.Reloading(context.Background()))
	done := make(chan error, 1)
	go func() { done <- subscription.Run(ctx, cfg, slog.New(slog.DiscardHandler)) }()
	conn, err1 := users.Dial("")
	gateway, err2 := internal.Dial("gateway")
	if err1 != nil || err2 != nil {
		p.t.Fatal(err1, err2)
	}
	stop := sync.OnceFunc(func() {
		conn.Close()
		gateway.Close()
		cancel()
		if err := <-done; err != nil {
			p.t.Errorf("Run() = %v, want nil", err)
		}
	})
	p.t.Cleanup(stop)
	return &service{
		users: identityv1.NewUserServiceClient(conn), signIns: identityv1.NewSignInServiceClient(conn),
		apps: subscriptionv1.NewApplicationServiceClient(conn), subs: subscriptionv1.NewSubscriptionServiceClient(conn),
		oauth: oauth2v1.NewOAuth2ServiceClient(conn), tokens: backplanev1.NewGrantServiceClient(gateway), stop: stop, ctx: ctx,
	}
}

// TestStory runs the service twice: what was made in the first run is there in the
// second, and tokens of the first are valid.
func TestStory(t *testing.T) {
	for engine, url := range map[string]func(*testing.T) string{
		"sqlite":   func(*testing.T) string { return "" },
		"postgres": func(t *testing.T) string { return testdb.PostgresURL(t) },
	} {
		t.Run(engine, func(t *testing.T) {
			p := newPlace(t, url(t))
			s := p.start(p.config())
			ctx := signIn(t, s)
			app, err := s.apps.CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{
				Application: &subscriptionv1.Application{DisplayName: "Chat"},
			})
			must(t, err)
			client, err := s.apps.CreateOAuthClient(ctx, &subscriptionv1.CreateOAuthClientRequest{
				Parent: app.GetName(), OauthClient: &subscriptionv1.OAuthClient{Stage: catalogv1.Stage_STAGE_PRODUCTION},
			})
			must(t, err)
			secret, err := s.apps.CreateOAuthClientSecret(ctx, &subscriptionv1.CreateOAuthClientSecretRequest{
				Parent: client.GetName(), OauthClientSecret: &subscriptionv1.OAuthClientSecret{},
			})
			must(t, err)
			p.catalog.Put(catalogtest.Route(v1, "users/x", true, "plans/gold"))
			_, err = s.subs.CreateSubscription(ctx, &subscriptionv1.CreateSubscriptionRequest{
				Subscription: &subscriptionv1.Subscription{Application: app.GetName(), Version: v1, Plan: "plans/gold"},
			})
			must(t, err)
			tok, err := s.oauth.IssueToken(t.Context(), &oauth2v1.IssueTokenRequest{
				GrantType:         "client_credentials",
				ClientCredentials: &oauth2v1.ClientCredentials{ClientId: client.GetClientId(), ClientSecret: secret.GetSecret()},
			})
			must(t, err)
			s.stop()

			must(t, os.Remove(p.path("password"))) // later starts do not need it
			s = p.start(p.config())
			signIn(t, s)
			verify := &backplanev1.VerifyCredentialRequest{Credential: tok.GetAccessToken(), Version: v1, Scheme: backplanev1.CredentialScheme_CREDENTIAL_SCHEME_OAUTH2}
			resp, err := s.tokens.VerifyCredential(t.Context(), verify)
			if err != nil || resp.GetGrant().GetApplication() != app.GetName() {
				t.Errorf("VerifyCredential() after a restart = %v, %v, want a grant", resp, err)
			}
			// The watch of the catalog runs: the end of the version ends the grant.
			p.catalog.Remove(v1)
			for resp.GetDenial().GetReason() != backplanev1.Denial_REASON_NO_SUBSCRIPTION {
				resp, err = s.tokens.VerifyCredential(t.Context(), verify)
				must(t, err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestReplicasStartAtOnce starts four replicas on a new database.
func TestReplicasStartAtOnce(t *testing.T) {
	p := newPlace(t, testdb.PostgresURL(t))
	var all []*service
	for range 4 {
		all = append(all, p.start(p.config()))
	}
	var kids []string
	for _, s := range all {
		keys, err := s.oauth.GetJsonWebKeySet(t.Context(), &oauth2v1.GetJsonWebKeySetRequest{})
		must(t, err)
		if len(keys.GetKeys()) != 1 {
			t.Fatalf("GetJsonWebKeySet() = %v, want one key", keys)
		}
		kids = append(kids, keys.GetKeys()[0].GetKid())
		signIn(t, s)
	}
	for _, kid := range kids {
		if kid != kids[0] {
			t.Errorf("keys of the replicas = %v, want the same", kids)
		}
	}
}

// TestRotation runs the service with keys that sign for a second.
func TestRotation(t *testing.T) {
	p := newPlace(t, "")
	s := p.start(p.config("-signing-key-rotate", "600ms", "-signing-key-lead", "300ms"))
	seen := map[string]bool{}
	for len(seen) < 3 {
		keys, err := s.oauth.GetJsonWebKeySet(t.Context(), &oauth2v1.GetJsonWebKeySetRequest{})
		must(t, err)
		for _, k := range keys.GetKeys() {
			seen[k.GetKid()] = true
		}
		signIn(t, s)
	}
}

// TestStartRefusals starts with bad files and bad databases.
func TestStartRefusals(t *testing.T) {
	p := newPlace(t, "")
	s := p.start(p.config())
	signIn(t, s)
	s.stop()
	fresh := func() string { return "sqlite:" + filepath.Join(t.TempDir(), "new.db") }
	if _, err := seal.Create(p.path("other")); err != nil {
		t.Fatal(err)
	}
	p.write("short", "elevenchars\n")
	p.write("long", strings.Repeat("x", 129))
	p.write("guessed", "Qwerty123456\n")
	p.write("named", "the admin's own one\n")
	p.write("twelve", "twelve chars\r\n")
	p.write("latin1", "caf\xe9 caf\xe9 caf\xe9")
	p.write("open", "x")
	must(t, os.Chmod(p.path("open"), 0o644))
	catalogs := fresh()
	db, err := sqldb.OpenSchema(t.Context(), catalogs, sqldb.Schema{Service: "catalog"})
	must(t, err)
	db.Close()
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"the catalog's database", []string{"-db", catalogs}, "-db: this database belongs to the catalog service"},
		{"another issuer", []string{"-issuer", "https://elsewhere.test"},
			"-issuer: the issuer was fixed at the first start as https://tidegate.test and cannot become https://elsewhere.test"},
		{"another master key", []string{"-master-key-file", p.path("other")},
			"-master-key-file: " + p.path("other") + " does not have the master key that this database was made with"},
		{"no master key", []string{"-master-key-file", p.path("none")}, "read master key: stat " + p.path("none") + ": no such file or directory"},
		{"an open master key", []string{"-master-key-file", p.path("open")},
			"read master key: " + p.path("open") + " has mode 0644, others can read it: chmod 600 it, or 640 for a group of this process"},
		{"no password", []string{"-db", fresh(), "-admin-password-file", ""},
			"-admin-password-file: at the first start a file with the administrator's password is needed"},
		{"no such password file", []string{"-db", fresh(), "-admin-password-file", p.path("none")},
			"-admin-password-file: read password: open " + p.path("none") + ": no such file or directory"},
		{"a short password", []string{"-db", fresh(), "-admin-password-file", p.path("short")},
			"-admin-password-file: the password must have 12 to 128 characters"},
		{"a long password", []string{"-db", fresh(), "-admin-password-file", p.path("long")},
			"-admin-password-file: the password must have 12 to 128 characters"},
		{"a password that is guessed first", []string{"-db", fresh(), "-admin-password-file", p.path("guessed")},
			"-admin-password-file: the password is one of those that are guessed first: choose another"},
		{"a password with the administrator's name", []string{"-db", fresh(), "-admin-password-file", p.path("named")},
			"-admin-password-file: the password must not contain the user name"},
		{"a password that is not UTF-8", []string{"-db", fresh(), "-admin-password-file", p.path("latin1")},
			"-admin-password-file: the password must be UTF-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := p.config(tt.args...)
			cfg.GRPC.Listener, cfg.GRPC.InternalListener = memnet.Listen("users"), memnet.Listen("internal")
			err := subscription.Run(t.Context(), cfg, slog.New(slog.DiscardHandler))
			if err == nil || err.Error() != tt.want {
				t.Errorf("Run() =\n %v, want\n %s", err, tt.want)
			}
		})
	}
	// A password of exactly 12 characters, with the line end of another system.
	twelve := p.start(p.config("-db", fresh(), "-admin-password-file", p.path("twelve")))
	if _, err := twelve.signIns.SignIn(t.Context(), &identityv1.SignInRequest{Username: "admin", Password: "twelve chars"}); err != nil {
		t.Errorf("SignIn() = %v", err)
	}
}

// TestMasterKeyRotation puts a new master key in front of the old one, and then
// takes the old one away.
func TestMasterKeyRotation(t *testing.T) {
	p := newPlace(t, "")
	s := p.start(p.config())
	signIn(t, s)
	s.stop()
	if _, err := seal.Create(p.path("new")); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(p.path("master"))
	must(t, err)
	fresh, err := os.ReadFile(p.path("new"))
	must(t, err)
	for _, text := range [][]byte{append(bytes.Clone(fresh), old...), fresh} {
		p.write("master", string(text))
		s := p.start(p.config())
		signIn(t, s)
		s.stop()
	}
}

// TestMasterKeyIsReadAgain replaces the master key of a running service in the same
// steps. A file without the key that is in use changes nothing.
func TestMasterKeyIsReadAgain(t *testing.T) {
	p := newPlace(t, "")
	s := p.start(p.config())
	signIn(t, s)
	if _, err := seal.Create(p.path("new")); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(p.path("master"))
	must(t, err)
	fresh, err := os.ReadFile(p.path("new"))
	must(t, err)
	p.write("master", string(fresh))
	if err := run.Reload(s.ctx); err == nil || !strings.Contains(err.Error(), "does not have the key that is in use") {
		t.Errorf("Reload of another key = %v, want a refusal", err)
	}
	for _, text := range [][]byte{append(bytes.Clone(old), fresh...), append(bytes.Clone(fresh), old...), fresh} {
		p.write("master", string(text))
		must(t, run.Reload(s.ctx))
		signIn(t, s)
	}
	s.stop()
	signIn(t, p.start(p.config()))
}

// TestCheck reports all mistakes at once.
func TestCheck(t *testing.T) {
	p := newPlace(t, "")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, ""},
		{[]string{"-signing-key-rotate", "0"}, ""},
		{[]string{"-issuer", "https://example.com:9443/path"}, ""},
		{[]string{"-db", "mysql://x", "-issuer", "", "-master-key-file", "", "-instance", "A"},
			"-db: must start with postgres:// or sqlite:\n" +
				"-issuer: a URL is needed, such as https://tidegate.example.com\n" +
				"-master-key-file: a file is needed\n" +
				`-instance: "A" is not 1 to 63 characters of a-z, 0-9 and - with a letter or digit at both ends`},
		{[]string{"-token-lifetime", "0", "-user-token-lifetime", "16m", "-refresh-token-lifetime", "1m", "-audit-keep", "1h", "-records-keep", "1s", "-usage-minutes-keep", "1m", "-usage-keep", "1h", "-usage-days-keep", "1h"},
			"-token-lifetime: must be at least 1s\n" +
				"-user-token-lifetime: must be at most 15m0s\n" +
				"-refresh-token-lifetime: must be at least 16m0s\n" +
				"-audit-keep: must be 0, or at least 168h0m0s\n" +
				"-records-keep: must be 0, or at least 1h0m0s\n" +
				"-usage-minutes-keep: must be 0, or at least 1h0m0s\n" +
				"-usage-keep: must be 0, or at least 24h0m0s\n" +
				"-usage-days-keep: must be 0, or at least 24h0m0s"},
		{[]string{"-usage-minutes-keep", "0", "-usage-days-keep", "9000h"},
			"-usage-keep: must be 0, or at least as long as -usage-minutes-keep\n" +
				"-usage-days-keep: must be 0, or at least as long as -usage-keep"},
		{[]string{"-signing-key-rotate", "10m"}, "-signing-key-rotate: must be 0, or longer than -signing-key-lead"},
		{[]string{"-signing-key-lead", "0"}, "-signing-key-lead: must be more than 0, or tokens would be signed with a key that nobody knows yet"},
		{[]string{"-issuer", "http://example.com"},
			`-issuer: "http://example.com" is not an https URL without user, query, fragment and a slash at its end`},
		{[]string{"-issuer", "https://example.com/"},
			`-issuer: "https://example.com/" is not an https URL without user, query, fragment and a slash at its end`},
		{[]string{"-issuer", "https://u@example.com?x"},
			`-issuer: "https://u@example.com?x" is not an https URL without user, query, fragment and a slash at its end`},
		{[]string{"-grpc", "x", "-ops", "y"}, "-grpc: \"x\" is not host:port\n-ops: \"y\" is not host:port"},
	} {
		cfg := p.config(tt.args...)
		got := ""
		if err := cfg.Check(); err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("Check(%q) =\n%s\nwant\n%s", tt.args, got, tt.want)
		}
	}
}

// TestWrongFlagsExitWith2 runs the program as from a shell.
func TestWrongFlagsExitWith2(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"-db", "x"}, "subscription: -db: must start with postgres:// or sqlite:\nsubscription: -master-key-file: a file is needed\n"},
		{[]string{"-audit-keep", "long", "-token-lifetime", "0"}, "subscription: -audit-keep: invalid value \"long\": want a duration with its unit, such as 300ms, 10s, 5m or 24h\n" +
			"subscription: -master-key-file: a file is needed\nsubscription: -token-lifetime: must be at least 1s\n"},
	} {
		var out bytes.Buffer
		cfg := subscription.Default()
		code := run.Exec(t.Context(), run.Program{
			Name: "subscription", Args: tt.args, Env: []string{"TIDEGATE_SUBSCRIPTION_ISSUER=https://a.test"}, Stdout: &out, Stderr: &out,
		}, func(fs *flag.FlagSet) { cfg.Flags(fs, "") }, cfg.Check, func(ctx context.Context, log *slog.Logger) error {
			return subscription.Run(ctx, cfg, log)
		})
		if code != 2 || out.String() != tt.want {
			t.Errorf("%q: exit code %d and\n%s\nwant 2 and\n%s", tt.args, code, out.String(), tt.want)
		}
	}
}

func TestOnlyDefaultMakesAConfig(t *testing.T) {
	err := new(subscription.Config).Check()
	for _, want := range []string{"-db: must start with", "-token-lifetime: must be", "-signing-key-lead: must be", "the gRPC of no service"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Check of a Config that Default has not made = %v, want %q in it", err, want)
		}
	}
}

// signIn signs the first administrator in, waiting for the service to start.
func signIn(t *testing.T, s *service) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	in, err := s.signIns.SignIn(ctx, &identityv1.SignInRequest{Username: "admin", Password: password})
	if status.Code(err) == codes.Unavailable {
		t.Fatalf("SignIn() = %v: the service does not run", err)
	}
	must(t, err)
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+in.GetAccessToken())
}
