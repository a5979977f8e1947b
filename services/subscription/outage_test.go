package subscription_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// TestFullDatabase has the database say that its disk is full, whatever is written: callers
// are told so, reading works, and the service stays ready.
func TestFullDatabase(t *testing.T) {
	url := testdb.PostgresURL(t)
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t, url)
	cfg := p.config()
	cfg.Ops.Addr, cfg.Ops.Listener = "unused:1", lis
	s := p.start(cfg)
	ctx := signIn(t, s)
	db, err := pgx.Connect(t.Context(), url)
	must(t, err)
	_, err = db.Exec(t.Context(), `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
		DO $$ DECLARE name text; BEGIN FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() LOOP
			EXECUTE format('CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION full_disk()', name);
		END LOOP; END $$`)
	must(t, err)
	must(t, db.Close(t.Context()))
	_, err = s.apps.CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{Application: &subscriptionv1.Application{DisplayName: "App"}})
	if text := status.Convert(err).Message(); status.Code(err) != codes.Unavailable || fault.Reason(err) != fault.ReasonDatabaseFull || strings.Contains(text, "extend") {
		t.Errorf("CreateApplication = %v with reason %q, want UNAVAILABLE, DATABASE_FULL and no text of the server", err, fault.Reason(err))
	}
	if _, err := s.users.GetUser(ctx, &identityv1.GetUserRequest{Name: "users/me"}); err != nil {
		t.Errorf("GetUser: %v", err)
	}
	res, err := http.Get("http://" + lis.Addr().String() + "/readyz")
	must(t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !strings.HasPrefix(string(body), "ok, but DATABASE_FULL: ") {
		t.Errorf("/readyz = %d %q, %v, want 200 and what is wrong", res.StatusCode, body, err)
	}
}
