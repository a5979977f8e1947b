package run_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/run"
)

// TestLogLevelChanges changes the configuration file of a running program: the log
// level changes by itself and at a hangup, and the log says what needs a restart.
func TestLogLevelChanges(t *testing.T) {
	path := write(t, "drain: 1s\n", 0o600)
	rewrite := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		hangups := make(chan os.Signal)
		var stderr bytes.Buffer
		var c configured
		waited := func() { time.Sleep(10 * time.Second); synctest.Wait() }
		hungUp := func() { hangups <- syscall.SIGHUP; synctest.Wait() }
		steps := []struct {
			text string
			then func()
			want []string // in the log
			not  []string
		}{
			{"drain: 1s\n", hungUp, []string{"one info", `msg="files read again"`}, []string{"one debug", "restart", "level changed"}},
			{"drain: 1s\nlog-level: debug\n", waited, []string{"one debug", "from=INFO to=DEBUG"}, []string{"restart"}},
			{"drain: 1s\nlog-level: warn\n", hungUp, []string{"from=DEBUG to=WARN"}, []string{"one info", "one debug"}},
			{"drain: 1s\nlog-level: loud\n", waited, []string{path + `:2: log-level: want debug, info, warn or error`}, []string{"one info"}},
			{"drain: 1s\nlog-level: loud\n", waited, nil, []string{"error="}}, // said once
			{"drain: 1s\nlog-level: loud\n", hungUp, []string{"log-level: want debug"}, []string{"one info"}},
			{"drian: 2s\nlog-level: debug\n", waited, []string{`drian: unknown key`}, []string{"one info"}},
			{"db: u@h\nlog-level: info\n", waited, []string{"one info", "from=WARN to=INFO", "needs a restart", "flag=db"}, []string{"u@h"}},
			{"gateway.ping: 9s\ndrain: 9s\n", waited, []string{"one info", "flag=drain", "flag=gateway.ping"}, []string{"flag=db"}},
			{"no-sample: true\ndrain: 1s\n", waited, []string{"one info"}, []string{"flag="}}, // the variable takes precedence
		}
		code := run.Exec(t.Context(), run.Program{
			Name: "prog", Args: []string{"-config", path}, Env: []string{"TIDEGATE_PROG_NO_SAMPLE=true"}, Stderr: &stderr, Hangups: hangups,
		}, c.flags, nothing, func(_ context.Context, log *slog.Logger) error {
			for _, step := range steps {
				synctest.Wait()
				stderr.Reset()
				rewrite(step.text)
				step.then()
				log.Debug("one debug")
				log.Info("one info")
				for _, want := range step.want {
					if !strings.Contains(stderr.String(), want) {
						t.Errorf("after\n%s\nthe log is\n%s\nwant %s in it", step.text, stderr.String(), want)
					}
				}
				for _, not := range step.not {
					if strings.Contains(stderr.String(), not) {
						t.Errorf("after\n%s\nthe log is\n%s\nwant no %s in it", step.text, stderr.String(), not)
					}
				}
			}
			return nil
		})
		if code != 0 || c.Drain != time.Second || c.Ping != 30*time.Second {
			t.Errorf("Exec = %d with drain %v and ping %v, want what it was started with", code, c.Drain, c.Ping)
		}
	})
}

// TestLogLevelOfTheCommandLine changes the level in the file of a program whose command
// line has it: nothing changes.
func TestLogLevelOfTheCommandLine(t *testing.T) {
	path := write(t, "log-level: info\n", 0o600)
	synctest.Test(t, func(t *testing.T) {
		var stderr bytes.Buffer
		var c configured
		run.Exec(t.Context(), run.Program{Name: "prog", Args: []string{"-config", path, "-log-level=warn"}, Stderr: &stderr}, c.flags, nothing,
			func(_ context.Context, log *slog.Logger) error {
				if err := os.WriteFile(path, []byte("log-level: debug\n"), 0o600); err != nil {
					t.Error(err)
				}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				log.Info("one info")
				return nil
			})
		if stderr.Len() > 0 {
			t.Errorf("the log has\n%s\nwant nothing: the command line takes precedence", stderr.String())
		}
	})
}
