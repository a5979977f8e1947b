package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Endpoint is where a backend is reached.
type Endpoint struct {
	URL string `json:"url"`
}

// Endpoints are where backends are reached, by stage, and how gateways choose between them.
type Endpoints struct {
	Production []Endpoint `json:"production,omitempty"`
	Sandbox    []Endpoint `json:"sandbox,omitempty"`
	Balance
	Connections Connections `json:"connections,omitzero"`
}

// Balance says how gateways choose between endpoints, check them and give them up; the zero
// value is by default.
type Balance struct {
	HealthCheck *HealthCheck `json:"healthCheck,omitempty"`
	Suspension  *Suspension  `json:"suspension,omitempty"`
	Timeouts    *Timeouts    `json:"timeouts,omitempty"`
}

// HealthCheck says how endpoints are checked; what is 0 is by default.
type HealthCheck struct {
	// Kind is a value of the enum HealthCheck.Kind without its prefix.
	Kind           string        `json:"kind"`
	HTTPPath       string        `json:"httpPath,omitempty"`
	Interval       time.Duration `json:"interval,omitempty"`
	Timeout        time.Duration `json:"timeout,omitempty"`
	HealthyAfter   int32         `json:"healthyAfter,omitempty"`
	UnhealthyAfter int32         `json:"unhealthyAfter,omitempty"`
}

// Suspension says when an endpoint is passed over; what is 0 is by default.
type Suspension struct {
	Failures int32         `json:"failures,omitempty"`
	First    time.Duration `json:"first,omitempty"`
	Longest  time.Duration `json:"longest,omitempty"`
	Factor   float64       `json:"factor,omitempty"`
}

// Timeouts says how long backends may take; 0 is what gateways allow.
type Timeouts struct {
	Dial      time.Duration `json:"dial,omitempty"`
	Handshake time.Duration `json:"handshake,omitempty"`
}

// stages are the endpoints of a version, and what is said of them and to them, as they are
// sealed.
type stages struct {
	Endpoints
	HTTP    *HTTP   `json:"http,omitempty"`
	Backend Backend `json:"backend,omitzero"`
	// Endings are here though they are no secret, because they belong to what is written of
	// a version as a whole.
	Endings []ClientEnding `json:"endings,omitempty"`
	// Further are here for the same reason.
	Further []FurtherAddress `json:"further,omitempty"`
	// IdleTimeout is here for the same reason.
	IdleTimeout time.Duration `json:"idleTimeout,omitempty"`
}

// EndpointsFor returns the endpoints as the API and routes have them.
func (e Endpoints) EndpointsFor(r reader) *catalogv1.Endpoints {
	all := &catalogv1.Endpoints{
		Production: endpoints(e.Production), ProductionConnection: e.Connections.Production.message(r),
		Sandbox: endpoints(e.Sandbox), SandboxConnection: e.Connections.Sandbox.message(r),
	}
	if c := e.HealthCheck; c != nil {
		all.HealthCheck = &catalogv1.HealthCheck{
			Kind: catalogv1.HealthCheck_Kind(catalogv1.HealthCheck_Kind_value[KindPrefix+c.Kind]), HttpPath: c.HTTPPath,
			Interval: span(c.Interval), Timeout: span(c.Timeout), HealthyAfter: c.HealthyAfter, UnhealthyAfter: c.UnhealthyAfter,
		}
	}
	if s := e.Suspension; s != nil {
		all.Suspension = &catalogv1.Suspension{Failures: s.Failures, First: span(s.First), Longest: span(s.Longest), Factor: s.Factor}
	}
	if t := e.Timeouts; t != nil {
		all.Timeouts = &catalogv1.Timeouts{Dial: span(t.Dial), Handshake: span(t.Handshake)}
	}
	return all
}

// span returns a duration as messages have it; nil for none.
func span(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

// endpointsOf is what sealed bytes are sealed for: the endpoints of the version with
// this id.
func endpointsOf(id string) []byte { return []byte("endpoints/" + id) }

// sealEndpoints returns a version's endpoints as they are stored.
func (s *Store) sealEndpoints(v Version) ([]byte, error) {
	plain, err := json.Marshal(stages{v.Endpoints, v.HTTP, v.Backend, v.Endings, v.Further, v.IdleTimeout})
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
	v.Endpoints, v.HTTP, v.Backend, v.Endings = all.Endpoints, all.HTTP, all.Backend, all.Endings
	v.Further, v.IdleTimeout = all.Further, all.IdleTimeout
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
