package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// accessKept is how long it is kept whose access has ended: the 15 minutes that a
// user's token lives at most, and 5 for clocks that differ.
const accessKept = 20 * time.Minute

// endAccess ends, with the change of tx, the access of users and of sign-ins, given
// by their names: tokens that were issued before it give none. It returns the event
// that tells other services.
func endAccess(ctx context.Context, tx *change.Tx, names ...string) (*backplanev1.UserEvent, error) {
	event := &backplanev1.UserEvent{}
	expires := tx.Time.Add(accessKept)
	for _, name := range names {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO ended_access (name, change_number, change_us, expires_at) VALUES ($1, $2, $3, $4)
			ON CONFLICT (name) DO UPDATE SET change_number = excluded.change_number, change_us = excluded.change_us, expires_at = excluded.expires_at`,
			name, int64(tx.Number), tx.Moment.Time, expires.UnixMicro())
		if err != nil {
			return nil, fmt.Errorf("end access of %s: %w", name, err)
		}
		event.Ended = append(event.Ended, &backplanev1.EndedAccess{
			Name: name, ChangeNumber: tx.Number, ChangeTime: tx.Moment.Timestamp(), ExpireTime: timestamppb.New(expires),
		})
	}
	return event, nil
}

// Ended reports whether the access that u's token gave has ended. It makes a Store
// an identity.Ended that knows of each change at once.
func (s *Store) Ended(ctx context.Context, u identity.User) (bool, error) {
	ends, err := sqldb.All(ctx, s.db, func(row sqldb.Row) (end moment.Moment, err error) {
		return end, row.Scan(&end.Change, &end.Time)
	}, `SELECT change_number, change_us FROM ended_access WHERE name IN ($1, $2)`, u.Name, SignInName(u.ID(), u.SignIn))
	if err != nil {
		return false, fmt.Errorf("read whether access has ended: %w", err)
	}
	return slices.ContainsFunc(ends, u.AsOf.Before), nil
}

// EndedAccess emits the access that has ended, as a change.Snapshot.
func EndedAccess(ctx context.Context, tx *sqldb.Tx, emit func(piece proto.Message)) error {
	batch := change.NewBatch(func(ended []*backplanev1.EndedAccess) { emit(&backplanev1.UserSnapshot{Ended: ended}) })
	rows, err := sqldb.All(ctx, tx, scanEndedAccess, `SELECT name, change_number, change_us, expires_at FROM ended_access ORDER BY name`)
	if err != nil {
		return fmt.Errorf("read ended access: %w", err)
	}
	for _, row := range rows {
		batch.Add(row)
	}
	batch.Flush()
	return nil
}

func scanEndedAccess(row sqldb.Row) (*backplanev1.EndedAccess, error) {
	e := &backplanev1.EndedAccess{}
	var at moment.Moment
	var expires int64
	err := row.Scan(&e.Name, &at.Change, &at.Time, &expires)
	e.ChangeNumber, e.ChangeTime, e.ExpireTime = at.Change, at.Timestamp(), timestamppb.New(sqldb.Time(expires))
	return e, err
}
