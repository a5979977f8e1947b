// Package change makes a service's changes one at a time, keeps a log of them, and
// serves the log as a watch. The log is the audit log too. The package owns the
// tables of Schema; the service decides what a change's event says and what a
// snapshot contains. Package watch, which knows no database, follows a watch.
//
// A write that others must see is one change, made by Log.Write:
//
//	UPDATE change_counter SET n = n + 1 RETURNING n     takes the number (and a time that never
//	                                                    goes back), and the counter's row lock
//	… the write's own statements …                      no other change is made
//	INSERT INTO change (number, …)
//	COMMIT                                              releases the lock
//
// Because of the lock only one change is made at a time. So numbers are in the
// order of commits: a reader that has seen 8 never finds a 7 later. And what a
// change has read stays true until its commit.
package change

import (
	"context"
	"crypto/rand"
	"embed"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema returns the log's tables, for the schema of the service whose log it is.
func Schema() sqldb.Part { return sqldb.Part{Name: "change", Files: migrations} }

// Retention is how far back a watcher can resume, and the shortest time for which
// changes are kept.
const Retention = 7 * 24 * time.Hour

// Tx is a transaction that makes one change.
type Tx struct {
	*sqldb.Tx
	// Number is the change's number.
	Number uint64
	// Time is when the change is made, as precise as databases store it.
	Time time.Time
	// Moment has the number, and a time that is later than that of every change before it.
	// Time may not be, as clocks differ.
	Moment moment.Moment
}

// Count returns how many changes an actor, users/{id} or services/{service}, has made by
// an action since a time, within Retention.
func (t *Tx) Count(ctx context.Context, actor, action string, since time.Time) (n int, err error) {
	err = t.QueryRowContext(ctx, `SELECT count(*) FROM change WHERE actor = $1 AND action = $2 AND time_us > $3`,
		actor, action, since.UnixMicro()).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count changes: %w", err)
	}
	return n, nil
}

// Record describes a change.
type Record struct {
	// Actor is who made it: users/{id} or services/{service}. Empty means the
	// caller of the gRPC call.
	Actor string
	// ActorLabel is what users call the actor. Empty means the username of the caller,
	// or the name of the service.
	ActorLabel string
	// Action is the short name of the RPC, for example "CreateApi". Empty means
	// that of the gRPC call.
	Action string
	// Resource is the name of what changed.
	Resource string
	// Label is what users call the resource. Empty means what After says, or Before
	// where there is no After, if it is a Labelled.
	Label string
	// Before and After are the rows of the resource before and after the change, nil
	// where it does not exist: the audit log says how they differ, as the function
	// given to Log.Describe shows them.
	Before, After any
	// Secrets are the names of secrets that changed and that no resource shows, such
	// as "password".
	Secrets []string
	// Event is the event that watchers receive with the change; nil tells them only
	// that there was a change.
	Event proto.Message
	// Others are events of other types: where a log has several watches, the
	// watchers of each receive the event of its type.
	Others []proto.Message
	// Skip makes Log.Write commit without a change: nothing changed that others
	// must see.
	Skip bool
}

// Labelled is a row that knows what users call its resource.
type Labelled interface{ Label() string }

// take takes the moment of the next change, which is made now, and with it the lock that
// only one transaction holds at a time. The first change also creates the history's
// epoch.
func take(ctx context.Context, tx *sqldb.Tx, now time.Time) (m moment.Moment, err error) {
	err = tx.QueryRowContext(ctx, `
		UPDATE change_counter SET n = n + 1, epoch = CASE WHEN epoch = '' THEN $1 ELSE epoch END,
			time_us = CASE WHEN time_us < $2 THEN $2 ELSE time_us + 1 END
		WHERE id = 1 RETURNING n, time_us`, rand.Text(), now.UnixMicro()).Scan(&m.Change, &m.Time)
	if err != nil {
		return moment.Moment{}, fmt.Errorf("take number of a change: %w", err)
	}
	return m, nil
}

// returnNumber gives back the number that tx has taken, so that the next change
// gets it. The time has passed.
func returnNumber(ctx context.Context, tx *sqldb.Tx) error {
	if _, err := tx.ExecContext(ctx, `UPDATE change_counter SET n = n - 1 WHERE id = 1`); err != nil {
		return fmt.Errorf("return number of a change: %w", err)
	}
	return nil
}

// add adds a change to the log.
func (l *Log) add(ctx context.Context, tx *Tx, r Record) error {
	r = complete(ctx, r)
	var events []byte
	if all := r.events(); len(all) > 0 {
		var err error
		if events, err = watch.EncodeEvents(all...); err != nil {
			return fmt.Errorf("events of %s: %w", r.Resource, err)
		}
		events = l.sealed(tx.Number, events)
	}
	fields, err := l.fields(r)
	if err != nil {
		return fmt.Errorf("compare %s: %w", r.Resource, err)
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO change (number, actor, action, resource, actor_label, resource_label, time_us, events, fields)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		int64(tx.Number), r.Actor, r.Action, r.Resource, r.ActorLabel, r.Label, tx.Time.UnixMicro(), events, fields)
	if err != nil {
		return fmt.Errorf("add change %d: %w", tx.Number, err)
	}
	return nil
}

// events returns the events that the record has. One that says nothing is none.
func (r Record) events() []proto.Message {
	var all []proto.Message
	for _, event := range append([]proto.Message{r.Event}, r.Others...) {
		if event != nil && proto.Size(event) > 0 {
			all = append(all, event)
		}
	}
	return all
}

// fields returns what a change did to the fields of its resource: a Change that has
// only these, encoded, or nil.
func (l *Log) fields(r Record) ([]byte, error) {
	all, err := fieldChanges(l.describe(r.Before), l.describe(r.After))
	if err != nil {
		return nil, err
	}
	for _, secret := range r.Secrets {
		all = append(all, &changev1.FieldChange{Field: secret, Secret: true})
	}
	if len(all) == 0 {
		return nil, nil
	}
	return proto.Marshal(&changev1.Change{FieldChanges: all})
}

// complete fills in what the gRPC call and the rows say.
func complete(ctx context.Context, r Record) Record {
	if r.Actor == "" {
		r.Actor, r.ActorLabel = identity.From(ctx).Actor(), identity.From(ctx).User.Username
	}
	if service, ok := strings.CutPrefix(r.Actor, "services/"); ok && r.ActorLabel == "" {
		r.ActorLabel = service
	}
	for _, row := range []any{r.After, r.Before} {
		if l, ok := row.(Labelled); ok && r.Label == "" {
			r.Label = l.Label()
		}
	}
	if r.Action == "" {
		if method, ok := grpc.Method(ctx); ok {
			r.Action = method[strings.LastIndexByte(method, '/')+1:]
		}
	}
	return r
}

// Latest returns the moment of the newest change that q sees, as Head does.
func Latest(ctx context.Context, q sqldb.Querier) (m moment.Moment, err error) {
	if err := q.QueryRowContext(ctx, `SELECT n, time_us FROM change_counter WHERE id = 1`).Scan(&m.Change, &m.Time); err != nil {
		return moment.Moment{}, fmt.Errorf("read moment of the newest change: %w", err)
	}
	return m, nil
}

// Head returns the number of the newest change that q sees, 0 before the first.
// When it is read before other rows in a transaction, those rows are at least as
// new as that change.
func Head(ctx context.Context, q sqldb.Querier) (uint64, error) {
	var n int64
	if err := q.QueryRowContext(ctx, `SELECT n FROM change_counter WHERE id = 1`).Scan(&n); err != nil {
		return 0, fmt.Errorf("read number of the newest change: %w", err)
	}
	return uint64(n), nil
}
