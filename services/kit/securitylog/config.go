package securitylog

import (
	"flag"
	"fmt"
	"log/slog"
	"time"
)

// Config says where a service writes security events. Its zero value is the default:
// to the program's log only.
type Config struct {
	// File is a file for them as well, or empty.
	File string
	// Log is used instead when it is set, by services that share a program.
	Log *Log

	prefix string
}

// Flags registers -security-log, with prefix before its name. Its default is what the
// Config holds.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	fs.StringVar(&c.File, prefix+"security-log", c.File,
		"`file` to which security events are appended as JSON, besides the log; empty for none")
}

// Open returns the log; Close closes it.
func (c *Config) Open(log *slog.Logger) (*Log, error) {
	if c.Log != nil {
		return c.Log, nil
	}
	l, err := Open(c.File, log, time.Now)
	if err != nil {
		return nil, fmt.Errorf("-%ssecurity-log: %w", c.prefix, err)
	}
	return l, nil
}

// Close closes what Open returned, unless others share it.
func (c *Config) Close(l *Log) error {
	if l == c.Log {
		return nil
	}
	return l.Close()
}
