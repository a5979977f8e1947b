package change

import (
	"context"
	"time"
)

// SetPoll makes l look for changes of other replicas at this interval. Call it
// before Run.
func SetPoll(l *Log, every time.Duration) { l.poll = every }

// WrapListen makes l listen through wrap, which gets the function that listens.
// Call it before Run.
func WrapListen(l *Log, wrap func(ctx context.Context, listen func() error) error) {
	listen := l.listenTo
	l.listenTo = func(ctx context.Context, channel string, heard func()) error {
		return wrap(ctx, func() error { return listen(ctx, channel, heard) })
	}
}

// Watched makes l believe that somebody watches.
func Watched(l *Log) { l.countStream() }

// Newest returns the newest change that l knows of.
func Newest(l *Log) uint64 {
	n, _ := l.newest()
	return n
}
