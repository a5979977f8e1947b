package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// MaxTickets is how many tickets one credential has at once that are not spent.
const MaxTickets = 1000

// Ticket is the right to open one session.
type Ticket struct {
	// Hash is that of the ticket itself.
	Hash []byte
	// Version is a resource name.
	Version string
	// Grant is the id of the grant that it was made of, and Credential what its maker needs
	// to judge that credential again.
	Grant, Credential string
	// Ref is that of the session.
	Ref string
	// Origin and ClientNetwork are what the handshake must have; empty for any.
	Origin, ClientNetwork string
	ExpiresAt             time.Time
	// Attempt is what has spent it; empty for nothing.
	Attempt string
}

// CreateTicket stores a ticket. It is an Exhausted fault where the grant has MaxTickets.
func (s *Store) CreateTicket(ctx context.Context, t Ticket) error {
	now := s.moment().UnixMicro()
	err := s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		// Purchases with one credential come one after the other, so that none counts what
		// another one is about to add.
		if err := tx.Lock(ctx, "tickets of "+t.Grant); err != nil {
			return err
		}
		var waiting int
		err := tx.QueryRowContext(ctx, `
			SELECT count(*) FROM ticket WHERE grant_id = $1 AND expires_at > $2 AND attempt = ''`, t.Grant, now).Scan(&waiting)
		if err != nil {
			return err
		}
		if waiting >= MaxTickets {
			return fault.Exhausted("the credential has %d tickets that are not spent", waiting)
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO ticket (hash, version, grant_id, credential, ref, origin, client_network, expires_at, attempt)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, '')`,
			t.Hash, t.Version, t.Grant, t.Credential, t.Ref, t.Origin, t.ClientNetwork, t.ExpiresAt.UnixMicro())
		return err
	})
	if err != nil {
		return fmt.Errorf("create a ticket: %w", err)
	}
	return nil
}

// Ticket returns the ticket with a hash, and false where there is none, or none any more.
func (s *Store) Ticket(ctx context.Context, hash []byte) (t Ticket, ok bool, err error) {
	var expires int64
	t.Hash = hash
	err = s.db.QueryRowContext(ctx, `
		SELECT version, grant_id, credential, ref, origin, client_network, expires_at, attempt FROM ticket WHERE hash = $1`, hash).
		Scan(&t.Version, &t.Grant, &t.Credential, &t.Ref, &t.Origin, &t.ClientNetwork, &expires, &t.Attempt)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Ticket{}, false, nil
	case err != nil:
		return Ticket{}, false, fmt.Errorf("read a ticket: %w", err)
	}
	t.ExpiresAt = time.UnixMicro(expires)
	return t, true, nil
}

// SpendTicket spends a ticket for an attempt, and reports whether it is spent by that now:
// not where another attempt was first, or where its time is over. It is one statement, so
// that of attempts at replicas of this service one succeeds; and it is true again for an
// attempt that has spent it, whose answer was lost.
func (s *Store) SpendTicket(ctx context.Context, hash []byte, attempt string) (spent bool, err error) {
	err = s.db.InTx(ctx, func(tx *sqldb.Tx) error {
		result, err := tx.ExecContext(ctx, `
			UPDATE ticket SET attempt = $1 WHERE hash = $2 AND (attempt = $1 OR attempt = '' AND expires_at > $3)`,
			attempt, hash, s.moment().UnixMicro())
		if err != nil {
			return err
		}
		n, err := result.RowsAffected()
		spent = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("spend a ticket: %w", err)
	}
	return spent, nil
}
