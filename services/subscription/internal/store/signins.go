package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// After failuresAtOnce failed sign-ins in a row, a name may try only once every
// failurePause. Each failurePause without a failure forgives one.
const (
	failuresAtOnce = 10
	failurePause   = 30 * time.Second
)

// SignInDelay returns how long a name must wait before its next sign-in; 0 means
// that it need not wait.
func (s *Store) SignInDelay(ctx context.Context, username string) (time.Duration, error) {
	var until int64
	err := s.db.QueryRowContext(ctx, `SELECT penalty_until FROM sign_in_failure WHERE username_fold = $1`, sqldb.Fold(username)).Scan(&until)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read failed sign-ins: %w", err)
	}
	return max(0, sqldb.Time(until).Sub(s.moment())-(failuresAtOnce-1)*failurePause), nil
}

// CountFailure counts a failed sign-in of a name, whether or not a user has that
// name.
func (s *Store) CountFailure(ctx context.Context, username string) error {
	now := s.moment().UnixMicro()
	_, err := s.db.ExecContext(ctx, `
		INSERT INTO sign_in_failure (username_fold, penalty_until) VALUES ($1, $2)
		ON CONFLICT (username_fold) DO UPDATE SET penalty_until =
			CASE WHEN sign_in_failure.penalty_until > $3 THEN sign_in_failure.penalty_until + $4 ELSE excluded.penalty_until END`,
		sqldb.Fold(username), now+failurePause.Microseconds(), now, failurePause.Microseconds())
	if err != nil {
		return fmt.Errorf("count failed sign-in: %w", err)
	}
	return nil
}

// RefreshToken is a refresh token as it is stored.
type RefreshToken struct {
	Hash      []byte
	ExpiresAt time.Time
}

// SignedIn is a sign-in that was just begun or refreshed.
type SignedIn struct {
	ID   string
	User User
	// AsOf is the number of the newest change before the user was read.
	AsOf uint64
}

// read reads the user of the sign-in.
func (in *SignedIn) read(ctx context.Context, tx *sqldb.Tx, user string) (err error) {
	if in.AsOf, err = change.Head(ctx, tx); err != nil {
		return err
	}
	in.User, err = scanUser(tx.QueryRowContext(ctx, selectUser+`WHERE id = $1`, user))
	return err
}

// CreateSignIn begins a sign-in of a user whose password was just verified against
// this hash. It reports false when the password has changed since, or the user is
// suspended.
func (s *Store) CreateSignIn(ctx context.Context, user, password string, first RefreshToken) (in SignedIn, ok bool, err error) {
	err = s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		in = SignedIn{ID: id.New()}
		now := s.moment().UnixMicro()
		// This write makes a concurrent change of the password wait.
		ok, err = sqldb.Changed(tx.ExecContext(ctx, `UPDATE users SET signed_in_at = $1 WHERE id = $2 AND password = $3 AND NOT suspended`, now, user, password))
		if err != nil || !ok {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			DELETE FROM sign_in_failure WHERE username_fold = (SELECT username_fold FROM users WHERE id = $1)`, user)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO sign_in (id, user_id, created_at, used_at) VALUES ($1, $2, $3, $3)`, in.ID, user, now)
		if err != nil {
			return err
		}
		if err := addRefreshToken(ctx, tx, in.ID, first); err != nil {
			return err
		}
		return in.read(ctx, tx, user)
	})
	if err != nil {
		return SignedIn{}, false, fmt.Errorf("begin sign-in: %w", err)
	}
	return in, ok, nil
}

func addRefreshToken(ctx context.Context, tx *sqldb.Tx, signIn string, t RefreshToken) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO refresh_token (hash, sign_in, expires_at, spent) VALUES ($1, $2, $3, FALSE)`,
		t.Hash, signIn, t.ExpiresAt.UnixMicro())
	return err
}

// Refreshed is the outcome of using a refresh token.
type Refreshed int

// The outcomes.
const (
	// Rotated: the token is spent, and the next one replaces it.
	Rotated Refreshed = iota
	// Unknown: there is no such token, or it has expired.
	Unknown
	// Reused: the token was spent before, so its sign-in has been ended.
	Reused
)

// RotateSignIn spends a refresh token and replaces it with the next. It returns the
// sign-in only when the outcome is Rotated.
func (s *Store) RotateSignIn(ctx context.Context, hash []byte, next RefreshToken) (in SignedIn, what Refreshed, err error) {
	err = s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		var user string
		in, what = SignedIn{}, Unknown
		now := s.moment().UnixMicro()
		// Lock the sign-in before its tokens, in the same order as the methods that
		// end it.
		err := tx.QueryRowContext(ctx, `
			UPDATE sign_in SET used_at = $1
			WHERE id = (SELECT sign_in FROM refresh_token WHERE hash = $2 AND expires_at > $1)
			RETURNING id, user_id`, now, hash).Scan(&in.ID, &user)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		first, err := sqldb.Changed(tx.ExecContext(ctx, `UPDATE refresh_token SET spent = TRUE WHERE hash = $1 AND NOT spent`, hash))
		if err != nil {
			return err
		}
		if !first {
			what = Reused
			_, err = tx.ExecContext(ctx, `DELETE FROM sign_in WHERE id = $1`, in.ID)
			return err
		}
		if err := addRefreshToken(ctx, tx, in.ID, next); err != nil {
			return err
		}
		what = Rotated
		return in.read(ctx, tx, user)
	})
	if err != nil {
		return SignedIn{}, Unknown, fmt.Errorf("refresh sign-in: %w", err)
	}
	return in, what, nil
}

// EndSignIn ends the sign-in of a refresh token, spent or not.
func (s *Store) EndSignIn(ctx context.Context, hash []byte) error {
	_, err := s.db.ExecContext(ctx, `
		DELETE FROM sign_in WHERE id = (SELECT sign_in FROM refresh_token WHERE hash = $1)`, hash)
	if err != nil {
		return fmt.Errorf("end sign-in: %w", err)
	}
	return nil
}

// ChangePassword sets the hash of a user's password and ends their sign-ins except
// keep. It reports false, and changes nothing, when old is not nil and is not the
// current hash.
func (s *Store) ChangePassword(ctx context.Context, id string, old *string, hash, keep string) (ok bool, err error) {
	err = s.log.Write(ctx, "change password", func(tx *change.Tx) (change.Record, error) {
		ok, err = sqldb.Changed(tx.ExecContext(ctx, `
			UPDATE users SET password = $1, updated_at = $2, etag = etag + 1
			WHERE id = $3 AND (CAST($4 AS TEXT) IS NULL OR password = $4)`, hash, tx.Time.UnixMicro(), id, old))
		if err != nil {
			return change.Record{}, err
		}
		if !ok {
			return change.Record{Skip: true}, nil
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM sign_in WHERE user_id = $1 AND id <> $2`, id, keep); err != nil {
			return change.Record{}, err
		}
		return change.Record{Resource: UserName(id), Secrets: []string{passwordSecret}}, nil
	})
	return ok, err
}
