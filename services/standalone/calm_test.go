package standalone

import (
	"bytes"
	"log/slog"
	"regexp"
	"slices"
	"testing"
)

// TestCalm warns before and during a stop.
func TestCalm(t *testing.T) {
	t.Parallel()
	for level, want := range map[slog.Level][]string{
		slog.LevelInfo: {"WARN", "INFO", "ERROR"},
		slog.LevelWarn: {"WARN", "ERROR"},
	} {
		var out bytes.Buffer
		stopping := make(chan struct{})
		log := slog.New(calm{slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}), stopping}).With("a", 1).WithGroup("g")
		log.Warn("before")
		close(stopping)
		log.Warn("during")
		log.Error("during")
		var got []string
		for _, m := range regexp.MustCompile(`level=(\S+)`).FindAllStringSubmatch(out.String(), -1) {
			got = append(got, m[1])
		}
		if !slices.Equal(got, want) {
			t.Errorf("at level %v: %q, want %q", level, got, want)
		}
	}
}
