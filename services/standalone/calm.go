package standalone

import (
	"context"
	"log/slog"
)

// calm is a log handler for a service that stops after those that it follows: what it
// warns of once the stop has begun is due to the stop, and is only information.
type calm struct {
	slog.Handler
	stopping <-chan struct{}
}

// Handle handles a record, as information if it is a warning during the stop.
func (c calm) Handle(ctx context.Context, r slog.Record) error {
	select {
	case <-c.stopping:
		if r.Level == slog.LevelWarn {
			r.Level = slog.LevelInfo
		}
		if !c.Enabled(ctx, r.Level) {
			return nil
		}
	default:
	}
	return c.Handler.Handle(ctx, r)
}

// WithAttrs returns a handler with more attributes.
func (c calm) WithAttrs(attrs []slog.Attr) slog.Handler {
	return calm{c.Handler.WithAttrs(attrs), c.stopping}
}

// WithGroup returns a handler with a group.
func (c calm) WithGroup(name string) slog.Handler {
	return calm{c.Handler.WithGroup(name), c.stopping}
}
