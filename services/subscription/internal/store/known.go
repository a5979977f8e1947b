package store

import (
	"context"
	"fmt"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Named are what a filter names; nil is nothing.
type Named struct {
	// Application and Subscription are ids.
	Application, Subscription *string
	// Version, API, Plan and APIKey are resource names.
	Version, API, Plan, APIKey *string
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
	if n.APIKey == nil {
		return nil
	}
	known, err := s.knownAPIKey(ctx, v, *n.APIKey)
	if err == nil && !known {
		err = fault.NotFound("%s", *n.APIKey)
	}
	return err
}

// knownAPIKey reports whether there is an API key that v may see, or a session record of it.
func (s *Store) knownAPIKey(ctx context.Context, v identity.Viewer, name string) (bool, error) {
	n, err := resourcename.ParseAPIKey("api_key", name)
	if err != nil {
		return false, err
	}
	known, err := sqldb.Exists(ctx, s.db, `
		SELECT EXISTS (SELECT 1 FROM api_key k JOIN application a ON a.id = k.application
			WHERE k.id = $1 AND a.id = $2 AND (CAST($3 AS TEXT) IS NULL OR a.owner = $3))`, n.APIKey, n.Application, v.Owner())
	if err == nil && !known {
		known, err = sqldb.Exists(ctx, s.db, `
			SELECT EXISTS (SELECT 1 FROM session_record WHERE application = $1 AND api_key = $3 AND `+ofViewer(v, "session_record", "ref", "$2")+`)`,
			n.Application, v.Owner(), name)
	}
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", name, err)
	}
	return known, nil
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
