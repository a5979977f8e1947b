package store

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Endpoint is where a backend is reached.
type Endpoint struct {
	URL string `json:"url"`
}

// stages are the endpoints of a version, and what is said to them, as they are sealed.
type stages struct {
	Production []Endpoint `json:"production,omitempty"`
	Sandbox    []Endpoint `json:"sandbox,omitempty"`
	Backend    Backend    `json:"backend,omitzero"`
	// Endings are here though they are no secret, because they belong to what is written of
	// a version as a whole.
	Endings []ClientEnding `json:"endings,omitempty"`
}

// endpointsOf is what sealed bytes are sealed for: the endpoints of the version with
// this id.
func endpointsOf(id string) []byte { return []byte("endpoints/" + id) }

// sealEndpoints returns a version's endpoints as they are stored.
func (s *Store) sealEndpoints(v Version) ([]byte, error) {
	plain, err := json.Marshal(stages{v.Production, v.Sandbox, v.Backend, v.Endings})
	if err != nil {
		return nil, fmt.Errorf("encode endpoints: %w", err)
	}
	return s.key.Seal(plain, endpointsOf(v.ID)), nil
}

// openEndpoints fills in the endpoints that sealEndpoints made sealed of.
func (s *Store) openEndpoints(v *Version, sealed []byte) error {
	plain, err := s.key.Open(sealed, endpointsOf(v.ID))
	if err != nil {
		return fmt.Errorf("read endpoints of version %q: %w", v.ID, err)
	}
	var all stages
	if err := json.Unmarshal(plain, &all); err != nil {
		return fmt.Errorf("read endpoints of version %q: %w", v.ID, err)
	}
	v.Production, v.Sandbox, v.Backend, v.Endings = all.Production, all.Sandbox, all.Backend, all.Endings
	return nil
}

// Reseal seals with the first key of the key file what another one sealed, and returns
// how many rows that were. Its error is seal.ErrOpen when no key of the file opens what
// is stored. Other instances may run.
func (s *Store) Reseal(ctx context.Context) (sealed int, err error) {
	type row struct {
		id     string
		sealed []byte
	}
	all, err := sqldb.All(ctx, s.db, func(r sqldb.Row) (v row, err error) {
		err = r.Scan(&v.id, &v.sealed)
		return v, err
	}, `SELECT id, endpoints FROM version`)
	if err != nil {
		return sealed, fmt.Errorf("read endpoints to seal them again: %w", err)
	}
	for _, r := range all {
		if !s.key.Stale(r.sealed) {
			continue
		}
		plain, err := s.key.Open(r.sealed, endpointsOf(r.id))
		if err != nil {
			return sealed, fmt.Errorf("read endpoints of version %q: %w", r.id, err)
		}
		// Where the row was changed meanwhile, that sealed it again.
		_, err = s.db.ExecContext(ctx, `UPDATE version SET endpoints = $1 WHERE id = $2 AND endpoints = $3`,
			s.key.Seal(plain, endpointsOf(r.id)), r.id, r.sealed)
		if err != nil {
			return sealed, fmt.Errorf("seal endpoints of version %q again: %w", r.id, err)
		}
		sealed++
	}
	events, err := s.log.ResealEvents(ctx)
	return sealed + events, err
}
