package run

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"
)

const (
	// levelFlag is the flag that can change while a program runs.
	levelFlag = "log-level"
	// look is the time between looks at the configuration file.
	look = 5 * time.Second
)

// readAgain reads the configuration file again. Of what has changed since the program
// started, it takes the log level, and logs what needs a restart. A file with mistakes
// changes nothing.
func (s *settings) readAgain(level *slog.LevelVar, log *slog.Logger) error {
	if s.file == "" {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	text, all, err := s.readFile()
	if text != nil {
		s.read = text
	}
	if err != nil {
		return err
	}
	now := map[string]given{}
	for _, g := range append(all, s.outside...) {
		if err := checkPublic(s.flags.Lookup(g.flag), g); err != nil {
			return err
		}
		now[g.flag] = g
	}
	wanted, err := s.level(now)
	if err != nil {
		return err
	}
	either := maps.Clone(s.running)
	maps.Copy(either, now)
	for _, name := range slices.Sorted(maps.Keys(either)) {
		if name != levelFlag && s.text(now, name) != s.text(s.running, name) {
			log.Warn("the configuration file has changed what needs a restart", "flag", name, "file", s.file)
		}
	}
	changeLevel(level, wanted, log)
	return nil
}

// readIfChanged reads the configuration file again if its text has changed since it was
// last read.
func (s *settings) readIfChanged(level *slog.LevelVar, log *slog.Logger) {
	if !s.changed() {
		return
	}
	if err := s.readAgain(level, log); err != nil {
		log.Error("the configuration file could not be read again; what was read before stays in use", "error", err)
		return
	}
	log.Info("configuration file read again", "file", s.file)
}

// text returns what a flag is set to.
func (s *settings) text(set map[string]given, name string) string {
	if g, ok := set[name]; ok {
		return g.text
	}
	return s.flags.Lookup(name).DefValue
}

// level returns the log level that is set.
func (s *settings) level(set map[string]given) (slog.Level, error) {
	l := logLevel{new(slog.LevelVar)}
	if err := l.Set(s.text(set, levelFlag)); err != nil {
		return 0, fmt.Errorf("%s: %w", set[levelFlag].key(), err)
	}
	return l.Level(), nil
}

// changeLevel changes the level of a log, and logs that while it logs more.
func changeLevel(level *slog.LevelVar, wanted slog.Level, log *slog.Logger) {
	was := level.Level()
	if was == wanted {
		return
	}
	level.Set(min(was, wanted))
	log.Info("log level changed", "from", was, "to", wanted)
	level.Set(wanted)
}
