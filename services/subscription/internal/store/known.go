package store

import (
	"context"
	"fmt"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Named are what a filter names; nil is nothing.
type Named struct {
	// Application and Subscription are ids.
	Application, Subscription *string
	// Version, API and Plan are resource names.
	Version, API, Plan *string
}

// CheckNamed returns a NotFound fault when there is nothing that v may see of one of the
// names: neither the resource nor, as it may be gone, usage or a session record of it.
func (s *Store) CheckNamed(ctx context.Context, v identity.Viewer, n Named) error {
	for _, look := range []struct {
		column string
		value  *string
		name   func(string) string
		query  string
	}{
		{"application", n.Application, ApplicationName, `
			SELECT EXISTS (SELECT 1 FROM application WHERE id = $1 AND (CAST($2 AS TEXT) IS NULL OR owner = $2))`},
		{"subscription", n.Subscription, SubscriptionName, `
			SELECT EXISTS (SELECT 1 FROM subscription s JOIN application a ON a.id = s.application JOIN version v ON v.name = s.version
				WHERE s.id = $1 AND (CAST($2 AS TEXT) IS NULL OR a.owner = $2 OR v.owner = $2))`},
		{"plan", n.Plan, itself, `
			SELECT EXISTS (SELECT 1 FROM plan WHERE name = $1 AND (CAST($2 AS TEXT) IS NULL OR TRUE))`},
		{"api", n.API, itself, `
			SELECT EXISTS (SELECT 1 FROM version v WHERE v.api = $1 AND (CAST($2 AS TEXT) IS NULL OR published OR owner = $2
				OR EXISTS (SELECT 1 FROM subscription s JOIN application a ON a.id = s.application WHERE s.version = v.name AND a.owner = $2)))`},
		{"version", n.Version, itself, `
			SELECT EXISTS (SELECT 1 FROM version WHERE name = $1 AND (CAST($2 AS TEXT) IS NULL OR published OR owner = $2
				OR EXISTS (SELECT 1 FROM subscription s JOIN application a ON a.id = s.application WHERE s.version = $1 AND a.owner = $2)))`},
	} {
		if look.value == nil || look.column == "application" && *look.value == TryOut {
			continue
		}
		known, err := s.known(ctx, v, look.column, *look.value, look.query)
		if err != nil {
			return fmt.Errorf("look for %s: %w", look.name(*look.value), err)
		}
		if !known {
			return fault.NotFound("%s", look.name(*look.value))
		}
	}
	return nil
}

func itself(name string) string { return name }

// known reports whether a query finds a resource for v, or a column of usage or session
// records that v may see has it.
func (s *Store) known(ctx context.Context, v identity.Viewer, column, value, query string) (bool, error) {
	for _, query := range []string{query, `
		SELECT EXISTS (SELECT 1 FROM usage_series WHERE ` + column + ` = $1 AND ` + ofViewer(v, "usage_series", "id", "$2") + `)`, `
		SELECT EXISTS (SELECT 1 FROM session_record WHERE ` + column + ` = $1 AND ` + ofViewer(v, "session_record", "ref", "$2") + `)`} {
		known, err := sqldb.Exists(ctx, s.db, query, value, v.Owner())
		if known || err != nil {
			return known, err
		}
	}
	return false, nil
}
