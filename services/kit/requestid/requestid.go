// Package requestid makes calls that create something ones that can be sent again
// (AIP-155). A request may have a UUID of its caller's own, request_id; what the call made
// is kept with it for an hour, in the transaction that makes it. The package owns the
// table of Schema, in the database of the service that uses it.
package requestid

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"embed"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Schema returns the package's table, for the schema of the service that uses it.
func Schema() sqldb.Part { return sqldb.Part{Name: "request", Files: migrations} }

// Keep is how long it is known what a call made.
const Keep = time.Hour

// forgetBatch is how many rows one call forgets at most: no call waits long, and more are
// forgotten than are added.
const forgetBatch = 100

// Message is a request with a request_id, which the proto's rules have checked.
type Message interface {
	proto.Message
	GetRequestId() string
}

// Request is a call that creates something. The zero Request is one that is not
// recognized when it is sent again.
type Request struct {
	actor string
	// id is a hash of the request_id, and contents are one of the rest, with the request_id
	// as its key. So the table does not help to guess a secret that a request has.
	id, contents []byte
}

// Of returns the request of the call that ctx belongs to. A call of nobody, and one
// without a request_id, is not recognized when it is sent again.
func Of(ctx context.Context, req Message) Request {
	actor := identity.From(ctx).Actor()
	if actor == "" || req.GetRequestId() == "" {
		return Request{}
	}
	m := proto.Clone(req).ProtoReflect()
	m.Clear(m.Descriptor().Fields().ByName("request_id"))
	text, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Interface())
	if err != nil {
		panic(err) // a request that was received can be encoded
	}
	uuid := []byte(strings.ToLower(req.GetRequestId()))
	id := sha256.Sum256(uuid)
	contents := hmac.New(sha256.New, uuid)
	contents.Write([]byte(m.Descriptor().FullName() + " "))
	contents.Write(text)
	return Request{actor: actor, id: id[:], contents: contents.Sum(nil)}
}

// Once returns the function for change.Log.Write that runs create for the first of equal
// requests. For the others it runs again with the name of what was made, which reads that
// as it is now; the write then succeeds without a change, and the header of the answer
// names the change of the first. Another request with the same request_id is a fault.
//
// As writes run one at a time, requests that are sent at once make one thing too.
func (r Request) Once(ctx context.Context, again func(tx *change.Tx, resource string) error,
	create func(tx *change.Tx) (change.Record, error),
) func(tx *change.Tx) (change.Record, error) {
	if r.id == nil {
		return create
	}
	return func(tx *change.Tx) (change.Record, error) {
		first, found, err := r.find(ctx, tx)
		if err != nil {
			return change.Record{}, err
		}
		if found {
			if err := again(tx, first.resource); err != nil {
				return change.Record{}, err
			}
			return change.Record{}, change.Unchanged(first.number)
		}
		record, err := create(tx)
		if err != nil || record.Skip {
			return record, err
		}
		return record, r.keep(ctx, tx, record.Resource)
	}
}

// made is what a request made.
type made struct {
	contents []byte
	resource string
	number   uint64
}

// find returns what the request has made, if that is known.
func (r Request) find(ctx context.Context, tx *change.Tx) (first made, found bool, err error) {
	first, found, err = sqldb.One(ctx, tx, func(row sqldb.Row) (m made, err error) {
		var number int64
		err = row.Scan(&m.contents, &m.resource, &number)
		m.number = uint64(number)
		return m, err
	}, `SELECT contents, resource, change_number FROM request WHERE actor = $1 AND id = $2 AND time_us > $3`,
		r.actor, r.id, forgotten(tx))
	switch {
	case err != nil:
		return first, false, fmt.Errorf("look for the request: %w", err)
	case found && !bytes.Equal(first.contents, r.contents):
		return first, false, fault.Invalid("request_id", "was sent with another request within the last hour: must be a new UUID")
	}
	return first, found, nil
}

// keep notes what the request has made, and forgets what is older than an hour.
func (r Request) keep(ctx context.Context, tx *change.Tx, resource string) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO request (actor, id, contents, resource, change_number, time_us) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (actor, id) DO UPDATE SET contents = excluded.contents, resource = excluded.resource,
			change_number = excluded.change_number, time_us = excluded.time_us`,
		r.actor, r.id, r.contents, resource, int64(tx.Number), tx.Time.UnixMicro())
	if err != nil {
		return fmt.Errorf("keep the request: %w", err)
	}
	_, err = tx.ExecContext(ctx, `
		DELETE FROM request WHERE (actor, id) IN (
			SELECT actor, id FROM request WHERE time_us <= $1 ORDER BY time_us LIMIT $2)`, forgotten(tx), int64(forgetBatch))
	if err != nil {
		return fmt.Errorf("forget old requests: %w", err)
	}
	return nil
}

// forgotten is the time, in microseconds, up to which requests are forgotten.
func forgotten(tx *change.Tx) int64 { return tx.Time.Add(-Keep).UnixMicro() }
