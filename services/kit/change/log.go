package change

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/tidegatehq/tidegate/gen"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/retry"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// channel is the Postgres channel that tells other replicas of the commit of a
// change.
const channel = "tidegate_change"

// How often Run repeats its steps.
const (
	pollEvery  = 100 * time.Millisecond
	sweepEvery = 10 * time.Second
	purgeEvery = time.Hour
	purgeBatch = 1000
	// headTimeout bounds one read of the head, so that a database that does not
	// answer is asked again before watchers give up, which they do after 6 s
	// without a message.
	headTimeout = 4 * time.Second
)

// Pauses between attempts to listen for other replicas.
const (
	minListenPause = 100 * time.Millisecond
	maxListenPause = 10 * time.Second
)

// Log is the log of changes of one service. It is safe for concurrent use.
type Log struct {
	service string
	db      *sqldb.DB
	log     *slog.Logger
	now     func() time.Time
	keep    time.Duration
	// describe returns the resource that a row is, nil for nil.
	describe func(row any) proto.Message
	// key seals events; nil leaves them as they are.
	key *seal.Key
	// poll and listenTo are pollEvery and db.Listen, except in tests.
	poll     time.Duration
	listenTo func(ctx context.Context, channel string, heard func()) error

	// recording is how writing the rows of watchers goes.
	recording *retry.Streak

	heard   chan struct{} // has one element when a replica may have written
	mu      sync.Mutex
	epoch   string
	head    uint64
	wake    chan struct{} // closed and replaced when head rises
	acked   chan struct{} // closed and replaced when a watcher's row changed
	streams int
	stopped chan struct{} // closed when Run ends
}

// lasting returns how long changes are kept: at least for their watchers.
func lasting(keep time.Duration) time.Duration {
	if keep == 0 {
		return math.MaxInt64
	}
	return max(keep, Retention)
}

// NewLog returns the log of a service in db. The audit log keeps changes for keep,
// and at least for Retention. Watches are served while Run runs.
func NewLog(service string, db *sqldb.DB, log *slog.Logger, now func() time.Time, keep time.Duration) *Log {
	return &Log{
		service: service, db: db, log: log, now: now, keep: lasting(keep), describe: nothing, poll: pollEvery, listenTo: db.Listen,
		recording: retry.NewStreak(log, slog.LevelWarn, "watchers are not recorded"),
		heard:     make(chan struct{}, 1), wake: make(chan struct{}), acked: make(chan struct{}), stopped: make(chan struct{}),
	}
}

// nothing describes no row.
func nothing(any) proto.Message { return nil }

// Describe makes the audit log say what changes did to the fields of resources. describe
// returns the resource that a row of a Record is, as users see it, or nil. It is called
// before the first Write.
func (l *Log) Describe(describe func(row any) proto.Message) {
	l.describe = func(row any) proto.Message {
		if row == nil {
			return nil
		}
		return describe(row)
	}
}

// unchanged says that there is nothing to change.
type unchanged struct{ number uint64 }

// Error says so.
func (*unchanged) Error() string { return "nothing changes" }

// Unchanged is the error of a function given to Write that finds its resource as it would
// make it: Write makes no change, and succeeds. The change with the number, 0 for none
// that is known, is the one that made the resource so; its name goes into the header.
func Unchanged(number uint64) error { return &unchanged{number} }

// Write runs fn in a transaction that makes one change, which fn describes, and
// tells watchers. It puts the change's name in the header of the gRPC call's
// answer. Its error begins with doing. Writes run one at a time: from the beginning
// of fn until the commit no other Write of any replica runs. So fn must be quick:
// hash, sign and call other services before. fn may run more than once; see
// sqldb.DB.InTx, which is for writes that nobody else must see.
func (l *Log) Write(ctx context.Context, doing string, fn func(tx *Tx) (Record, error)) error {
	var number uint64
	err := l.db.InTx(ctx, func(tx *sqldb.Tx) error {
		var err error
		number, err = l.write(ctx, tx, fn)
		return err
	})
	if same, ok := errors.AsType[*unchanged](err); ok {
		number, err = same.number, nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if number > 0 {
		l.advance(number)
		l.setHeader(ctx, number)
	}
	return nil
}

// write makes a change in tx and returns its number, 0 if fn skips.
func (l *Log) write(ctx context.Context, tx *sqldb.Tx, fn func(tx *Tx) (Record, error)) (uint64, error) {
	now := l.now().UTC().Truncate(time.Microsecond)
	m, err := take(ctx, tx, now)
	if err != nil {
		return 0, err
	}
	number := m.Change
	c := &Tx{Tx: tx, Number: number, Time: now, Moment: m}
	r, err := fn(c)
	if err != nil {
		return 0, err
	}
	if r.Skip {
		return 0, returnNumber(ctx, tx)
	}
	if err := l.add(ctx, c, r); err != nil {
		return 0, err
	}
	return number, tx.Notify(ctx, channel)
}

// name returns the name of a change.
func (l *Log) name(number uint64) string {
	return resourcename.Change{Service: l.service, Number: number}.String()
}

// setHeader puts a change's name in the header of the answer to the gRPC call that
// ctx belongs to; outside a call it does nothing.
func (l *Log) setHeader(ctx context.Context, number uint64) {
	if grpc.ServerTransportStreamFromContext(ctx) == nil {
		return // SetHeader would print ctx into its error, while others may write to it
	}
	// It fails only when the header has been sent already.
	_ = grpc.SetHeader(ctx, metadata.Pairs(gen.ChangeHeader, l.name(number)))
}

// advance tells the watches served here that a change was committed.
func (l *Log) advance(number uint64) {
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
	return run.Group(ctx, l.listen, l.repeat)
}

// listen hears of the commits of other replicas until ctx ends. While it cannot,
// polling finds them.
func (l *Log) listen(ctx context.Context) error {
	pause := retry.Backoff{Min: minListenPause, Max: maxListenPause}
	listening := retry.NewStreak(l.log, slog.LevelWarn, "changes of other replicas are not notified, only polled")
	for {
		err := l.listenTo(ctx, channel, func() {
			pause.Reset()
			listening.Note(ctx, nil)
			select {
			case l.heard <- struct{}{}:
			default:
			}
		})
		if ctx.Err() != nil {
			return nil
		}
		wait := pause.Next()
		listening.Note(ctx, err, "retry_in", wait)
		if !retry.Sleep(ctx, wait) {
			return nil
		}
	}
}

// repeat runs the steps of Run, each when it is due, until ctx ends.
func (l *Log) repeat(ctx context.Context) error {
	poll := time.NewTicker(l.poll)
	defer poll.Stop()
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	purge := time.NewTicker(purgeEvery)
	defer purge.Stop()
	polls := l.step("changes cannot be looked for", l.readHead)
	sweeps := l.step("dead watchers are not forgotten", l.sweep)
	purges := l.step("old changes are not purged", l.purge)
	purges(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-poll.C:
			polls(ctx)
		case <-l.heard:
			polls(ctx)
		case <-sweep.C:
			sweeps(ctx)
		case <-purge.C:
			purges(ctx)
		}
	}
}

// step returns something that Run repeats; the next round tries again what failed.
// failed says what does not happen then.
func (l *Log) step(failed string, run func(context.Context) error) func(context.Context) {
	streak := retry.NewStreak(l.log, slog.LevelWarn, failed)
	return func(ctx context.Context) { streak.Note(ctx, run(ctx)) }
}

func (l *Log) watched() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.streams > 0
}

// readHead reads the number of the newest change, if any watch is served here.
func (l *Log) readHead(ctx context.Context) error {
	if !l.watched() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, headTimeout)
	defer cancel()
	n, err := Head(ctx, l.db)
	if err != nil {
		return err
	}
	l.advance(n)
	return nil
}

// purge deletes changes that are older than they are kept, some at a time so that
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

// epochOf returns the name of this history.
func (l *Log) epochOf(ctx context.Context) (string, error) {
	l.mu.Lock()
	epoch := l.epoch
	l.mu.Unlock()
	if epoch != "" {
		return epoch, nil
	}
	_, err := l.db.ExecContext(ctx, `UPDATE change_counter SET epoch = $1 WHERE id = 1 AND epoch = ''`, rand.Text())
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

// errStopped ends the watches of a log whose Run has ended.
var errStopped = errors.New("the service is stopping")
