package change

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/tidegatehq/tidegate/gen"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// How often Run looks.
const (
	pollEvery  = 100 * time.Millisecond
	sweepEvery = 10 * time.Second
	purgeEvery = time.Hour
	purgeBatch = 1000
	// lookTimeout bounds one look: a database that does not answer is asked anew,
	// before watchers, who wait 6 s for a word, give up.
	lookTimeout = 4 * time.Second
)

// Log is the log of changes of one service. It is safe for concurrent use.
type Log struct {
	db   *sqldb.DB
	log  *slog.Logger
	now  func() time.Time
	keep time.Duration

	mu      sync.Mutex
	epoch   string
	head    uint64
	wake    chan struct{} // closed and replaced when head rises
	acked   chan struct{} // closed and replaced when a watcher's row changed
	streams int
	stopped chan struct{} // closed when Run ends
}

// NewLog returns the log in db. Changes are kept for the time keep as audit log,
// at least 7 days. Its watches live while Run runs.
func NewLog(db *sqldb.DB, log *slog.Logger, now func() time.Time, keep time.Duration) *Log {
	return &Log{
		db: db, log: log, now: now, keep: max(keep, Reach),
		wake: make(chan struct{}), acked: make(chan struct{}), stopped: make(chan struct{}),
	}
}

// Write runs fn in a transaction, appends the change that it returns as the last
// statement, and tells watchers. It returns the change's number and puts it in
// the header of the gRPC call's answer. fn may run more than once; see
// sqldb.DB.InTx.
func (l *Log) Write(ctx context.Context, fn func(tx *sqldb.Tx) (Record, error)) (uint64, error) {
	var number uint64
	err := l.db.InTx(ctx, func(tx *sqldb.Tx) error {
		number = 0
		r, err := fn(tx)
		if err != nil || r.Skip {
			return err
		}
		if r.At.IsZero() {
			r.At = l.now()
		}
		number, err = Append(ctx, tx, r)
		return err
	})
	if err != nil || number == 0 {
		return 0, err
	}
	l.Notify(number)
	SetHeader(ctx, number)
	return number, nil
}

// SetHeader puts a change's number in the header of the gRPC call that ctx
// belongs to; outside a call it does nothing.
func SetHeader(ctx context.Context, number uint64) {
	// The only error is that ctx is of no call or that its header is sent.
	_ = grpc.SetHeader(ctx, metadata.Pairs(gen.ChangeHeader, strconv.FormatUint(number, 10)))
}

// Notify tells the watchers served here that a change was committed, so that
// they need not wait for the next look at the database.
func (l *Log) Notify(number uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if number > l.head {
		l.head = number
		close(l.wake)
		l.wake = make(chan struct{})
	}
}

// newest returns the newest change known here, and a channel that is closed when
// there is a newer one.
func (l *Log) newest() (uint64, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head, l.wake
}

// Run looks for the changes of other replicas, purges old ones and forgets dead
// watchers until ctx ends; then the watches served here end.
func (l *Log) Run(ctx context.Context) error {
	defer close(l.stopped)
	poll := time.NewTicker(pollEvery)
	defer poll.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	purge := time.NewTicker(purgeEvery)
	defer purge.Stop()
	looks := step{what: "look for changes", run: l.look}
	sweeps := step{what: "forget dead watchers", run: l.sweep}
	purges := step{what: "purge old changes", run: l.purge}
	l.try(ctx, &purges)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
			if l.watched() {
				l.try(ctx, &looks)
			}
		case <-sweep.C:
			l.try(ctx, &sweeps)
		case <-purge.C:
			l.try(ctx, &purges)
		}
	}
}

// step is one of those that Run repeats.
type step struct {
	what   string
	run    func(context.Context) error
	failed bool
}

// try runs a step and logs when it begins to fail and when it works again: the
// next round tries again.
func (l *Log) try(ctx context.Context, s *step) {
	err := s.run(ctx)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil && !s.failed:
		l.log.WarnContext(ctx, "change log", "failed", s.what, "error", err)
	case err == nil && s.failed:
		l.log.InfoContext(ctx, "change log", "works again", s.what)
	}
	s.failed = err != nil
}

func (l *Log) watched() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.streams > 0
}

// look reads the newest number.
func (l *Log) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	n, err := Head(ctx, l.db)
	if err != nil {
		return err
	}
	l.Notify(n)
	return nil
}

// purge deletes changes that nobody needs any more, some at a time so that
// writers do not wait long.
func (l *Log) purge(ctx context.Context) error {
	before := l.now().Add(-l.keep).UnixMicro()
	for {
		res, err := l.db.ExecContext(ctx, `
			DELETE FROM change WHERE number IN (
				SELECT number FROM change WHERE time_us < $1 ORDER BY number LIMIT $2)`,
			before, int64(purgeBatch))
		if err != nil {
			return fmt.Errorf("delete changes: %w", err)
		}
		n, err := res.RowsAffected()
		if err != nil || n < purgeBatch {
			return err
		}
	}
}

// epochOf returns the name of this history, made at its first use.
func (l *Log) epochOf(ctx context.Context) (string, error) {
	l.mu.Lock()
	epoch := l.epoch
	l.mu.Unlock()
	if epoch != "" {
		return epoch, nil
	}
	_, err := l.db.ExecContext(ctx, `
		INSERT INTO change_counter (id, n, epoch) VALUES (1, 0, $1)
		ON CONFLICT (id) DO NOTHING`, rand.Text())
	if err == nil {
		err = l.db.QueryRowContext(ctx, `SELECT epoch FROM change_counter WHERE id = 1`).Scan(&epoch)
	}
	if err != nil {
		return "", fmt.Errorf("read epoch of the change log: %w", err)
	}
	l.mu.Lock()
	l.epoch = epoch
	l.mu.Unlock()
	return epoch, nil
}

// errStopped ends the watches of a log that does not run any more.
var errStopped = errors.New("the service is stopping")
