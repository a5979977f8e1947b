package run

import (
	"fmt"
	"io"
	"log/slog"
)

// newLogHandler returns the handler of a program's log; format is "text" or
// "json". In both, durations have a unit: 1.5s.
func newLogHandler(w io.Writer, format string, level slog.Leveler) (slog.Handler, error) {
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: withUnits}
	switch format {
	case "text":
		return slog.NewTextHandler(w, opts), nil
	case "json":
		return slog.NewJSONHandler(w, opts), nil
	}
	return nil, fmt.Errorf("the format is text or json, not %q", format)
}
