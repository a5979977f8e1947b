package run

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"
)

func TestNewLogHandler(t *testing.T) {
	for format, want := range map[string]string{"text": "level=WARN msg=b k=1\n", "json": `"level":"WARN","msg":"b","k":1`} {
		var buf bytes.Buffer
		h, err := newLogHandler(&buf, format, slog.LevelWarn)
		if err != nil {
			t.Fatal(err)
		}
		log := slog.New(h)
		log.Info("a")
		log.Warn("b", "k", 1)
		if got := buf.String(); !strings.Contains(got, want) || strings.Contains(got, "INFO") {
			t.Errorf("%s: %q, want %q and no INFO", format, got, want)
		}
	}
	if _, err := newLogHandler(io.Discard, "xml", slog.LevelInfo); err == nil {
		t.Error("format xml = nil, want an error")
	}
}
