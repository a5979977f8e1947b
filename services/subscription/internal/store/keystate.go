package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// KeyState is what is known of a value of an API key for a version.
type KeyState struct {
	TokenState
	// Value is the id of the value.
	Value string
	// Issued is the moment at which the value was issued.
	Issued moment.Moment
	// ExpiresAt is when the value expires, at the latest with the key; the zero time means
	// never.
	ExpiresAt time.Time
}

// KeyState returns what is known, for a version, of the value of an API key with this hash.
func (s *Store) KeyState(ctx context.Context, hash []byte, version string) (st KeyState, err error) {
	err = s.db.InReadTx(ctx, func(tx *sqldb.Tx) error {
		asOf, err := change.Head(ctx, tx)
		if err != nil {
			return err
		}
		st, err = readKeyState(ctx, tx, version, `WHERE k.hash = $2`, hash)
		st.AsOf = asOf
		return err
	})
	if err != nil {
		return KeyState{}, fmt.Errorf("read state of an API key: %w", err)
	}
	return st, nil
}

// readKeyState returns what is known of a value of an API key for a version; where, with
// parameters from $2 on, finds the value, called k, of the key c. It leaves AsOf open.
func readKeyState(ctx context.Context, tx *sqldb.Tx, version, where string, value ...any) (st KeyState, err error) {
	var addresses, referers string
	var keyExpires, expires int64
	rights := rightsOf(&st.TokenState)
	err = tx.QueryRowContext(ctx, `
		SELECT k.id, k.expires_at, k.issued, k.issued_us, c.id, c.stage, c.permitted_addresses, c.permitted_referers, c.expires_at, `+rightsColumns+`
		FROM api_key_value k JOIN api_key c ON c.id = k.api_key `+rightsJoins+where, append([]any{version}, value...)...).
		Scan(append([]any{&st.Value, &expires, &st.Issued.Change, &st.Issued.Time, &st.APIKey, &st.Stage, &addresses, &referers, &keyExpires}, rights.dests()...)...)
	if errors.Is(err, sql.ErrNoRows) {
		return KeyState{}, nil
	}
	if err != nil {
		return KeyState{}, err
	}
	if keyExpires > 0 && (expires == 0 || keyExpires < expires) {
		expires = keyExpires
	}
	st.ExpiresAt, st.Addresses, st.Referers = maybe(expires), strings.Fields(addresses), strings.Fields(referers)
	rights.settle(st.Issued)
	return st, nil
}

// keyGrant returns the state of a grant of an API key.
func (s *Store) keyGrant(ctx context.Context, tx *sqldb.Tx, q GrantQuery) (GrantState, error) {
	st, err := readKeyState(ctx, tx, q.Version, `WHERE k.id = $2 AND c.id = $3 AND c.application = $4`, q.Token.ID, q.APIKey.APIKey, q.APIKey.Application)
	switch {
	case err != nil:
		return GrantState{}, err
	case !st.Known:
		return keyEnded(ctx, tx, q)
	case st.Revoked:
		return GrantState{Ended: backplanev1.GrantEvent_CAUSE_REVOKED}, nil
	case !st.ExpiresAt.IsZero() && !s.now().Before(st.ExpiresAt):
		return GrantState{Ended: backplanev1.GrantEvent_CAUSE_EXPIRED}, nil
	}
	state, err := rightsEnded(ctx, tx, q, st.TokenState)
	state.ExpiresAt, state.Issued = st.ExpiresAt, st.Issued
	return state, err
}

// keyEnded finds, by what still exists, what ended a grant of an API key.
func keyEnded(ctx context.Context, tx *sqldb.Tx, q GrantQuery) (GrantState, error) {
	exists, err := sqldb.Exists(ctx, tx, `SELECT EXISTS (SELECT 1 FROM api_key WHERE id = $1)`, q.APIKey.APIKey)
	if err != nil || exists {
		return GrantState{Ended: backplanev1.GrantEvent_CAUSE_API_KEY_REPLACED}, err
	}
	return ended(ctx, tx, `SELECT EXISTS (SELECT 1 FROM application WHERE id = $1)`, q.APIKey.Application,
		backplanev1.GrantEvent_CAUSE_API_KEY_DELETED, backplanev1.GrantEvent_CAUSE_APPLICATION_DELETED)
}
