package run

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestNewLogHandler(t *testing.T) {
	for format, want := range map[logFormat]string{"text": "level=WARN msg=b k=1\n", "json": `"level":"WARN","msg":"b","k":1`} {
		var buf bytes.Buffer
		log := slog.New(newLogHandler(&buf, format, slog.LevelWarn))
		log.Info("a")
		log.Warn("b", "k", 1)
		if got := buf.String(); !strings.Contains(got, want) || strings.Contains(got, "INFO") {
			t.Errorf("%s: %q, want %q and no INFO", format, got, want)
		}
	}
}

// waits is a value that has durations in it.
type waits struct {
	Wait    time.Duration `json:"wait"`
	Others  []time.Duration
	Inner   *waits `json:",omitempty"`
	Any     any
	Secret  time.Duration `json:"-"`
	private time.Duration
}

// slow is a value that gives its attributes itself.
type slow struct{ time.Duration }

func (s slow) LogValue() slog.Value { return slog.GroupValue(slog.Duration("slow", s.Duration)) }

// took is an error that has a duration in it.
type took struct{ Took time.Duration }

func (t took) Error() string { return "took " + t.Took.String() }

// TestDurationsHaveUnits logs durations in all ways in which a value can have them.
func TestDurationsHaveUnits(t *testing.T) {
	wait := 1500 * time.Millisecond
	cycle := &waits{Wait: wait}
	cycle.Inner = cycle
	for _, tt := range []struct {
		args       []any
		json, text string
	}{
		{[]any{"d", wait}, `"d":"1.5s"`, `d=1.5s`},
		{[]any{"d", time.Duration(0)}, `"d":"0s"`, `d=0s`},
		{[]any{"d", &wait}, `"d":"1.5s"`, `d=1.5s`},
		{[]any{"d", (*time.Duration)(nil)}, `"d":null`, `d=<nil>`},
		{[]any{slog.Duration("d", wait)}, `"d":"1.5s"`, `d=1.5s`},
		{[]any{slog.Any("d", wait)}, `"d":"1.5s"`, `d=1.5s`},
		{[]any{slog.Group("g", "d", wait, slog.Group("h", "d", wait))}, `"g":{"d":"1.5s","h":{"d":"1.5s"}}`, `g.d=1.5s g.h.d=1.5s`},
		{[]any{"d", []time.Duration{wait, 2}}, `"d":["1.5s","2ns"]`, `d="[1.5s 2ns]"`},
		{[]any{"d", map[string]time.Duration{"a": wait}}, `"d":{"a":"1.5s"}`, `d=map[a:1.5s]`},
		{[]any{"d", map[time.Duration]int{wait: 1}}, `"d":{"1.5s":1}`, `d=map[1.5s:1]`},
		{[]any{"d", waits{Wait: wait, Others: []time.Duration{wait}, Any: wait, Secret: wait, private: wait}},
			`"d":{"Any":"1.5s","Others":["1.5s"],"wait":"1.5s"}`, `d="map[Any:1.5s Others:[1.5s] wait:1.5s]"`},
		{[]any{"d", &waits{Inner: &waits{Wait: wait}}}, `"Inner":{"Any":null,"Others":[],"wait":"1.5s"}`, `wait:1.5s`},
		{[]any{"d", slow{wait}}, `"d":{"slow":"1.5s"}`, `d.slow=1.5s`},
		{[]any{"d", took{wait}}, `"d":"took 1.5s"`, `d="took 1.5s"`},
		{[]any{"d", errors.Join(took{wait})}, `"d":"took 1.5s"`, `d="took 1.5s"`},
		{[]any{"d", cycle}, `"d":`, `d=`},
		{[]any{"d", nil, "e", time.Unix(0, 0).UTC(), "f", []string{"x"}}, `"d":null,"e":"1970-01-01T00:00:00Z","f":["x"]`, `d=<nil> e=1970-01-01T00:00:00.000Z f=[x]`},
	} {
		for format, want := range map[logFormat]string{"json": tt.json, "text": tt.text} {
			var buf bytes.Buffer
			h := newLogHandler(&buf, format, slog.LevelInfo)
			slog.New(h).Info("m", tt.args...)
			slog.New(h).With(tt.args...).WithGroup("group").Info("m", "x", wait)
			for line := range strings.Lines(buf.String()) {
				if !strings.Contains(line, want) {
					t.Errorf("%s: %v is logged as %s, want %s", format, tt.args, line, want)
				}
			}
			if want := map[logFormat]string{"json": `"group":{"x":"1.5s"}`, "text": "group.x=1.5s"}[format]; !strings.Contains(buf.String(), want) {
				t.Errorf("%s: %s, want %s", format, buf.String(), want)
			}
		}
	}
}
