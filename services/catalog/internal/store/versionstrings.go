package store

import (
	"context"
	"fmt"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// MaxVersionStrings is how many version strings an API may have had. All of them stay
// known, and are part of a route: what was the address of one version must not lead to
// another.
const MaxVersionStrings = 1000

// keepString makes a version string one of those that the API ever had.
func keepString(ctx context.Context, tx *change.Tx, api, version string) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO version_string (api_id, version) VALUES ($1, $2) ON CONFLICT (api_id, version) DO NOTHING`, api, version)
	if err != nil {
		return fmt.Errorf("keep the version string: %w", err)
	}
	var count int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM version_string WHERE api_id = $1`, api).Scan(&count); err != nil {
		return fmt.Errorf("count the API's version strings: %w", err)
	}
	if count > MaxVersionStrings {
		return fault.Precondition("the API has had %d version strings, the most that it may have: use one of them again", MaxVersionStrings)
	}
	return nil
}

// readDefault returns the default version of an API whose default version gets the
// paths that name no version, so that its route changes with the API's version
// strings; nil if it does not.
func (s *Store) readDefault(ctx context.Context, tx *change.Tx, api API) (*Version, error) {
	if api.DefaultVersion == "" || !api.DefaultVersionPaths {
		return nil, nil
	}
	v, err := s.readVersion(ctx, tx, everything, api.defaultName())
	if err != nil {
		return nil, err
	}
	return &v, nil
}

// addDefault adds the route of a default version that readDefault has read to an event
// if it has changed since.
func (s *Store) addDefault(ctx context.Context, tx *change.Tx, event *backplanev1.RouteEvent, before *Version) error {
	if before == nil {
		return nil
	}
	now, err := s.readVersion(ctx, tx, everything, before.Name())
	if err != nil {
		return err
	}
	return addRoute(ctx, tx, event, &now, before.Route())
}
