package catalog

import (
	"context"
	"encoding/base64"
	"flag"
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

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/identity/identitytest"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// signing serves the keys of users' tokens, as the subscription service does.
func signing(t *testing.T) (*identitytest.Signer, *grpc.ClientConn) {
	t.Helper()
	signer, lis, srv := identitytest.New(t), memnet.Listen("subscription"), grpc.NewServer()
	oauth2v1.RegisterOAuth2ServiceServer(srv, signer)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(lis) }()
	conn, err := lis.Dial(identity.Catalog)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		srv.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve keys: %v", err)
		}
	})
	return signer, conn
}

// testKey is a file with a key that is always the same.
func testKey(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "master-key")
	line := "tidegate-master-key-v1:" + base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n"
	if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// instance is a running catalog.
type instance struct {
	catalog catalogv1.CatalogServiceClient
	changes changev1.ChangeServiceClient
	routes  backplanev1.RouteServiceClient
	stop    func()
}

// start runs a catalog with the database at url until stop or the test's end. Edits
// change its configuration.
func start(t *testing.T, url string, subscription *grpc.ClientConn, edits ...func(*Config)) *instance {
	t.Helper()
	users, services := memnet.Listen("users"), memnet.Listen("services")
	cfg := Default()
	cfg.DB, cfg.GatewayURLs, cfg.Ops.Addr = url, "WS://gw/", ""
	cfg.GRPC.Listener, cfg.GRPC.InternalListener, cfg.GRPC.Drain = users, services, time.Second
	cfg.Subscription.Conn = subscription
	cfg.MasterKeyFile = testKey(t)
	for _, edit := range edits {
		edit(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, cfg, quiet()) }()
	dial := func(l *memnet.Listener, caller string) *grpc.ClientConn {
		conn, err := l.Dial(caller)
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	front, back := dial(users, ""), dial(services, identity.Gateway)
	stopped := false
	stop := func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		front.Close()
		back.Close()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil", err)
		}
	}
	t.Cleanup(stop)
	return &instance{catalog: catalogv1.NewCatalogServiceClient(front), changes: changev1.NewChangeServiceClient(front), routes: backplanev1.NewRouteServiceClient(back), stop: stop}
}

// A catalog that is stopped and started has its data and its history again.
func TestRestart(t *testing.T) {
	signer, conn := signing(t)
	ann := identitytest.Bearer(signer.Token("ann", identity.RoleCreator))
	url := "sqlite:" + filepath.Join(t.TempDir(), "catalog.db")
	first := start(t, url, conn)
	made, err := first.catalog.CreateApi(t.Context(), &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: "Echo", Context: "/echo"}}, ann)
	if err != nil {
		t.Fatal(err)
	}
	v, err := first.catalog.CreateVersion(t.Context(), &catalogv1.CreateVersionRequest{Parent: made.GetName(), Version: &catalogv1.Version{
		Version: "1", Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: "ws://b"}}}},
	}}, ann)
	if err != nil || !slices.Equal(v.GetAddresses(), []string{"ws://gw/echo/1"}) {
		t.Fatalf("CreateVersion = %v, %v", v, err)
	}
	cursor := watching(t, first, "").cursor
	first.stop()
	second := start(t, url, conn)
	got, err := second.catalog.GetApi(t.Context(), &catalogv1.GetApiRequest{Name: made.GetName()}, ann)
	if err != nil || got.GetEtag() != made.GetEtag() || got.GetDisplayName() != "Echo" {
		t.Errorf("GetApi after a restart = %v, %v", got, err)
	}
	if w := watching(t, second, cursor); w.reset != backplanev1.Begin_RESET_UNSPECIFIED {
		t.Errorf("a watch after a restart begins with %v, want no snapshot", w.reset)
	}
}

// begun is a watch that has begun.
type begun struct {
	stream grpc.BidiStreamingClient[backplanev1.WatchRoutesRequest, backplanev1.WatchRoutesResponse]
	reset  backplanev1.Begin_Reset
	cursor string
	number uint64
}

// watching begins a watch and reads its snapshot, where there is one.
func watching(t *testing.T, i *instance, since string) *begun {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	stream, err := i.routes.WatchRoutes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w := &begun{stream: stream}
	hello := &backplanev1.Hello{Instance: "gateway-1", Kind: "gateway", Cursor: since}
	err = stream.Send(&backplanev1.WatchRoutesRequest{Body: &backplanev1.WatchRoutesRequest_Hello{Hello: hello}})
	for err == nil {
		var m *backplanev1.WatchRoutesResponse
		if m, err = stream.Recv(); err != nil {
			break
		}
		if b := m.GetBegin(); b != nil {
			if w.reset = b.GetReset_(); w.reset == backplanev1.Begin_RESET_UNSPECIFIED {
				return w
			}
		}
		if e := m.GetSnapshotEnd(); e != nil {
			w.cursor, w.number = e.GetCursor(), e.GetAsOfChangeNumber()
			return w
		}
	}
	t.Fatalf("watch: %v", err)
	return nil
}

// Two replicas that start at once on one Postgres are one catalog.
func TestReplicas(t *testing.T) {
	url := testdb.PostgresURL(t)
	signer, conn := signing(t)
	ann := identitytest.Bearer(signer.Token("ann", identity.RoleCreator, identity.RolePublisher))
	one, two := start(t, url, conn), start(t, url, conn)
	w := watching(t, two, "")
	made, err := one.catalog.CreateApi(t.Context(), &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: "Echo", Context: "/echo"}}, ann)
	if err != nil {
		t.Fatal(err)
	}
	got, err := two.catalog.GetApi(t.Context(), &catalogv1.GetApiRequest{Name: made.GetName()}, ann)
	if err != nil || got.GetEtag() != made.GetEtag() {
		t.Errorf("GetApi at the other replica = %v, %v", got, err)
	}
	_, err = two.catalog.UpdateApi(t.Context(), &catalogv1.UpdateApiRequest{
		Api: &catalogv1.Api{Name: made.GetName(), Description: "x", Etag: made.GetEtag()},
	}, ann)
	if err != nil {
		t.Errorf("UpdateApi at the other replica = %v", err)
	}
	_, err = one.catalog.UpdateApi(t.Context(), &catalogv1.UpdateApiRequest{
		Api: &catalogv1.Api{Name: made.GetName(), Description: "y", Etag: made.GetEtag()},
	}, ann)
	if err == nil {
		t.Error("UpdateApi with an etag that the other replica made stale succeeds")
	}
	for want := w.number + 1; want <= w.number+2; {
		m, err := w.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if c := m.GetChange(); c != nil {
			if c.GetPosition().GetChangeNumber() != want {
				t.Fatalf("the watch says change %d, want %d", c.GetPosition().GetChangeNumber(), want)
			}
			want++
		}
	}
	ack := &backplanev1.Ack{AppliedChangeNumber: w.number + 2}
	if err := w.stream.Send(&backplanev1.WatchRoutesRequest{Body: &backplanev1.WatchRoutesRequest_Ack{Ack: ack}}); err != nil {
		t.Fatal(err)
	}
	applied, err := one.changes.WaitChange(t.Context(), &changev1.WaitChangeRequest{Name: fmt.Sprint("services/catalog/changes/", w.number+2)}, ann)
	if err != nil || !applied.GetApplied() {
		t.Errorf("WaitChange at the replica without the watcher = %v, %v, want true", applied, err)
	}
}

func TestConfig(t *testing.T) {
	parse := func(args ...string) error {
		cfg := Default()
		cfg.MasterKeyFile = "key"
		fs := flag.NewFlagSet("catalog", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		cfg.Flags(fs, "catalog.")
		if err := fs.Parse(args); err != nil {
			return err
		}
		return cfg.Check()
	}
	if err := parse(); err != nil {
		t.Errorf("the defaults are wrong: %v", err)
	}
	if err := parse("-catalog.gateway-urls", ""); err != nil {
		t.Errorf("no gateway's address is wrong: %v", err)
	}
	if err := parse("-catalog.virtual-hosts", "wss://Chat.example.com:443/, ws://chat.example.com:9099 ,wss://*.apps.example.com:8443"); err != nil {
		t.Errorf("virtual hosts are wrong: %v", err)
	}
	badURL := func(url string) string {
		return `-catalog.gateway-urls: "` + url + `" is not a ws or wss URL such as ws://localhost:9099`
	}
	badVirtual := func(url string) string {
		return `-catalog.virtual-hosts: "` + url + `" is not a ws or wss URL without a path, such as wss://chat.example.com or wss://*.apps.example.com:8443`
	}
	for _, c := range []struct {
		args string
		want string
	}{
		{"-catalog.db mysql://x", "-catalog.db: must start with postgres:// or sqlite:"},
		{"-catalog.db sqlite:", "-catalog.db: sqlite: needs the path of a file"},
		{"-catalog.master-key-file=", "-catalog.master-key-file: a file is needed"},
		{"-catalog.audit-keep 24h", "-catalog.audit-keep: must be 0, or at least 168h0m0s"},
		{"-catalog.gateway-urls ws://a,http://b", badURL("http://b")},
		{"-catalog.gateway-urls localhost:9099", badURL("localhost:9099")},
		{"-catalog.gateway-urls ws://u@a", badURL("ws://u@a")},
		{"-catalog.gateway-urls ws://a?b", badURL("ws://a?b")},
		{"-catalog.virtual-hosts https://a.example", badVirtual("https://a.example")},
		{"-catalog.virtual-hosts wss://a.example,b.example", badVirtual("b.example")},
		{"-catalog.virtual-hosts wss://a.example/x", badVirtual("wss://a.example/x")},
		{"-catalog.virtual-hosts wss://u@a.example", badVirtual("wss://u@a.example")},
		{"-catalog.virtual-hosts wss://127.0.0.1", `-catalog.virtual-hosts: "wss://127.0.0.1": the host must be a host name in lower case without a port, as chat.example.com, or *.example.com for all names with one label more`},
		{"-catalog.gateway-urls wss://gw.example.com:8099 -catalog.virtual-hosts wss://GW.example.com",
			`-catalog.virtual-hosts: "wss://GW.example.com" is, or stands for, the host of the gateways' address wss://gw.example.com:8099: a virtual host is one of its own`},
		{"-catalog.gateway-urls wss://gw.example.com -catalog.virtual-hosts wss://*.example.com",
			`-catalog.virtual-hosts: "wss://*.example.com" is, or stands for, the host of the gateways' address wss://gw.example.com: a virtual host is one of its own`},
		{"-catalog.ops x", `-catalog.ops: "x" is not host:port`},
		{"-catalog.db x -catalog.audit-keep 1h", "-catalog.db: must start with postgres:// or sqlite:\n-catalog.audit-keep: must be 0, or at least 168h0m0s"},
	} {
		err := parse(strings.Fields(c.args)...)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s = %v, want %q", c.args, err, c.want)
		}
	}
	err := Run(t.Context(), Config{}, quiet())
	for _, want := range []string{"-db: must start with", "the gRPC of no service"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Run with a Config that Default has not made = %v, want %q in it", err, want)
		}
	}
}

// What the program is told wrongly is told all at once.
func TestWrongFlags(t *testing.T) {
	var out strings.Builder
	cfg := Default()
	code := run.Exec(t.Context(), run.Program{
		Name: "catalog", Args: []string{"-audit-keep", "1h", "-grpc-drain", "soon", "-master-key-file", "key"}, Env: []string{"TIDEGATE_CATALOG_DB=x"}, Stdout: io.Discard, Stderr: &out,
	}, func(fs *flag.FlagSet) { cfg.Flags(fs, "") }, cfg.Check, func(ctx context.Context, log *slog.Logger) error {
		return Run(ctx, cfg, log)
	})
	want := "catalog: -grpc-drain: invalid value \"soon\": want a duration with its unit, such as 300ms, 10s, 5m or 24h\n" +
		"catalog: -db: must start with postgres:// or sqlite: (set by TIDEGATE_CATALOG_DB)\ncatalog: -audit-keep: must be 0, or at least 168h0m0s\n"
	if code != 2 || out.String() != want {
		t.Errorf("exit code %d and\n%s\nwant 2 and\n%s", code, out.String(), want)
	}
}

// What cannot be opened, or is another service's, is one clear line.
func TestRunRefuses(t *testing.T) {
	_, conn := signing(t)
	dir := t.TempDir()
	other := "sqlite:" + filepath.Join(dir, "other.db")
	db, err := sqldb.OpenSchema(t.Context(), other, sqldb.Schema{Service: "subscription"})
	if err != nil {
		t.Fatal(err)
	}
	db.Close()
	for url, want := range map[string]string{
		"sqlite:" + dir + "/none/catalog.db": "-db: open database " + dir + "/none/catalog.db: the folder " + dir + "/none does not exist",
		other:                                "-db: this database belongs to the subscription service",
	} {
		cfg := Default()
		cfg.DB, cfg.Ops.Addr, cfg.MasterKeyFile = url, "", testKey(t)
		cfg.GRPC.Listener, cfg.GRPC.InternalListener = memnet.Listen("users"), memnet.Listen("services")
		cfg.Subscription.Conn = conn
		if err := Run(t.Context(), cfg, quiet()); err == nil || err.Error() != want {
			t.Errorf("Run on %s = %v, want %q", url, err, want)
		}
	}
}
