package store

import (
	"context"
	"fmt"
	"iter"
	"time"

	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// SignIn is what a user's password opened.
type SignIn struct {
	ID, User string // ids
	// Generation is that of the newest refresh token.
	Generation uint32
	// ClientAddress is the IP address that the user signed in from, or empty.
	ClientAddress string
	CreatedAt     time.Time
	RefreshedAt   time.Time
	// ExpiresAt is when it ends unless it is refreshed before.
	ExpiresAt time.Time
}

// ListKey returns the sign-in's key in lists.
func (in SignIn) ListKey() sqldb.TimeKey {
	return sqldb.TimeKey{Time: in.CreatedAt.UnixMicro(), ID: in.ID}
}

const selectSignIn = `SELECT id, user_id, generation, client_address, created_at, refreshed_at, expires_at FROM sign_in `

func scanSignIn(row sqldb.Row) (SignIn, error) {
	var in SignIn
	var generation, created, refreshed, expires int64
	err := row.Scan(&in.ID, &in.User, &generation, &in.ClientAddress, &created, &refreshed, &expires)
	in.Generation = uint32(generation)
	in.CreatedAt, in.RefreshedAt, in.ExpiresAt = sqldb.Time(created), sqldb.Time(refreshed), sqldb.Time(expires)
	return in, err
}

// Lasting is how long sign-ins last.
type Lasting struct {
	// Idle is how long after the last refresh, and Most how long in all.
	Idle, Most time.Duration
	// Alive is how many of one user there may be: with another, the one that was
	// refreshed longest ago ends. 0 is no bound.
	Alive int
}

// until returns when a sign-in that began at a time and is refreshed now ends.
func (l Lasting) until(began, now time.Time) time.Time {
	idle, most := now.Add(l.Idle), began.Add(l.Most)
	if most.Before(idle) {
		return most
	}
	return idle
}

// SignedIn is a sign-in that was just begun or refreshed.
type SignedIn struct {
	SignIn
	Who User
	// AsOf is the moment at which the user was read.
	AsOf moment.Moment
	// Displaced are the names of those that ended because this one is one too many.
	Displaced []string
}

// Device is what a user signs in from.
type Device struct {
	// Address is its IP address, or empty.
	Address string
	// Hash is that of the key by which it is known, or empty.
	Hash []byte
}

// read reads the user of the sign-in.
func (in *SignedIn) read(ctx context.Context, tx *sqldb.Tx) (err error) {
	if in.AsOf, err = change.Latest(ctx, tx); err != nil {
		return err
	}
	in.Who, err = scanUser(tx.QueryRowContext(ctx, selectUser+`WHERE id = $1`, in.User))
	return err
}

// CreateSignIn begins a sign-in, from a device, which is known from then on, of a user
// whose password was just verified against this hash. It reports false when the password
// has changed since, or the user may not come in.
func (s *Store) CreateSignIn(ctx context.Context, user, password string, from Device, last Lasting) (in SignedIn, ok bool, err error) {
	err = s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		now := s.moment()
		in = SignedIn{SignIn: SignIn{
			ID: id.New(), User: user, ClientAddress: from.Address, CreatedAt: now, RefreshedAt: now, ExpiresAt: last.until(now, now),
		}}
		// This write makes a concurrent change of the password wait.
		ok, err = sqldb.Changed(tx.ExecContext(ctx, `
			UPDATE users SET signed_in_at = $1 WHERE id = $2 AND password = $3 AND state = 1`, now.UnixMicro(), user, password))
		if err != nil || !ok {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO sign_in (id, user_id, generation, client_address, device, created_at, refreshed_at, expires_at, spent_at)
			VALUES ($1, $2, 0, $3, $4, $5, $5, $6, '')`, in.ID, user, from.Address, from.Hash, now.UnixMicro(), in.ExpiresAt.UnixMicro())
		if err != nil {
			return err
		}
		if err := rememberDevice(ctx, tx, user, from.Hash, now); err != nil {
			return err
		}
		return in.read(ctx, tx)
	})
	if err != nil {
		return SignedIn{}, false, fmt.Errorf("begin sign-in: %w", err)
	}
	if ok {
		in.Displaced, err = s.endOldest(ctx, user, last.Alive)
	}
	return in, ok, err
}

// endOldest ends the sign-ins of a user that were refreshed longest ago, and the access
// of their tokens, until as many as may be alive are left; 0 is no bound. It returns
// their names. Only where there are too many is it a change: sign-ins must not wait for
// other changes.
func (s *Store) endOldest(ctx context.Context, user string, alive int) (names []string, err error) {
	if alive == 0 {
		return nil, nil
	}
	const oldest = `FROM sign_in WHERE user_id = $1 AND id NOT IN (
		SELECT id FROM sign_in WHERE user_id = $1 ORDER BY refreshed_at DESC, id DESC LIMIT $2)`
	tooMany, err := sqldb.Exists(ctx, s.db, `SELECT EXISTS (SELECT 1 `+oldest+`)`, user, int64(alive))
	if err != nil {
		return nil, fmt.Errorf("count sign-ins: %w", err)
	}
	if !tooMany {
		return nil, nil
	}
	err = s.log.Write(ctx, "end oldest sign-ins", func(tx *change.Tx) (change.Record, error) {
		names, err = signInNames(ctx, tx, user, `DELETE `+oldest+` RETURNING id`, user, int64(alive))
		if err != nil || len(names) == 0 {
			return change.Record{Skip: true}, err
		}
		username, err := usernameOf(ctx, tx, user)
		if err != nil {
			return change.Record{}, err
		}
		ended, err := endAccess(ctx, tx, names...)
		return change.Record{
			Actor: UserName(user), ActorLabel: username, Resource: names[0], Label: username, Event: ended, Others: signInsEnded(names),
		}, err
	})
	return names, err
}

// signInNames returns the names of the sign-ins of a user whose ids a statement returns.
func signInNames(ctx context.Context, tx *change.Tx, user, statement string, args ...any) ([]string, error) {
	names, err := sqldb.All(ctx, tx, scanID, statement, args...)
	for i, signIn := range names {
		names[i] = SignInName(user, signIn)
	}
	return names, err
}

// Refreshed is the outcome of using a refresh token.
type Refreshed int

// The outcomes.
const (
	// Renewed: the sign-in has the generation that follows the token's.
	Renewed Refreshed = iota
	// Over: the sign-in has ended.
	Over
	// Reused: the token was used before, and not just now. It may be stolen.
	Reused
)

// RefreshSignIn uses the refresh token of a generation of a sign-in:
//
//	the newest generation      → the sign-in gets the next generation
//	the one before it,
//	  at most 30 s after that  → nothing changes; the answer that was lost is
//	                             given again: the newest generation
//	any other                  → Reused
//
// The outcome is Renewed with the sign-in as it is then, or Reused or Over with the
// ids of the sign-in at most.
func (s *Store) RefreshSignIn(ctx context.Context, signIn string, generation uint32, last Lasting) (SignedIn, Refreshed, error) {
	return s.refreshSignIn(ctx, signIn, generation, 1, last)
}

// RefreshPageSignIn does the same for a page of the portal, whose tabs may use any
// generation that was spent in the last 30 s, and not only the one before the newest.
func (s *Store) RefreshPageSignIn(ctx context.Context, signIn string, generation uint32, last Lasting) (SignedIn, Refreshed, error) {
	return s.refreshSignIn(ctx, signIn, generation, maxSpent, last)
}

// refreshSignIn uses a refresh token, which may be so many generations behind the newest
// if it was spent in the last 30 s.
func (s *Store) refreshSignIn(ctx context.Context, signIn string, generation uint32, behind int, last Lasting) (in SignedIn, what Refreshed, err error) {
	err = s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		in, what = SignedIn{SignIn: SignIn{ID: signIn}}, Over
		now := s.moment()
		row, before, found, err := lockSignIn(ctx, tx, signIn)
		if err != nil || !found || !now.Before(row.ExpiresAt) {
			return err
		}
		in.SignIn = row
		age := int64(row.Generation) - int64(generation)
		switch {
		case age == 0:
			in.Generation, in.RefreshedAt, in.ExpiresAt = generation+1, now, last.until(row.CreatedAt, now)
			_, err = tx.ExecContext(ctx, `UPDATE sign_in SET generation = $1, refreshed_at = $2, expires_at = $3, spent_at = $4 WHERE id = $5`,
				int64(in.Generation), now.UnixMicro(), in.ExpiresAt.UnixMicro(), before.and(now).String(), signIn)
			if err != nil {
				return err
			}
		case age <= int64(behind) && before.lately(age, now):
		default:
			what = Reused
			return nil
		}
		if !now.Before(in.ExpiresAt) {
			return nil // the most that a sign-in may last was lowered
		}
		what = Renewed
		return in.read(ctx, tx)
	})
	if err != nil {
		return SignedIn{}, Over, fmt.Errorf("refresh sign-in: %w", err)
	}
	return in, what, nil
}

// lockSignIn reads a sign-in, and when its newest refresh tokens were spent. Its row is
// locked: whoever uses the same token waits.
func lockSignIn(ctx context.Context, tx *sqldb.Tx, signIn string) (in SignIn, before spent, found bool, err error) {
	if _, err := tx.ExecContext(ctx, `UPDATE sign_in SET generation = generation WHERE id = $1`, signIn); err != nil {
		return SignIn{}, nil, false, err
	}
	text := ""
	in, found, err = sqldb.One(ctx, tx, func(row sqldb.Row) (SignIn, error) { return scanSignIn(sqldb.With(row, &text)) }, `
		SELECT id, user_id, generation, client_address, created_at, refreshed_at, expires_at, spent_at FROM sign_in WHERE id = $1`, signIn)
	if err != nil || !found {
		return SignIn{}, nil, false, err
	}
	before, err = readSpent(text)
	return in, before, err == nil, err
}

// EndSignIn ends a sign-in and the access of its tokens, on behalf of an actor as a
// change.Record has it. One that has ended stays so, without a change.
func (s *Store) EndSignIn(ctx context.Context, actor, signIn string) error {
	_, err := s.endSignIn(ctx, signIn, func(string) string { return actor })
	return err
}

// SignOut does the same on behalf of the user whose sign-in it is. It returns the id
// of the user, "" if the sign-in had ended.
func (s *Store) SignOut(ctx context.Context, signIn string) (user string, err error) {
	return s.endSignIn(ctx, signIn, UserName)
}

func (s *Store) endSignIn(ctx context.Context, signIn string, actor func(user string) string) (user string, err error) {
	err = s.log.Write(ctx, "end sign-in", func(tx *change.Tx) (change.Record, error) {
		var found bool
		user, found, err = sqldb.One(ctx, tx, scanID, `DELETE FROM sign_in WHERE id = $1 RETURNING user_id`, signIn)
		if err != nil || !found {
			return change.Record{Skip: true}, err
		}
		record := change.Record{Actor: actor(user), Resource: SignInName(user, signIn)}
		if record.Label, err = usernameOf(ctx, tx, user); err != nil {
			return change.Record{}, err
		}
		if record.Actor == UserName(user) {
			record.ActorLabel = record.Label
		}
		record.Event, err = endAccess(ctx, tx, record.Resource)
		record.Others = signInsEnded([]string{record.Resource})
		return record, err
	})
	return user, err
}

// signInsEnded returns the event that ends the grants of tokens that users got within
// sign-ins, given by their names.
func signInsEnded(names []string) []proto.Message {
	if len(names) == 0 {
		return nil
	}
	return []proto.Message{event(backplanev1.GrantEvent_CAUSE_SIGN_IN_ENDED, names...)}
}

// usernameOf returns what users call a user, or "" where there is none.
func usernameOf(ctx context.Context, q sqldb.Querier, user string) (string, error) {
	username, _, err := sqldb.One(ctx, q, scanID, `SELECT username FROM users WHERE id = $1`, user)
	if err != nil {
		return "", fmt.Errorf("read the username of %s: %w", UserName(user), err)
	}
	return username, nil
}

// endSignIns ends all sign-ins of a user, and forgets the user's devices.
func endSignIns(ctx context.Context, tx *change.Tx, user string) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM sign_in WHERE user_id = $1`, user); err != nil {
		return err
	}
	return forgetDevices(ctx, tx, user)
}

func scanID(row sqldb.Row) (id string, err error) {
	err = row.Scan(&id)
	return id, err
}

// SignIn returns a sign-in of a user that v may see and that has not ended, or a
// NotFound fault.
func (s *Store) SignIn(ctx context.Context, v identity.Viewer, name resourcename.SignIn) (SignIn, error) {
	in, found, err := sqldb.One(ctx, s.db, scanSignIn, selectSignIn+`WHERE user_id = $1 AND id = $2 AND expires_at > $3`,
		name.User, name.SignIn, s.moment().UnixMicro())
	switch {
	case err != nil:
		return SignIn{}, fmt.Errorf("read %s: %w", name, err)
	case !found, !v.Sees(name.User):
		return SignIn{}, fault.NotFound("%s", name)
	}
	return in, nil
}

// SignIns returns the sign-ins of a user, after a key, that have not ended, oldest
// first.
func (s *Store) SignIns(ctx context.Context, user string, after sqldb.TimeKey) iter.Seq2[SignIn, error] {
	return sqldb.List(ctx, s.db, scanSignIn, SignIn.ListKey, after, selectSignIn+`
		WHERE (created_at, id) > ($1, $2) AND user_id = $4 AND expires_at > $5
		ORDER BY created_at, id LIMIT $3`, user, s.moment().UnixMicro())
}

// ChangePassword sets the hash of a user's password and ends their sign-ins except
// keep, and the access of the tokens of those; it forgets their devices except that of
// keep. It returns the names of the sign-ins that ended. It reports false, and changes
// nothing, when old is not nil and is not the current hash. Without old it is a reset,
// which also forgives failed sign-ins.
func (s *Store) ChangePassword(ctx context.Context, id string, old *string, hash, keep string) (names []string, ok bool, err error) {
	err = s.log.Write(ctx, "change password", func(tx *change.Tx) (change.Record, error) {
		var username string
		username, ok, err = sqldb.One(ctx, tx, scanID, `
			UPDATE users SET password = $1, updated_at = $2, etag = etag + 1
			WHERE id = $3 AND (CAST($4 AS TEXT) IS NULL OR password = $4) RETURNING username`, hash, tx.Time.UnixMicro(), id, old)
		if err != nil {
			return change.Record{}, err
		}
		if !ok {
			return change.Record{Skip: true}, nil
		}
		names, err = signInNames(ctx, tx, id, `DELETE FROM sign_in WHERE user_id = $1 AND id <> $2 RETURNING id`, id, keep)
		if err != nil {
			return change.Record{}, err
		}
		if err := forgetDevices(ctx, tx, id); err != nil {
			return change.Record{}, err
		}
		over := names
		if keep == "" {
			over = []string{UserName(id)}
		}
		if old == nil {
			if err := forgetFailures(ctx, tx, id); err != nil {
				return change.Record{}, err
			}
		}
		ended, err := endAccess(ctx, tx, over...)
		return change.Record{
			Resource: UserName(id), Label: username, Event: ended, Others: signInsEnded(names), Secrets: []string{passwordSecret},
		}, err
	})
	return names, ok, err
}
