package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/tidegatehq/tidegate/gen"
	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/identity/identitytest"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/kit/validate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// fixture is a catalog that is served in memory, and users who call it.
type fixture struct {
	t     *testing.T
	db    *sqldb.DB
	store *store.Store
	// users and services are the two faces.
	users, services *memnet.Listener

	catalogv1.CatalogServiceClient
	catalogv1.DenyRuleServiceClient
	changev1.ChangeServiceClient
	routes backplanev1.RouteServiceClient

	// ann may create and publish, bob and cara only create, pete only
	// publishes, sue only subscribes, root is an administrator.
	ann, bob, cara, pete, sue, root grpc.CallOption
	signer                          *identitytest.Signer
	// uses is what the subscription service knows of plans.
	uses planDirectory
	// logs has the security events.
	logs bytes.Buffer
}

// newFixture serves the catalog in db until the test ends.
func newFixture(t *testing.T, db *sqldb.DB) *fixture {
	t.Helper()
	f := &fixture{t: t, db: db, users: memnet.Listen("users"), services: memnet.Listen("services"), signer: identitytest.New(t)}
	log := change.NewLog(identity.Catalog, db, quiet(), time.Now, 0)
	log.Describe(Resource)
	cfg := grpcserver.Default("", "")
	cfg.Listener, cfg.InternalListener, cfg.Drain = f.users, f.services, time.Second
	srv := grpcserver.New(cfg, quiet(),
		grpcserver.Auth{Verifier: f.signer.Verifier(), Rules: Rules()}, validate.Option())
	f.store = store.New(db, log, masterKey(t))
	if err := f.store.NameInstallation(t.Context()); err != nil {
		t.Fatal(err)
	}
	security, err := securitylog.Open("", slog.New(slog.NewTextHandler(&f.logs, nil)), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	New(f.store, log, directory{}, &f.uses, []string{"ws://gw:9099", "wss://gw:8099"}, security).Register(srv.Public(), srv.Internal())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run.Group(ctx, log.Run, srv.Run) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	f.CatalogServiceClient = catalogv1.NewCatalogServiceClient(f.dial(f.users, ""))
	f.DenyRuleServiceClient = catalogv1.NewDenyRuleServiceClient(f.dial(f.users, ""))
	f.ChangeServiceClient = changev1.NewChangeServiceClient(f.dial(f.users, ""))
	f.routes = backplanev1.NewRouteServiceClient(f.dial(f.services, identity.Gateway))
	f.ann = f.as("ann", identity.RoleCreator, identity.RolePublisher)
	f.bob = f.as("bob", identity.RoleCreator)
	f.cara = f.as("cara", identity.RoleCreator)
	f.pete = f.as("pete", identity.RolePublisher)
	f.sue = f.as("sue", identity.RoleSubscriber)
	f.root = f.as("root", identity.RoleAdmin)
	return f
}

// masterKey is the same in all fixtures, as in all replicas.
func masterKey(t *testing.T) *seal.Key {
	t.Helper()
	path := filepath.Join(t.TempDir(), "master-key")
	line := "tidegate-master-key-v1:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n"
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := seal.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// directory knows the users ann, bob, pete, yan, who waits for approval, and zoe, who is suspended, and is away when
// it is asked for "away".
type directory struct{}

func (directory) FindUser(_ context.Context, req *backplanev1.FindUserRequest, _ ...grpc.CallOption) (*backplanev1.FindUserResponse, error) {
	id := strings.ToLower(strings.TrimPrefix(req.GetUser(), "users/"))
	switch id {
	case "ann", "bob", "pete":
		return &backplanev1.FindUserResponse{Name: "users/" + id}, nil
	case "zoe":
		return &backplanev1.FindUserResponse{Name: "users/zoe", Suspended: true}, nil
	case "yan":
		return &backplanev1.FindUserResponse{Name: "users/yan", Pending: true}, nil
	case "away":
		return nil, status.Error(codes.Unavailable, "no connection")
	}
	return nil, status.Error(codes.NotFound, "user not found")
}

// planDirectory knows subscriptions and applications by the names of their plans. It is
// away for a plan with less than none.
type planDirectory struct {
	subscriptions, applications map[string]int64
}

func (d *planDirectory) CountPlanUse(_ context.Context, req *backplanev1.CountPlanUseRequest, _ ...grpc.CallOption) (*backplanev1.CountPlanUseResponse, error) {
	if d.subscriptions[req.GetPlan()] < 0 {
		return nil, status.Error(codes.Unavailable, "no connection")
	}
	return &backplanev1.CountPlanUseResponse{
		Subscriptions: d.subscriptions[req.GetPlan()], Applications: d.applications[req.GetPlan()],
	}, nil
}

// onSQLite is newFixture on a database of its own.
func onSQLite(t *testing.T) *fixture {
	t.Helper()
	return newFixture(t, testdb.SQLite(t, store.Schema()))
}

func (f *fixture) dial(l *memnet.Listener, caller string) *grpc.ClientConn {
	f.t.Helper()
	conn, err := l.Dial(caller)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	return conn
}

// as calls with the token of a user.
func (f *fixture) as(id string, roles ...string) grpc.CallOption {
	return identitytest.Bearer(f.signer.Token(id, roles...))
}

// api makes an API that ann owns.
func (f *fixture) api(name string) *catalogv1.Api {
	f.t.Helper()
	return f.apiOf(f.ann, name)
}

// apiOf makes an API that another user owns.
func (f *fixture) apiOf(owner grpc.CallOption, name string) *catalogv1.Api {
	f.t.Helper()
	a, err := f.CreateApi(f.t.Context(), &catalogv1.CreateApiRequest{
		Api: &catalogv1.Api{DisplayName: name, Context: "/" + strings.ToLower(name)},
	}, owner)
	if err != nil {
		f.t.Fatalf("CreateApi(%s): %v", name, err)
	}
	return a
}

// version makes a version of an API of ann's, with the plan gold.
func (f *fixture) version(api *catalogv1.Api, version string) *catalogv1.Version {
	f.t.Helper()
	v, err := f.CreateVersion(f.t.Context(), &catalogv1.CreateVersionRequest{
		Parent: api.GetName(),
		Version: &catalogv1.Version{
			Version: version, Plans: []string{"plans/gold"},
			Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://backend:9098/echo")},
		},
	}, f.ann)
	if err != nil {
		f.t.Fatalf("CreateVersion(%s): %v", version, err)
	}
	return v
}

// endpoint is a stage with one endpoint.
func endpoint(url string) []*catalogv1.Endpoint {
	return []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: url}}}
}

// oauth2 asks for an access token at places.
func oauth2(places ...*catalogv1.CredentialPlace) *catalogv1.SecurityScheme {
	return &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: &catalogv1.OAuth2Scheme{Places: places}}}
}

// anonymous asks for nothing.
func anonymous() *catalogv1.SecurityScheme {
	return &catalogv1.SecurityScheme{Scheme: &catalogv1.SecurityScheme_None{None: &catalogv1.NoneScheme{}}}
}

func inHeader(name string) *catalogv1.CredentialPlace {
	return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Header{Header: &catalogv1.HeaderPlace{Name: name}}}
}

func inQuery(name string) *catalogv1.CredentialPlace {
	return &catalogv1.CredentialPlace{Place: &catalogv1.CredentialPlace_Query{Query: &catalogv1.QueryPlace{Name: name}}}
}

// place is a place as users write it.
func place(text string) *catalogv1.CredentialPlace {
	p, err := credentialplace.Parse(text)
	if err != nil {
		panic(err)
	}
	return p
}

// demote demotes a version of ann's.
func (f *fixture) demote(v *catalogv1.Version) *catalogv1.Version {
	f.t.Helper()
	demoted, err := f.DemoteVersion(f.t.Context(), &catalogv1.DemoteVersionRequest{Name: v.GetName()}, f.ann)
	if err != nil {
		f.t.Fatalf("DemoteVersion(%s): %v", v.GetName(), err)
	}
	return demoted
}

func (f *fixture) publish(v *catalogv1.Version) *catalogv1.Version {
	f.t.Helper()
	published, err := f.PublishVersion(f.t.Context(), &catalogv1.PublishVersionRequest{Name: v.GetName()}, f.ann)
	if err != nil {
		f.t.Fatalf("PublishVersion(%s): %v", v.GetName(), err)
	}
	return published
}

// route reads the route of a version.
func (f *fixture) route(v *catalogv1.Version) *backplanev1.Route {
	f.t.Helper()
	r, err := f.routes.GetRoute(f.t.Context(), &backplanev1.GetRouteRequest{Name: v.GetName()})
	if err != nil {
		f.t.Fatalf("GetRoute(%s): %v", v.GetName(), err)
	}
	return r
}

// dump is the whole content of the database.
func (f *fixture) dump() string {
	f.t.Helper()
	var b strings.Builder
	for _, table := range []string{
		"plan", "api", "version", "version_tag", "version_plan", "version_string", "deny_rule", "change", "change_counter",
	} {
		rows, err := f.db.QueryContext(f.t.Context(), `SELECT * FROM `+table+` ORDER BY 1, 2`)
		if err != nil {
			f.t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			f.t.Fatal(err)
		}
		for rows.Next() {
			values := make([]any, len(columns))
			into := make([]any, len(columns))
			for i := range values {
				into[i] = &values[i]
			}
			if err := rows.Scan(into...); err != nil {
				f.t.Fatal(err)
			}
			for i, value := range values {
				if raw, ok := value.([]byte); ok { // else it would be a list of numbers, in which nothing is found
					values[i] = string(raw)
				}
			}
			fmt.Fprintf(&b, "%s %v\n", table, values)
		}
		if err := rows.Err(); err != nil {
			f.t.Fatal(err)
		}
		rows.Close()
	}
	return b.String()
}

// wantError checks the code and the message of a refusal, to the letter.
func wantError(t *testing.T, call string, err error, code codes.Code, message string) {
	t.Helper()
	s, ok := status.FromError(err)
	// The protobuf package puts one of two spaces into its errors, at random.
	got := strings.ReplaceAll(s.Message(), "\u00a0", " ")
	if err == nil || !ok || s.Code() != code || got != message {
		t.Errorf("%s = %v: %q,\nwant %v: %q", call, status.Code(err), got, code, message)
	}
}

// number is the number of the change that the header of an answer names.
func number(t *testing.T, header metadata.MD) uint64 {
	t.Helper()
	var n uint64
	values := header.Get(gen.ChangeHeader)
	if len(values) != 1 {
		t.Errorf("header %s = %v, want one name", gen.ChangeHeader, values)
		return 0
	}
	if _, err := fmt.Sscanf(values[0], "services/catalog/changes/%d", &n); err != nil {
		t.Errorf("header %s = %v: %v", gen.ChangeHeader, values, err)
	}
	return n
}

// names are the sorted names of resources.
func names[M interface{ GetName() string }](all []M) []string {
	var names []string
	for _, m := range all {
		names = append(names, m.GetName())
	}
	slices.Sort(names)
	return names
}

// forEach runs a test on each engine.
func forEach(t *testing.T, test func(t *testing.T, f *fixture)) {
	t.Helper()
	testdb.Each(t, store.Schema(), func(t *testing.T, db *sqldb.DB) { test(t, newFixture(t, db)) })
}

// race makes 16 calls at once, of which one has to win and the others have to be
// ABORTED.
func race(t *testing.T, call string, fn func(i int) error) {
	t.Helper()
	const callers = 16
	errs := make(chan error, callers)
	start := make(chan struct{})
	for i := range callers {
		go func() {
			<-start
			errs <- fn(i)
		}()
	}
	close(start)
	won := 0
	for range callers {
		err := <-errs
		if err == nil {
			won++
			continue
		}
		wantError(t, call, err, codes.Aborted, "etag: somebody else changed it first, read it again")
	}
	if won != 1 {
		t.Errorf("%d of %d simultaneous calls of %s won, want 1", won, callers, call)
	}
}
