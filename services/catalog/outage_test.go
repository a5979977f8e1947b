package catalog

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/identity/identitytest"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// TestReadOnlyDatabase makes the database of a running catalog read-only: it reads, stays
// ready and says what is wrong, to callers and to operators.
func TestReadOnlyDatabase(t *testing.T) {
	signer, conn := signing(t)
	ann := identitytest.Bearer(signer.Token("ann", identity.RoleCreator))
	url := testdb.PostgresURL(t)
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	i := start(t, url, conn, func(c *Config) { c.Ops.Addr, c.Ops.Listener = "unused:1", lis })
	if _, err := i.catalog.CreateApi(t.Context(), newAPI("Echo", "/echo"), ann); err != nil {
		t.Fatal(err)
	}
	create := func() error {
		return reached(func() error {
			_, err := i.catalog.CreateApi(t.Context(), newAPI("Other", "/other"), ann)
			return err
		})
	}
	for range 2 { // the second time as at first: nothing is half done
		setReadOnly(t, url)
		err := create()
		if status.Code(err) != codes.Unavailable || fault.Reason(err) != fault.ReasonDatabaseReadOnly || !strings.Contains(err.Error(), "an operator makes it writable") {
			t.Errorf("CreateApi = %v with reason %q, want UNAVAILABLE, DATABASE_READ_ONLY and what an operator does", err, fault.Reason(err))
		}
		var list *catalogv1.ListApisResponse
		err = reached(func() (err error) {
			list, err = i.catalog.ListApis(t.Context(), &catalogv1.ListApisRequest{}, ann)
			return err
		})
		if err != nil || len(list.GetApis()) != 1 {
			t.Errorf("ListApis = %v, %v, want one API", list, err)
		}
		var code int
		var body string
		_ = reached(func() error {
			if code, body = readyz(t, lis.Addr()); code != http.StatusOK {
				return fault.WithReason(fault.Unavailable("not ready"), fault.ReasonDatabaseUnreachable)
			}
			return nil
		})
		if code != http.StatusOK || !strings.HasPrefix(body, "ok, but DATABASE_READ_ONLY: ") {
			t.Errorf("/readyz = %d %q, want 200 and what is wrong", code, body)
		}
	}
	execute(t, url, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET default_transaction_read_only', current_database()); END $$`)
	endOthers(t, url)
	if err := create(); err != nil {
		t.Errorf("CreateApi afterwards: %v", err)
	}
}

// reached calls until no connection is left that the server has ended: the pool has 10.
func reached(call func() error) error {
	for range 10 {
		if err := call(); fault.Reason(err) != fault.ReasonDatabaseUnreachable {
			return err
		}
	}
	return call()
}

func newAPI(name, context string) *catalogv1.CreateApiRequest {
	return &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: name, Context: context}}
}

// readyz asks for readiness.
func readyz(t *testing.T, at net.Addr) (int, string) {
	t.Helper()
	res, err := http.Get("http://" + at.String() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// setReadOnly makes new sessions of a database read-only, and ends the others.
func setReadOnly(t *testing.T, url string) {
	t.Helper()
	execute(t, url, `DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`)
	endOthers(t, url)
}

// endOthers ends the sessions of others.
func endOthers(t *testing.T, url string) {
	t.Helper()
	execute(t, url, `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`)
}

// execute runs a statement in a session of its own, which may write.
func execute(t *testing.T, url, statement string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `SET default_transaction_read_only = off`); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
