package sqldb

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// goodbyeTimeout bounds the closing of a connection that listens.
const goodbyeTimeout = 2 * time.Second

// Notify makes every Listen on the channel hear of this transaction once it is
// committed, in other processes too. On SQLite it does nothing.
func (t *Tx) Notify(ctx context.Context, channel string) error {
	if t.engine != postgresEngine {
		return nil
	}
	// Channels are shared by all schemas of a database; the payload tells whose
	// this is.
	if _, err := t.tx.ExecContext(ctx, `SELECT pg_notify($1, current_schema())`, channel); err != nil {
		return fmt.Errorf("notify %s: %w", channel, err)
	}
	return nil
}

// Listen calls heard once it listens to the channel, and from then on after each
// commit of a transaction that called Notify, or after several. It keeps one
// connection beside the pool, and returns an error when that breaks: what is
// committed before the next Listen is not heard. On SQLite, where it hears
// nothing, and else it returns nil when ctx ends.
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
	_ = conn.Close(ctx) // it is of no use any more, however it ends
	select {
	case <-conn.PgConn().CleanupDone():
	case <-ctx.Done():
	}
}
