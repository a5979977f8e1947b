package store

import (
	"context"
	"fmt"
	"slices"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Advertise keeps the hosts under which gateways are advertised to clients. If they
// are others than before, that is a change of the routes whose backends may get them.
func (s *Store) Advertise(ctx context.Context, hosts []string) error {
	hosts = slices.Compact(slices.Sorted(slices.Values(hosts)))
	return s.log.Write(ctx, "advertise gateways", func(tx *change.Tx) (change.Record, error) {
		known, err := sqldb.All(ctx, tx, scanText, `SELECT host FROM advertised_host ORDER BY host`)
		if err != nil {
			return change.Record{}, fmt.Errorf("read the hosts of gateways: %w", err)
		}
		if slices.Equal(known, hosts) {
			return change.Record{Skip: true}, nil
		}
		before, err := s.readOnClientHost(ctx, tx)
		if err != nil {
			return change.Record{}, err
		}
		if err := replaceHosts(ctx, tx, hosts); err != nil {
			return change.Record{}, err
		}
		after, err := s.readOnClientHost(ctx, tx)
		if err != nil {
			return change.Record{}, err
		}
		event := &backplanev1.RouteEvent{}
		for i := range after {
			if err := addRoute(ctx, tx, event, &after[i], before[i].Route()); err != nil {
				return change.Record{}, err
			}
		}
		return change.Record{
			Actor: "services/catalog", Action: "AdvertiseGateways", Resource: "services/catalog", Event: event,
			Skip: len(event.GetRoutes()) == 0,
		}, nil
	})
}

// readOnClientHost returns the versions whose backends may get the client's host.
func (s *Store) readOnClientHost(ctx context.Context, tx *change.Tx) ([]Version, error) {
	all, err := sqldb.All(ctx, tx, s.scanVersion, selectVersion+`WHERE v.backend_host = 'CLIENT' ORDER BY v.id`)
	if err != nil {
		return nil, fmt.Errorf("read versions that pass the client's host on: %w", err)
	}
	return all, nil
}

func replaceHosts(ctx context.Context, tx *change.Tx, hosts []string) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM advertised_host`); err != nil {
		return fmt.Errorf("forget the hosts of gateways: %w", err)
	}
	for _, host := range hosts {
		if _, err := tx.ExecContext(ctx, `INSERT INTO advertised_host (host) VALUES ($1)`, host); err != nil {
			return fmt.Errorf("keep the host of a gateway: %w", err)
		}
	}
	return nil
}
