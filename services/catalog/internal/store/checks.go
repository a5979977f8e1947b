package store

import (
	"context"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

// MaxEndpointChecks is how many checks of endpoints a user may make in a minute.
const MaxEndpointChecks = 10

// checkEndpoint is the action of a check in the audit log.
const checkEndpoint = "CheckEndpoint"

// AllowEndpointCheck writes a check of an endpoint of a version that viewer sees and check
// allows into the audit log. There it is counted, too.
func (s *Store) AllowEndpointCheck(ctx context.Context, viewer identity.Viewer, name resourcename.Version, check func(Version) error) error {
	return s.log.Write(ctx, "allow endpoint check", func(tx *change.Tx) (change.Record, error) {
		v, err := s.readVersion(ctx, tx, viewer, name)
		if err != nil {
			return change.Record{}, err
		}
		if err := check(v); err != nil {
			return change.Record{}, err
		}
		user := resourcename.User{User: viewer.User}.String()
		n, err := tx.Count(ctx, user, checkEndpoint, tx.Time.Add(-time.Minute))
		if err != nil {
			return change.Record{}, err
		}
		if n >= MaxEndpointChecks {
			return change.Record{}, fault.RetryAfter(
				fault.Exhausted("you have had %d endpoints checked within a minute, as many as a user may: try again in a minute", n), time.Minute)
		}
		return change.Record{Actor: user, ActorLabel: identity.From(ctx).User.Username, Action: checkEndpoint, Resource: name.String(), Label: v.Label()}, nil
	})
}
