package store

import (
	"context"
	"fmt"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Attempt is a try to prove by a password who somebody is.
type Attempt struct {
	Username string
	// From is where it comes from: a network, a device, or a user who is signed in.
	From string
	// Known says that From is no stranger to the user: failures of others do not hold it
	// up, and its own are not counted for the name as a whole.
	Known bool
}

// anywhere is the place for which failures from all networks are counted.
const anywhere = ""

// places returns the places for which failures of the attempt are counted.
func (a Attempt) places() []string {
	if a.Known {
		return []string{a.From}
	}
	return []string{a.From, anywhere}
}

// Lockout says when failures lock out. After as many in a row, one attempt is allowed
// each Pause, and each Pause without a failure forgives one.
type Lockout struct {
	// Each is how many failures of a name from one place are allowed at once, and Name
	// how many from all networks together; 0 is no bound.
	Each, Name int
	Pause      time.Duration
}

// of returns how many failures are allowed at once for a place.
func (l Lockout) of(place string) int {
	if place == anywhere {
		return l.Name
	}
	return l.Each
}

// SignInDelay returns how long an attempt must wait; 0 means that it need not wait. It
// reports whether there are failures that ForgetFailures forgets.
func (s *Store) SignInDelay(ctx context.Context, a Attempt, l Lockout) (wait time.Duration, failed bool, err error) {
	places := a.places()
	type penalty struct {
		place string
		until int64
	}
	found, err := sqldb.All(ctx, s.db, func(row sqldb.Row) (p penalty, err error) {
		err = row.Scan(&p.place, &p.until)
		return p, err
	}, `SELECT place, penalty_until FROM sign_in_failure WHERE username_fold = $1 AND place IN ($2, $3)`,
		sqldb.Fold(a.Username), places[0], places[len(places)-1])
	if err != nil {
		return 0, false, fmt.Errorf("read failed sign-ins: %w", err)
	}
	for _, p := range found {
		failed = failed || p.place == a.From
		if most := l.of(p.place); most > 0 {
			wait = max(wait, sqldb.Time(p.until).Sub(s.moment())-time.Duration(most-1)*l.Pause)
		}
	}
	return wait, failed, nil
}

// CountFailure counts a failed attempt, whether or not a user has that name.
func (s *Store) CountFailure(ctx context.Context, a Attempt, l Lockout) error {
	err := s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		now, pause := s.moment().UnixMicro(), l.Pause.Microseconds()
		for _, place := range a.places() {
			_, err := tx.ExecContext(ctx, `
				INSERT INTO sign_in_failure (username_fold, place, penalty_until) VALUES ($1, $2, $3)
				ON CONFLICT (username_fold, place) DO UPDATE SET penalty_until =
					CASE WHEN sign_in_failure.penalty_until > $4 THEN sign_in_failure.penalty_until + $5 ELSE excluded.penalty_until END`,
				sqldb.Fold(a.Username), place, now+pause, now, pause)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("count failed sign-in: %w", err)
	}
	return nil
}

// Sign-ups from one place: so many at once, and then one each pause.
const (
	signUpsAtOnce = 10
	signUpPause   = time.Hour / signUpsAtOnce
)

// CountSignUp counts a sign-up from a place, unless there were too many: then it returns
// how long to wait.
func (s *Store) CountSignUp(ctx context.Context, place string) (wait time.Duration, err error) {
	now := s.moment()
	last := now.Add((signUpsAtOnce - 1) * signUpPause)
	counted, err := sqldb.Changed(s.db.ExecContext(ctx, `
		INSERT INTO sign_in_failure (username_fold, place, penalty_until) VALUES ('', $1, $2)
		ON CONFLICT (username_fold, place) DO UPDATE SET penalty_until =
			CASE WHEN sign_in_failure.penalty_until > $3 THEN sign_in_failure.penalty_until + $4 ELSE excluded.penalty_until END
		WHERE sign_in_failure.penalty_until <= $5`,
		place, now.Add(signUpPause).UnixMicro(), now.UnixMicro(), signUpPause.Microseconds(), last.UnixMicro()))
	var until int64
	if err == nil && !counted {
		err = s.db.QueryRowContext(ctx, `SELECT penalty_until FROM sign_in_failure WHERE username_fold = '' AND place = $1`, place).Scan(&until)
		wait = sqldb.Time(until).Sub(last)
	}
	if err != nil {
		return 0, fmt.Errorf("count sign-up: %w", err)
	}
	return wait, nil
}

// ForgetFailures forgets the failures of an attempt that has succeeded. Those of other
// networks stay.
func (s *Store) ForgetFailures(ctx context.Context, a Attempt) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM sign_in_failure WHERE username_fold = $1 AND place = $2`, sqldb.Fold(a.Username), a.From)
	if err != nil {
		return fmt.Errorf("forget failed sign-ins: %w", err)
	}
	return nil
}

// UnlockUser forgives the failed sign-ins of a user that v may see and that check lets
// the caller unlock.
func (s *Store) UnlockUser(ctx context.Context, v identity.Viewer, id string, check func(User) error) (u User, err error) {
	err = s.log.Write(ctx, "unlock user", func(tx *change.Tx) (change.Record, error) {
		if u, err = readUser(ctx, tx, v, id); err != nil {
			return change.Record{}, err
		}
		if err := check(u); err != nil {
			return change.Record{}, err
		}
		return change.Record{Resource: UserName(id), Label: u.Label()}, forgetFailures(ctx, tx, id)
	})
	return u, err
}

// forgetFailures forgets the failed sign-ins of a user's name, from everywhere.
func forgetFailures(ctx context.Context, q sqldb.Querier, user string) error {
	_, err := q.ExecContext(ctx, `
		DELETE FROM sign_in_failure WHERE username_fold = (SELECT username_fold FROM users WHERE id = $1)`, user)
	return err
}

// devicesPerUser is how many devices of a user are remembered: with another, the one
// that was used longest ago is forgotten.
const devicesPerUser = 16

// KnownDevice reports whether the user of this name has signed in from the device with
// this hash.
func (s *Store) KnownDevice(ctx context.Context, username string, device []byte) (bool, error) {
	known, err := sqldb.Exists(ctx, s.db, `
		SELECT EXISTS (SELECT 1 FROM device d JOIN users u ON u.id = d.user_id WHERE d.hash = $1 AND u.username_fold = $2)`,
		device, sqldb.Fold(username))
	if err != nil {
		return false, fmt.Errorf("look for a device: %w", err)
	}
	return known, nil
}

// rememberDevice remembers that a user signs in from the device with this hash, if it
// has one. The user's row is locked, so that a device of before a change of the password
// is not remembered after it.
func rememberDevice(ctx context.Context, tx *sqldb.Tx, user string, device []byte, now time.Time) error {
	if len(device) == 0 {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO device (hash, user_id, used_at) VALUES ($1, $2, $3)
		ON CONFLICT (hash) DO UPDATE SET used_at = excluded.used_at`, device, user, now.UnixMicro())
	if err != nil {
		return fmt.Errorf("remember device: %w", err)
	}
	_, err = tx.ExecContext(ctx, `
		DELETE FROM device WHERE user_id = $1 AND hash NOT IN (
			SELECT hash FROM device WHERE user_id = $1 ORDER BY used_at DESC, hash LIMIT $2)`, user, int64(devicesPerUser))
	if err != nil {
		return fmt.Errorf("forget devices: %w", err)
	}
	return nil
}

// forgetDevices forgets the devices of a user, except those of the sign-ins that the
// user has still: whoever knew the password of before must not pass as known.
func forgetDevices(ctx context.Context, tx *change.Tx, user string) error {
	_, err := tx.ExecContext(ctx, `
		DELETE FROM device WHERE user_id = $1 AND NOT EXISTS (
			SELECT 1 FROM sign_in WHERE user_id = $1 AND sign_in.device = device.hash)`, user)
	if err != nil {
		return fmt.Errorf("forget devices: %w", err)
	}
	return nil
}
