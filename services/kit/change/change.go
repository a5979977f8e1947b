// Package change keeps a service's log of changes and serves it as a watch. The
// log is the audit log too. It owns the tables of Schema; what a change's event
// says, and what a snapshot has in it, belong to the service. Following a watch
// belongs to package watch, which knows no database.
package change

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// Schema is the SQL text of the log's tables. Each service's first migration
// has it verbatim.
const Schema = `CREATE TABLE change_counter (
    id    BIGINT PRIMARY KEY CHECK (id = 1),
    n     BIGINT NOT NULL,
    epoch TEXT NOT NULL
);

CREATE TABLE change (
    number   BIGINT PRIMARY KEY,
    actor    TEXT NOT NULL,
    action   TEXT NOT NULL,
    resource TEXT NOT NULL,
    time_us  BIGINT NOT NULL,
    event    BYTEA
);

CREATE INDEX change_time_us ON change (time_us);

CREATE TABLE change_watcher (
    instance        TEXT COLLATE "C" PRIMARY KEY,
    stream          TEXT NOT NULL,
    kind            TEXT NOT NULL,
    build           TEXT NOT NULL,
    address         TEXT NOT NULL,
    features        TEXT NOT NULL,
    applied         BIGINT NOT NULL,
    sessions_closed BIGINT NOT NULL,
    failure         TEXT NOT NULL,
    connected       BOOLEAN NOT NULL,
    seen_us         BIGINT NOT NULL
);
`

// Reach is how far back a watcher can resume.
const Reach = 7 * 24 * time.Hour

// Record is what is said about a change.
type Record struct {
	// Actor is who made it: users/{id} or services/{service}. Empty is the
	// caller of the gRPC call.
	Actor string
	// Action is the short name of the RPC, for example "CreateApi". Empty is
	// that of the gRPC call.
	Action string
	// Resource is the name of what changed.
	Resource string
	// Event is what watchers are told, encoded; empty tells them only that
	// there was a change.
	Event []byte
	// At is when it was made; Log.Write fills it.
	At time.Time
	// Skip makes Log.Write commit without a change: it turned out that there
	// was nothing to change.
	Skip bool
}

// Append adds a change to the log and returns its number. It is the last
// statement of its transaction, because it holds the log's counter until the
// commit: that makes the order of numbers that of commits. Whoever calls it
// outside Log.Write calls Log.Notify after the commit.
func Append(ctx context.Context, tx *sqldb.Tx, r Record) (uint64, error) {
	r = complete(ctx, r)
	if r.At.IsZero() {
		return 0, errors.New("append change: it has no time")
	}
	var n int64
	err := tx.QueryRowContext(ctx, `
		INSERT INTO change_counter (id, n, epoch) VALUES (1, 1, $1)
		ON CONFLICT (id) DO UPDATE SET n = change_counter.n + 1
		RETURNING n`, rand.Text()).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("append change: count: %w", err)
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO change (number, actor, action, resource, time_us, event)
		VALUES ($1, $2, $3, $4, $5, $6)`,
		n, r.Actor, r.Action, r.Resource, r.At.UnixMicro(), r.Event)
	if err != nil {
		return 0, fmt.Errorf("append change %d: %w", n, err)
	}
	return uint64(n), nil
}

// complete fills what the gRPC call says.
func complete(ctx context.Context, r Record) Record {
	if r.Actor == "" {
		r.Actor = Actor(identity.From(ctx))
	}
	if r.Action == "" {
		if method, ok := grpc.Method(ctx); ok {
			r.Action = method[strings.LastIndexByte(method, '/')+1:]
		}
	}
	return r
}

// Actor returns how the log names a caller, "" for nobody.
func Actor(c identity.Caller) string {
	switch {
	case c.User.Name != "":
		return c.User.Name
	case c.Service == identity.AnyService:
		return "services/unknown"
	case c.Service != "":
		return "services/" + c.Service
	}
	return ""
}

// Head returns the number of the newest change that q sees, 0 when there is
// none. Read in a transaction before other rows, it is a number that those rows
// are not older than.
func Head(ctx context.Context, q sqldb.Querier) (uint64, error) {
	var n int64
	err := q.QueryRowContext(ctx, `SELECT n FROM change_counter WHERE id = 1`).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read number of the newest change: %w", err)
	}
	return uint64(n), nil
}
