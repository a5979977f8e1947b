package change

import (
	"context"
	"fmt"
	"strconv"

	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// SealEvents makes the log store events sealed with a key, because they have secrets.
// It is called before the first Write and the first watch, and for all instances of a
// service alike.
func (l *Log) SealEvents(key *seal.Key) { l.key = key }

// sealContext says of which change sealed bytes are the event.
func (l *Log) sealContext(number uint64) []byte {
	return []byte("event/" + l.service + "/" + strconv.FormatUint(number, 10))
}

// sealed returns an event as it is stored.
func (l *Log) sealed(number uint64, event []byte) []byte {
	if l.key == nil {
		return event
	}
	return l.key.Seal(event, l.sealContext(number))
}

// opened returns the event that sealed made stored of.
func (l *Log) opened(number uint64, stored []byte) ([]byte, error) {
	if l.key == nil || stored == nil {
		return stored, nil
	}
	event, err := l.key.Open(stored, l.sealContext(number))
	if err != nil {
		return nil, fmt.Errorf("read event of change %d: %w", number, err)
	}
	return event, nil
}

// Settle waits until the writes of all instances that have begun have ended, so that
// what they have sealed is seen.
func (l *Log) Settle(ctx context.Context) error {
	return l.Write(ctx, "wait for writes", func(*Tx) (Record, error) { return Record{Skip: true}, nil })
}

// ResealEvents seals with the first key of the file what another one sealed, as far
// back as watchers can resume, and returns how many events that were; older ones are
// not read again. Its error is seal.ErrOpen when no key of the file opens an event.
// Other instances may run.
func (l *Log) ResealEvents(ctx context.Context) (sealed int, err error) {
	var last int64
	for {
		events, err := sqldb.All(ctx, l.db, scanStored, `
			SELECT number, events FROM change WHERE number > $1 AND time_us >= $2 AND events IS NOT NULL
			ORDER BY number LIMIT $3`, last, l.now().Add(-Retention).UnixMicro(), int64(batch))
		if err != nil {
			return sealed, fmt.Errorf("read events to seal them again: %w", err)
		}
		for _, e := range events {
			last = int64(e.number)
			if !l.key.Stale(e.events) {
				continue
			}
			if err := l.reseal(ctx, e); err != nil {
				return sealed, err
			}
			sealed++
		}
		if len(events) < batch {
			return sealed, nil
		}
	}
}

// reseal seals an event again.
func (l *Log) reseal(ctx context.Context, e stored) error {
	event, err := l.opened(e.number, e.events)
	if err != nil {
		return err
	}
	_, err = l.db.ExecContext(ctx, `UPDATE change SET events = $1 WHERE number = $2`, l.sealed(e.number, event), int64(e.number))
	if err != nil {
		return fmt.Errorf("seal event of change %d again: %w", e.number, err)
	}
	return nil
}

func scanStored(row sqldb.Row) (stored, error) {
	var number int64
	var s stored
	err := row.Scan(&number, &s.events)
	s.number = uint64(number)
	return s, err
}
