// Package watch follows the watch of another service: it keeps a stream open,
// collects snapshots, and gives every change to a sink once and in order. The sink
// decides what a change does. Package change serves watches.
package watch

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/retry"
)

// Heartbeat is how often a service says that it is alive, and Silence how long a
// watcher waits before it calls the stream broken.
const (
	Heartbeat = 2 * time.Second
	Silence   = 6 * time.Second
)

// Pauses between connections. They are short because changes include revocations: a
// service that returns is followed again within a second or two.
const (
	minPause = 100 * time.Millisecond
	maxPause = time.Second
)

// maxFailure is the longest text of a failure that is sent.
const maxFailure = 1024

// At is a point in the history that is followed.
type At struct {
	// Number is the number of the last change before it.
	Number uint64
	// Cursor resumes a watch there.
	Cursor string
}

// Result says how a snapshot or a change was applied.
type Result struct {
	// SessionsClosed is how many live sessions it closed.
	SessionsClosed uint64
	// Failure says what could not be applied, or is empty. The change counts as
	// applied nevertheless.
	Failure string
}

// Sink takes what a follower receives. Run calls its methods one at a time and in
// order. An error ends the stream: the follower connects again and receives the
// same once more.
type Sink[Resp any] interface {
	// Reset replaces the whole state with the pieces of a snapshot; why is the
	// service's reason for sending one.
	Reset(ctx context.Context, at At, why backplanev1.Begin_Reset, pieces []*Resp) (Result, error)
	// Apply applies one change.
	Apply(ctx context.Context, at At, change *Resp) (Result, error)
}

// Beginner is a Sink that is also told what a stream begins with, before anything else
// that comes on it.
type Beginner interface {
	Begin(ctx context.Context, b *backplanev1.Begin) error
}

// Follower follows the watch of another service: every change once and in order,
// over any number of streams.
type Follower[Req, Resp any] struct {
	open  Open[Req, Resp]
	hello *backplanev1.Hello
	sink  Sink[Resp]
	log   *slog.Logger
	now   func() time.Time
	// breaking is how streams break. One works once something was applied, or there is
	// nothing to apply.
	breaking *retry.Streak

	mu        sync.Mutex
	at        At
	ready     bool
	connected bool
	heard     time.Time
	pending   *backplanev1.Ack // what the next ack says in addition to the number
	broken    int              // streams in a row that broke the protocol's order without progress
}

// NewFollower returns a follower that introduces itself with hello. start is the
// point that the sink has already reached, At{} for none.
func NewFollower[Req, Resp any](open Open[Req, Resp], hello *backplanev1.Hello, start At, sink Sink[Resp], log *slog.Logger, now func() time.Time) *Follower[Req, Resp] {
	return &Follower[Req, Resp]{
		open: open, hello: hello, sink: sink, log: log, now: now,
		at: start, pending: &backplanev1.Ack{}, breaking: retry.NewStreak(log, slog.LevelWarn, "watch broken"),
	}
}

// At returns the point that has been applied.
func (f *Follower[Req, Resp]) At() At {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at
}

// Applied returns the number of the last change applied.
func (f *Follower[Req, Resp]) Applied() uint64 { return f.At().Number }

// Health returns nil while the sink has a state (the first snapshot is complete, or
// the service has agreed to resume from where the sink was) and the service is
// heard. Otherwise it returns what is missing.
func (f *Follower[Req, Resp]) Health() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.ready:
		return errors.New("no snapshot yet")
	case !f.connected:
		return errors.New("not connected")
	case f.now().Sub(f.heard) >= Silence:
		return errors.New("nothing heard")
	}
	return nil
}

// Run follows until ctx ends; nothing that the service does ends it.
func (f *Follower[Req, Resp]) Run(ctx context.Context) error {
	backoff := retry.Backoff{Min: minPause, Max: maxPause}
	for {
		before, began := f.At(), f.now()
		err := f.stream(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if f.At() != before || f.now().Sub(began) > Silence { // it works, apart from breaking
			backoff.Reset()
		}
		pause := backoff.Next()
		f.breaking.Note(ctx, err, "retry_in", pause)
		if !retry.Sleep(ctx, pause) {
			return nil
		}
	}
}

// move records that a point has been applied.
func (f *Follower[Req, Resp]) move(at At, r Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.ready, f.broken = at, true, 0
	f.pending.SessionsClosed += r.SessionsClosed
	if r.Failure != "" {
		f.pending.Failure = shorten(strings.TrimPrefix(f.pending.Failure+"; "+r.Failure, "; "))
	}
}

// set changes guarded fields.
func (f *Follower[Req, Resp]) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// shorten cuts a text at maxFailure bytes and makes it valid UTF-8.
func shorten(text string) string {
	if len(text) > maxFailure {
		text = text[:maxFailure]
	}
	return strings.ToValidUTF8(text, "")
}
