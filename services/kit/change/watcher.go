package change

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// Times of watchers' rows.
const (
	// recordEvery is the least time between two writes of a row.
	recordEvery = 100 * time.Millisecond
	// recordTimeout bounds a write.
	recordTimeout = 5 * time.Second
	// deadAfter is when a row that its replica no longer writes is marked as
	// disconnected.
	deadAfter = time.Minute
	// waitFor is the longest that WaitApplied waits.
	waitFor = 5 * time.Second
	// lostFor is how long Gateways still returns a gateway after its stream has
	// ended. The gateway may be cut off from this service only, or this service may
	// have restarted: the gateway's sessions live on.
	lostFor = 30 * time.Second
)

// recorder keeps the row of one watcher up to date. A newer stream of the same
// instance takes the row over; from then on this recorder's writes match no row.
type recorder struct {
	l        *Log
	instance string
	stream   string
	row      backplanev1.Ack // what the acks said, taken together
}

// newRecorder writes the row of a watcher that has just connected.
func (l *Log) newRecorder(ctx context.Context, hello *backplanev1.Hello, applied uint64) (*recorder, error) {
	features := hello.GetFeatures()
	if features == nil {
		features = []string{}
	}
	text, err := json.Marshal(features)
	if err != nil {
		return nil, fmt.Errorf("record watcher %s: %w", hello.GetInstance(), err)
	}
	r := &recorder{l: l, instance: hello.GetInstance(), stream: rand.Text()}
	r.row.AppliedChangeNumber = applied
	_, err = l.db.ExecContext(ctx, `
		INSERT INTO change_watcher (instance, stream, kind, build, address, features,
			applied, sessions_closed, failure, connected, seen_us, ref_tag)
		VALUES ($1, $2, $3, $4, $5, $6, $7, 0, '', TRUE, $8, $9)
		ON CONFLICT (instance) DO UPDATE SET stream = excluded.stream, kind = excluded.kind,
			build = excluded.build, address = excluded.address, features = excluded.features,
			applied = excluded.applied, sessions_closed = 0, failure = '', connected = TRUE,
			seen_us = excluded.seen_us, ref_tag = excluded.ref_tag`,
		r.instance, r.stream, hello.GetKind(), hello.GetBuild(), hello.GetAddress(), string(text),
		int64(applied), l.now().UnixMicro(), hello.GetRefTag())
	if err != nil {
		return nil, fmt.Errorf("record watcher %s: %w", r.instance, err)
	}
	return r, nil
}

// run writes the row when there are acknowledgements, at most every
// recordEvery, and once more when ctx ends.
func (r *recorder) run(ctx context.Context, acks <-chan *backplanev1.Ack) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	open, dirty := false, false
	for {
		select {
		case ack := <-acks:
			r.take(ack)
			dirty = true
		case <-pause.C:
			open = true
		case <-ctx.Done():
			r.write(context.WithoutCancel(ctx), false)
			return
		}
		if open && dirty {
			r.write(ctx, true)
			open, dirty = false, false
			pause.Reset(recordEvery)
		}
	}
}

// take adds an ack to the row. A failure stays until a later change is
// acknowledged, because answers to heartbeats do not repeat it.
func (r *recorder) take(ack *backplanev1.Ack) {
	if ack.GetAppliedChangeNumber() > r.row.GetAppliedChangeNumber() || ack.GetFailure() != "" {
		r.row.Failure = ack.GetFailure()
	}
	r.row.AppliedChangeNumber = ack.GetAppliedChangeNumber()
	r.row.SessionsClosed += ack.GetSessionsClosed()
}

// write writes the row and wakes calls of WaitApplied.
func (r *recorder) write(ctx context.Context, connected bool) {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	_, err := r.l.db.ExecContext(ctx, `
		UPDATE change_watcher SET applied = $1, sessions_closed = $2, failure = $3,
			connected = $4, seen_us = $5
		WHERE instance = $6 AND stream = $7`,
		int64(r.row.GetAppliedChangeNumber()), int64(r.row.GetSessionsClosed()), r.row.GetFailure(),
		connected, r.l.now().UnixMicro(), r.instance, r.stream)
	r.l.recording.Note(ctx, err, "instance", r.instance)
	if err != nil {
		return
	}
	r.l.mu.Lock()
	defer r.l.mu.Unlock()
	close(r.l.acked)
	r.l.acked = make(chan struct{})
}

// sweep marks the watchers of replicas that have died, and deletes those not heard
// within Retention.
func (l *Log) sweep(ctx context.Context) error {
	now := l.now()
	_, err := l.db.ExecContext(ctx, `
		UPDATE change_watcher SET connected = FALSE WHERE connected AND seen_us < $1`,
		now.Add(-deadAfter).UnixMicro())
	if err != nil {
		return fmt.Errorf("mark watchers: %w", err)
	}
	_, err = l.db.ExecContext(ctx, `DELETE FROM change_watcher WHERE seen_us < $1`,
		now.Add(-Retention).UnixMicro())
	if err != nil {
		return fmt.Errorf("delete watchers: %w", err)
	}
	return nil
}

// Watchers returns the watchers heard in the last 7 days, ordered by instance.
func (l *Log) Watchers(ctx context.Context) ([]*changev1.Watcher, error) {
	now := l.now()
	rows, err := l.db.QueryContext(ctx, `
		SELECT instance, kind, build, address, features, applied, sessions_closed, failure, connected, seen_us, ref_tag
		FROM change_watcher WHERE seen_us >= $1 ORDER BY instance`, now.Add(-Retention).UnixMicro())
	if err != nil {
		return nil, fmt.Errorf("list watchers: %w", err)
	}
	defer rows.Close()
	var all []*changev1.Watcher
	for rows.Next() {
		w := &changev1.Watcher{}
		var features string
		var applied, closed, seen int64
		err := rows.Scan(&w.Instance, &w.Kind, &w.Build, &w.Address, &features, &applied, &closed,
			&w.Failure, &w.Connected, &seen, &w.RefTag)
		if err == nil {
			err = json.Unmarshal([]byte(features), &w.Features)
		}
		if err != nil {
			return nil, fmt.Errorf("list watchers: %w", err)
		}
		w.AppliedChangeNumber, w.SessionsClosed = uint64(applied), uint64(closed)
		w.Name = resourcename.Watcher{Service: l.service, Watcher: w.GetInstance()}.String()
		at := time.UnixMicro(seen)
		w.SeenTime = timestamppb.New(at)
		w.Connected = w.Connected && now.Sub(at) < watch.Silence
		all = append(all, w)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("list watchers: %w", err)
	}
	return all, nil
}

// Gateways returns the gateways that watch, and those that did within the last 30
// s, ordered by instance.
func (l *Log) Gateways(ctx context.Context) ([]*changev1.Watcher, error) {
	all, err := l.Watchers(ctx)
	since := l.now().Add(-lostFor)
	return slices.DeleteFunc(all, func(w *changev1.Watcher) bool {
		return w.GetKind() != identity.Gateway || w.GetSeenTime().AsTime().Before(since)
	}), err
}

// WaitApplied waits, at most 5 s, until every gateway and catalog that is connected
// to any replica has applied a change; waiting are those that have not. It does not
// wait for the subscription service, which reads from the catalog what it has not
// heard of yet.
func (l *Log) WaitApplied(ctx context.Context, number uint64) (applied bool, waiting []string, err error) {
	head, err := Head(ctx, l.db)
	if err != nil {
		return false, nil, err
	}
	if number == 0 || number > head {
		return false, nil, fault.NotFound("%s", l.name(number))
	}
	limit := time.NewTimer(waitFor)
	defer limit.Stop()
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	for {
		l.mu.Lock()
		acked := l.acked
		l.mu.Unlock()
		waiting, err = l.waiting(ctx, number)
		if err != nil || len(waiting) == 0 {
			return err == nil, nil, err
		}
		select {
		case <-acked:
		case <-poll.C:
		case <-limit.C:
			return false, waiting, nil
		case <-ctx.Done():
			return false, waiting, nil
		}
	}
}

// waiting returns the connected gateways and catalogs that have not applied a change.
func (l *Log) waiting(ctx context.Context, number uint64) ([]string, error) {
	rows, err := l.db.QueryContext(ctx, `
		SELECT instance FROM change_watcher
		WHERE kind IN ($1, $2) AND connected AND seen_us > $3 AND applied < $4 ORDER BY instance`,
		identity.Gateway, identity.Catalog, l.now().Add(-watch.Silence).UnixMicro(), int64(number))
	if err != nil {
		return nil, fmt.Errorf("read who has not applied change %d: %w", number, err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var instance string
		if err := rows.Scan(&instance); err != nil {
			return nil, fmt.Errorf("read who has not applied change %d: %w", number, err)
		}
		all = append(all, instance)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read who has not applied change %d: %w", number, err)
	}
	return all, nil
}
