package sqldb

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// goodbyeTimeout bounds the closing of a connection that listens.
const goodbyeTimeout = 2 * time.Second

// Notify tells every Listen on the channel, also in other processes, of this
// transaction once it is committed. On SQLite it does nothing.
func (t *Tx) Notify(ctx context.Context, channel string) error {
	if t.engine != postgresEngine {
		return nil
	}
	// All schemas of a database share the channels; the payload says which schema
	// this is.
	if _, err := t.tx.ExecContext(ctx, `SELECT pg_notify($1, current_schema())`, channel); err != nil {
		return fmt.Errorf("notify %s: %w", channel, err)
	}
	return nil
}

// Listen calls heard once it listens to the channel, and from then on after one or
// more commits of transactions that called Notify. It holds one connection outside
// the pool, and returns an error when that breaks; commits before the next Listen
// are missed. It returns nil when ctx ends. On SQLite it hears nothing.
func (db *DB) Listen(ctx context.Context, channel string, heard func()) error {
	if db.listener == nil {
		<-ctx.Done()
		return nil
	}
	err := listen(ctx, db.listener.Copy(), channel, heard)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func listen(ctx context.Context, cfg *pgx.ConnConfig, channel string, heard func()) error {
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("listen to %s: %w", channel, err)
	}
	defer hangUp(ctx, conn)
	var schema string
	if err := conn.QueryRow(ctx, `SELECT current_schema()`).Scan(&schema); err != nil {
		return fmt.Errorf("listen to %s: read schema: %w", channel, err)
	}
	if _, err := conn.Exec(ctx, `LISTEN `+pgx.Identifier{channel}.Sanitize()); err != nil {
		return fmt.Errorf("listen to %s: %w", channel, err)
	}
	heard()
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return fmt.Errorf("listen to %s: %w", channel, err)
		}
		if n.Payload == schema {
			heard()
		}
	}
}

// hangUp closes a connection and waits until that is done.
func hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeTimeout)
	defer cancel()
	_ = conn.Close(ctx) // the connection is not used again, so its error does not matter
	select {
	case <-conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}
