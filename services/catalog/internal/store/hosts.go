package store

import (
	"context"
	"fmt"
	"slices"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// HostClient is the BackendHost of versions whose backends may get the host that the
// client asked for.
const HostClient = "CLIENT"

// advertiseBatch is how many routes one change of the hosts has, so that even the
// largest routes fit in one message of the watch.
const advertiseBatch = 50

// Advertise sets the hosts under which gateways are advertised to clients, and gives
// them to the routes whose backends may get them: in several changes where these are
// many. It is called before anything else uses the store, and again at each start: what
// is left of one that was cut off is done then.
func (s *Store) Advertise(ctx context.Context, hosts []string) error {
	s.hosts = slices.Compact(slices.Sorted(slices.Values(hosts)))
	for {
		n := 0
		err := s.log.Write(ctx, "advertise gateways", func(tx *change.Tx) (change.Record, error) {
			event, err := s.advertise(ctx, tx)
			n = len(event.GetRoutes())
			return change.Record{
				Actor: "services/catalog", Action: "AdvertiseGateways", Resource: "services/catalog", Event: event, Skip: n == 0,
			}, err
		})
		if err != nil || n < advertiseBatch {
			return err
		}
	}
}

// advertise gives the hosts to as many routes that have others as one change may have.
func (s *Store) advertise(ctx context.Context, tx *change.Tx) (*backplanev1.RouteEvent, error) {
	stale, err := sqldb.All(ctx, tx, s.scanVersion, selectVersion+`
		WHERE v.backend_host = $1 AND v.advertised_hosts <> $2 ORDER BY v.id LIMIT $3`, HostClient, text(&s.hosts), advertiseBatch)
	if err != nil {
		return nil, fmt.Errorf("read versions with other hosts: %w", err)
	}
	event := &backplanev1.RouteEvent{}
	for _, v := range stale {
		before := v.Route()
		v.AdvertisedHosts = s.hosts
		if _, err := tx.ExecContext(ctx, `UPDATE version SET advertised_hosts = $1 WHERE id = $2`, text(&s.hosts), v.ID); err != nil {
			return nil, fmt.Errorf("keep the hosts of gateways: %w", err)
		}
		if err := addRoute(ctx, tx, event, &v, before); err != nil {
			return nil, err
		}
	}
	return event, nil
}

// hostsOf returns the column with the hosts that a version has.
func (s *Store) hostsOf(v Version) column[string] {
	if v.BackendHost != HostClient {
		return text(new([]string))
	}
	return text(&s.hosts)
}
