package bench

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

// The databases' names in the tables.
const (
	sqlite   = "SQLite"
	postgres = "Postgres"
)

// underCalls measures what Revoke and Tickets ask for, with services that are built into a
// folder, unless they are there. What needs Postgres is left out where
// there is none.
func (r *runner) underCalls(ctx context.Context, built string, out io.Writer) error {
	server, err := testdb.Start()
	if err != nil {
		r.log.Warn("left out", "database", postgres, "reason", err)
	} else {
		defer server.Stop()
	}
	if err := os.MkdirAll(built, 0o700); err != nil {
		return fmt.Errorf("make a folder for the services: %w", err)
	}
	if err := buildTidegate(ctx, built); err != nil {
		return err
	}
	if r.cfg.Revoke {
		if err := r.underRevocation(ctx, built, server, out); err != nil {
			return err
		}
	}
	if r.cfg.Tickets {
		return r.underTickets(ctx, built, server, out)
	}
	return nil
}

// inStack starts a Tidegate from built services in a folder of its own, has it measured, and
// ends it.
func (r *runner) inStack(ctx context.Context, built string, as setup, measure func(*stack, *target, published) error) error {
	dir, err := os.MkdirTemp(built, "run-") // the binaries are looked for above it
	if err != nil {
		return fmt.Errorf("make a folder for the services: %w", err)
	}
	defer os.RemoveAll(dir)
	s := &stack{dir: dir}
	defer s.stop()
	t, made, err := s.serve(ctx, r.backend, as)
	if err != nil {
		return err
	}
	if err := measure(s, t, made); err != nil {
		return fmt.Errorf("%w\n%s", err, s.logs())
	}
	return nil
}
