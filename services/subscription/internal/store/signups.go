package store

import (
	"context"
	"fmt"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Bounds of those who wait for approval: how many there may be, and how long they wait.
const (
	maxPending  = 1000
	keepPending = 30 * 24 * time.Hour
)

// SignUp adds a user who signs up, with the hash of a password. One who is pending is
// refused while too many are.
func (s *Store) SignUp(ctx context.Context, u User, password string) (User, error) {
	u.ID, u.Etag = id.New(), 1
	err := s.log.Write(ctx, "sign up", func(tx *change.Tx) (change.Record, error) {
		u.CreatedAt, u.UpdatedAt = tx.Time, tx.Time
		if err := insertUser(ctx, tx, u, password); err != nil {
			return change.Record{}, err
		}
		return change.Record{
			Actor: UserName(u.ID), ActorLabel: u.Username, Resource: UserName(u.ID), After: u, Secrets: passwordOf(password),
		}, checkPending(ctx, tx)
	})
	return u, err
}

// checkPending refuses a change after which too many users are pending.
func checkPending(ctx context.Context, tx *change.Tx) error {
	var pending int
	if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM users WHERE state = 3`).Scan(&pending); err != nil {
		return fmt.Errorf("count pending users: %w", err)
	}
	if pending > maxPending {
		return fault.WithReason(fault.Exhausted("%d users wait for approval, and no more may: try again later", maxPending), fault.ReasonTooManySignUps)
	}
	return nil
}

// ApproveUser lets a pending user in that v may see and that check lets the caller
// approve.
func (s *Store) ApproveUser(ctx context.Context, v identity.Viewer, id string, check func(User) error) (u User, err error) {
	err = s.log.Write(ctx, "approve user", func(tx *change.Tx) (change.Record, error) {
		var old User
		old, u, err = setState(ctx, tx, v, id, UserActive, check)
		return change.Record{Resource: UserName(id), Before: old, After: u}, err
	})
	return u, err
}

// PurgePending deletes the users who have waited too long for approval, and returns their
// names. Each is a change of its own.
func (s *Store) PurgePending(ctx context.Context) (names []string, err error) {
	for {
		name, err := s.purgeOldestPending(ctx)
		if err != nil {
			return names, fmt.Errorf("purge pending users: %w", err)
		}
		if name == "" {
			return names, nil
		}
		names = append(names, name)
	}
}

// purgeOldestPending returns "" if nobody has waited too long.
func (s *Store) purgeOldestPending(ctx context.Context) (name string, err error) {
	const oldest = `FROM users WHERE state = 3 AND created_at < $1`
	before := s.moment().Add(-keepPending).UnixMicro()
	due, err := sqldb.Exists(ctx, s.db, `SELECT EXISTS (SELECT 1 `+oldest+`)`, before)
	if err != nil || !due { // most often: no change waits for it
		return "", err
	}
	err = s.log.Write(ctx, "purge pending user", func(tx *change.Tx) (change.Record, error) {
		name = ""
		u, found, err := sqldb.One(ctx, tx, scanUser, selectUser+`WHERE state = 3 AND created_at < $1 ORDER BY created_at, id LIMIT 1`, before)
		if err != nil || !found {
			return change.Record{Skip: true}, err
		}
		name = UserName(u.ID)
		record, err := deleteUser(ctx, tx, u)
		record.Actor, record.Action = "services/subscription", "DeleteUser"
		return record, err
	})
	return name, err
}
