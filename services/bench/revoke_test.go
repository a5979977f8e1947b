package bench

import (
	"bytes"
	"log/slog"
	"regexp"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// TestRevocations measures a few sessions that are closed by revocations, on SQLite, and on
// Postgres with two replicas.
func TestRevocations(t *testing.T) {
	for _, engine := range []string{"SQLite", "two replicas of subscription on Postgres"} {
		t.Run(engine, func(t *testing.T) {
			cfg := quick()
			cfg.Revoke, cfg.Revoked = true, 7
			if engine != "SQLite" {
				cfg.Postgres = testdb.PostgresURL(t)
			}
			var out bytes.Buffer
			if err := Run(t.Context(), cfg, slog.New(slog.DiscardHandler), &out); err != nil {
				t.Fatalf("%v\n%s", err, &out)
			}
			for _, want := range []string{
				`7 sessions on one gateway, ` + engine,
				`(?m)^\| one session, 200 times +\| \d+\.\d ms +\| \d+\.\d ms +\| \d+\.\d ms +\|$`,
				`(?m)^\| all at once, 5 times +\| \d+\.\d ms +\| \d+\.\d ms +\| \d+\.\d ms +\|$`,
			} {
				if !regexp.MustCompile(want).MatchString(out.String()) {
					t.Errorf("nothing like %s:\n%s", want, &out)
				}
			}
		})
	}
}
