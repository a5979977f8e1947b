package catalog

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/identity/identitytest"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// hidden is a secret in the endpoint of a version.
const hidden = "s3cr3t-0f-the-backend"

// A secret in an endpoint is nowhere in the database: not in the version, not in the
// log of changes, and not in what the engine leaves beside them.
func TestEndpointsAreSealed(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		dir := t.TempDir()
		hide(t, "sqlite:"+filepath.Join(dir, "catalog.db"), func() []byte { return readFolder(t, dir) })
	})
	t.Run("postgres", func(t *testing.T) {
		url := testdb.PostgresURL(t)
		hide(t, url, func() []byte { return readTables(t, url) })
	})
}

// hide makes a version with a secret and looks for it in the raw content of the
// database at url.
func hide(t *testing.T, url string, raw func() []byte) {
	t.Helper()
	signer, conn := signing(t)
	ann := identitytest.Bearer(signer.Token("ann", identity.RoleCreator, identity.RolePublisher))
	i := start(t, url, conn)
	made, v := withSecret(t, i, ann)
	for _, description := range []string{"once", "twice"} {
		_, err := i.catalog.UpdateVersion(t.Context(), &catalogv1.UpdateVersionRequest{
			Version: &catalogv1.Version{Name: v.GetName(), Description: description},
		}, ann)
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := i.catalog.UpdateApi(t.Context(), &catalogv1.UpdateApiRequest{Api: &catalogv1.Api{Name: made.GetName(), Context: "/moved"}}, ann)
	if err != nil {
		t.Fatal(err)
	}
	look := func(when string) {
		t.Helper()
		content := raw()
		if !bytes.Contains(content, []byte("/moved")) {
			t.Errorf("%s: the content of the database lacks what is not secret", when)
		}
		for _, form := range []string{hidden, hex.EncodeToString([]byte(hidden)), "backend.example", hex.EncodeToString([]byte("backend.example"))} {
			if bytes.Contains(bytes.ToLower(content), []byte(form)) {
				t.Errorf("%s: the database has %q of an endpoint", when, form)
			}
		}
	}
	look("while the service runs")
	i.stop()
	look("after it has stopped")
}

// withSecret makes an API and a version whose endpoint has the secret.
func withSecret(t *testing.T, i *instance, who grpc.CallOption) (*catalogv1.Api, *catalogv1.Version) {
	t.Helper()
	made, err := i.catalog.CreateApi(t.Context(), &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: "Echo", Context: "/echo"}}, who)
	if err != nil {
		t.Fatal(err)
	}
	v, err := i.catalog.CreateVersion(t.Context(), &catalogv1.CreateVersionRequest{Parent: made.GetName(), Version: &catalogv1.Version{
		Version: "1", Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{
			Endpoint: &catalogv1.Endpoint_Url{Url: "wss://backend.example/?key=" + hidden},
		}}, ProductionConnection: &catalogv1.Connection{Credential: &catalogv1.Connection_Basic{Basic: &catalogv1.BasicCredential{
			User: "gateway", Password: &catalogv1.Secret{Value: "password-" + hidden},
		}}}},
	}}, who)
	if err != nil {
		t.Fatal(err)
	}
	return made, v
}

// readFolder returns what is in the files of a folder.
func readFolder(t *testing.T, dir string) []byte {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, content...)
	}
	return all
}

// readTables returns all rows of all tables of a Postgres, as text; bytes are in
// hexadecimal.
func readTables(t *testing.T, url string) []byte {
	t.Helper()
	db := testdb.Open(t, url)
	scan := func(row sqldb.Row) (text string, err error) {
		err = row.Scan(&text)
		return text, err
	}
	tables, err := sqldb.All(t.Context(), db, scan, `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`)
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, table := range tables {
		rows, err := sqldb.All(t.Context(), db, scan, `SELECT CAST(r AS TEXT) FROM "`+table+`" r`)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Join(rows, "\n")...)
	}
	return all
}

// The master key is replaced over three starts, and another one is refused.
func TestMasterKeyIsReplaced(t *testing.T) {
	signer, conn := signing(t)
	ann := identitytest.Bearer(signer.Token("ann", identity.RoleCreator, identity.RolePublisher))
	dir := t.TempDir()
	url := "sqlite:" + filepath.Join(dir, "catalog.db")
	var keys []string
	for _, name := range []string{"old", "new"} {
		if _, err := seal.Create(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		line, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, string(line))
	}
	file := filepath.Join(dir, "master-key")
	with := func(lines string) func(*Config) {
		if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
		return func(cfg *Config) { cfg.MasterKeyFile = file }
	}
	first := start(t, url, conn, with(keys[0]))
	before := watching(t, first, "")
	_, v := withSecret(t, first, ann)
	first.stop()

	other := Default()
	other.DB, other.Ops.Addr, other.Subscription.Conn = url, "", conn
	other.GRPC.Listener, other.GRPC.InternalListener = memnet.Listen("users"), memnet.Listen("services")
	with(keys[1])(&other)
	want := "-master-key-file: " + file + " does not have the master key that this database was made with"
	if err := Run(t.Context(), other, quiet()); err == nil || err.Error() != want {
		t.Errorf("Run with another key = %v, want %q", err, want)
	}
	var last *instance
	for _, lines := range []string{keys[0] + keys[1], keys[1] + keys[0], keys[1]} {
		if last != nil {
			last.stop()
		}
		last = start(t, url, conn, with(lines))
		got, err := last.catalog.GetVersion(t.Context(), &catalogv1.GetVersionRequest{Name: v.GetName()}, ann)
		if err != nil || !strings.HasSuffix(got.GetEndpoints().GetProduction()[0].GetUrl(), hidden) {
			t.Fatalf("GetVersion = %v, %v", got, err)
		}
	}
	w := watching(t, last, before.cursor)
	if w.reset != backplanev1.Begin_RESET_UNSPECIFIED {
		t.Fatalf("a watch with the new key begins with %v, want the changes of before", w.reset)
	}
	for {
		m, err := w.stream.Recv()
		if err != nil {
			t.Fatalf("a watch with the new key: %v", err)
		}
		if routes := m.GetChange().GetEvent().GetRoutes(); len(routes) > 0 {
			if routes[0].GetName() != v.GetName() {
				t.Errorf("the watch brings %v, want the route of %s", routes, v.GetName())
			}
			if password := routes[0].GetEndpoints().GetProductionConnection().GetBasic().GetPassword().GetValue(); password != "password-"+hidden {
				t.Errorf("the watch brings the password %q", password)
			}
			return
		}
	}
}
