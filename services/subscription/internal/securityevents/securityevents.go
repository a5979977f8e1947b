// Package securityevents keeps the lines of the security log in the database, where
// administrators can read them. The log itself does not wait for that: lines stand in a
// queue, and while the database cannot be written they stay there, up to a bound.
package securityevents

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/retry"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

const (
	// queued is how many lines wait at most: those of 20 seconds in which there are as many
	// of all kinds as the log takes.
	queued = 4096
	// batch is how many lines are written in one transaction.
	batch = 200
	// flushTime is how long Flush takes at most.
	flushTime = 2 * time.Second
)

// Keeper keeps lines. Add is safe for concurrent use; Run and Flush come one after the
// other.
type Keeper struct {
	write   func(context.Context, []store.SecurityEvent) error
	queue   chan store.SecurityEvent
	pending []store.SecurityEvent // taken from the queue and not written
	dropped atomic.Int64
	log     *slog.Logger
	writing *retry.Streak
}

// New returns a keeper that writes with a function, such as Store.AddSecurityEvents, which
// takes an event again without harm.
func New(write func(context.Context, []store.SecurityEvent) error, log *slog.Logger) *Keeper {
	return &Keeper{
		write: write, queue: make(chan store.SecurityEvent, queued), log: log,
		writing: retry.NewStreak(log, slog.LevelWarn, "security events not stored; the log has them"),
	}
}

// Add takes a line; it does not wait. When the queue is full, the line is only counted.
func (k *Keeper) Add(line securitylog.Line) {
	select {
	case k.queue <- store.SecurityEvent{ID: id.New(), Line: line}:
	default:
		k.dropped.Add(1)
	}
}

// Run writes lines until ctx ends. What is left then is for Flush.
func (k *Keeper) Run(ctx context.Context) error {
	pause := retry.Backoff{Min: 100 * time.Millisecond, Max: 5 * time.Second}
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-k.queue:
			k.pending = append(k.pending, e)
		}
		for {
			err := k.writeBatch(ctx)
			k.writing.Note(ctx, err)
			if err == nil {
				break
			}
			if !pause.Wait(ctx) {
				return nil
			}
		}
		pause.Reset()
	}
}

// Flush writes the lines that wait, after Run has ended.
func (k *Keeper) Flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
	defer cancel()
	for len(k.pending) > 0 || len(k.queue) > 0 {
		if err := k.writeBatch(ctx); err != nil {
			return err
		}
	}
	return nil
}

// writeBatch writes what is pending, with what waits as far as that fits.
func (k *Keeper) writeBatch(ctx context.Context) error {
	for len(k.pending) < batch && len(k.queue) > 0 {
		k.pending = append(k.pending, <-k.queue) // nobody else takes from it
	}
	if err := k.write(ctx, k.pending); err != nil {
		return err
	}
	k.pending = k.pending[:0]
	if n := k.dropped.Swap(0); n > 0 {
		k.log.WarnContext(ctx, "security events not stored, as too many waited for the database; the log has them", "count", n)
	}
	return nil
}
