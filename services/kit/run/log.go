package run

import (
	"errors"
	"io"
	"log/slog"
	"strings"
)

// newLogHandler returns the handler of a program's log. Durations have a unit: 1.5s.
func newLogHandler(w io.Writer, format logFormat, level slog.Leveler) slog.Handler {
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: withUnits}
	if format == "json" {
		return slog.NewJSONHandler(w, opts)
	}
	return slog.NewTextHandler(w, opts)
}

// logFormat is the value of -log-format, text or json.
type logFormat string

// Set sets the format.
func (f *logFormat) Set(text string) error {
	if text != "text" && text != "json" {
		return errors.New("want text or json")
	}
	*f = logFormat(text)
	return nil
}

// String returns the format.
func (f *logFormat) String() string {
	if f == nil {
		return ""
	}
	return string(*f)
}

// logLevel is the value of -log-level.
type logLevel struct{ *slog.LevelVar }

// Set sets the level.
func (l logLevel) Set(text string) error {
	if err := l.UnmarshalText([]byte(text)); err != nil {
		return errors.New("want debug, info, warn or error")
	}
	return nil
}

// String returns the level.
func (l logLevel) String() string {
	if l.LevelVar == nil {
		return ""
	}
	return strings.ToLower(l.Level().String())
}
