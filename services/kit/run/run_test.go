package run_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidegatehq/tidegate/services/kit/run"
)

func TestMain(m *testing.M) {
	if os.Getenv("RUN_CHILD") == "1" {
		run.Main("child", func(*flag.FlagSet) {}, nothing, func(ctx context.Context, _ *slog.Logger) error {
			run.OnReload(ctx, func() error { fmt.Println("reading"); return nil })
			fmt.Println("running")
			<-ctx.Done()
			return ctx.Err()
		})
	}
	goleak.VerifyTestMain(m)
}

func nothing() error { return nil }

// options is the configuration of a program under test.
type options struct {
	db    string
	drain time.Duration
	n     int
}

func (o *options) flags(fs *flag.FlagSet) {
	fs.StringVar(&o.db, "db", "default.db", "database `url`")
	fs.DurationVar(&o.drain, "grpc-drain", time.Second, "how `long`")
	fs.IntVar(&o.n, "sub.n", 1, "a `number`")
}

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		env  []string
		want options
		err  []string
	}{
		{name: "catalog", want: options{"default.db", time.Second, 1}},
		{name: "catalog", env: []string{"TIDEGATE_CATALOG_DB=env.db", "TIDEGATE_CATALOG_GRPC_DRAIN=2s", "TIDEGATE_CATALOG_SUB_N=3", "TIDEGATE_DB=no"},
			want: options{"env.db", 2 * time.Second, 3}},
		{name: "tidegate", env: []string{"TIDEGATE_DB=env.db", "TIDEGATE_SUB_N=3"}, want: options{"env.db", time.Second, 3}},
		{name: "catalog", env: []string{"TIDEGATE_CATALOG_DB=env.db"}, args: []string{"-db", "flag.db"}, want: options{"flag.db", time.Second, 1}},
		{name: "catalog", env: []string{"TIDEGATE_CATALOG_DB="}, want: options{"", time.Second, 1}},
		{name: "catalog", env: []string{"TIDEGATE_CATALOG_SUB_N=x"}, args: []string{"-grpc-drain", "soon", "-nope", "-sub.n=y"}, err: []string{
			"unknown flag -nope", `TIDEGATE_CATALOG_SUB_N: invalid value "x": want a whole number`,
			`-grpc-drain: invalid value "soon": want a duration with its unit, such as 300ms, 10s, 5m or 24h`, `-sub.n: invalid value "y": want a whole number`}, want: options{"default.db", time.Second, 1}},
		{name: "catalog", args: []string{"-sub.n=2", "-sub.n=y", "-grpc-drain=soon"}, err: []string{
			`-sub.n: invalid value "y"`, `-grpc-drain: invalid value "soon"`}, want: options{"default.db", time.Second, 2}},
		{name: "catalog", args: []string{"---db", "-=", "-db=flag.db"}, err: []string{"bad flag syntax: ---db", "bad flag syntax: -="},
			want: options{"flag.db", time.Second, 1}},
		{name: "catalog", args: []string{"-nope", "its-value", "-db=flag.db"}, err: []string{"unknown flag -nope"},
			want: options{"flag.db", time.Second, 1}},
		{name: "catalog", args: []string{"stray", "-db=flag.db"}, err: []string{`unexpected argument "stray"`}, want: options{"flag.db", time.Second, 1}},
		{name: "catalog", args: []string{"-h"}, err: []string{flag.ErrHelp.Error()}, want: options{"default.db", time.Second, 1}},
	} {
		var got options
		fs := flag.NewFlagSet(tt.name, flag.ContinueOnError)
		got.flags(fs)
		err := run.Parse(tt.name, fs, tt.args, tt.env)
		if tt.err == nil {
			if err != nil || got != tt.want {
				t.Errorf("Parse(%s, %q, %q) = %+v, %v, want %+v", tt.name, tt.args, tt.env, got, err, tt.want)
			}
			continue
		}
		if got != tt.want {
			t.Errorf("Parse(%s, %q, %q) leaves %+v, want %+v", tt.name, tt.args, tt.env, got, tt.want)
		}
		lines := strings.Split(fmt.Sprint(err), "\n")
		for i, want := range tt.err {
			if len(lines) != len(tt.err) || !strings.Contains(lines[i], want) {
				t.Errorf("Parse(%s, %q, %q) = %q, want %q", tt.name, tt.args, tt.env, lines, tt.err)
				break
			}
		}
	}
}

// TestLogLevel starts a program that logs little unless it is told otherwise.
func TestLogLevel(t *testing.T) {
	for _, tt := range []struct {
		args, env []string
		logged    string
	}{
		{nil, nil, "WARN"},
		{[]string{"-log-level=info"}, nil, "INFO WARN"},
		{nil, []string{"TIDEGATE_PROG_LOG_LEVEL=info"}, "INFO WARN"},
		{[]string{"-log-level=error"}, nil, ""},
	} {
		var stderr bytes.Buffer
		p := run.Program{Name: "prog", Args: tt.args, Env: tt.env, Stderr: &stderr, LogLevel: slog.LevelWarn}
		run.Exec(t.Context(), p, func(*flag.FlagSet) {}, func() error { return nil }, func(_ context.Context, log *slog.Logger) error {
			log.Info("a")
			log.Warn("b")
			return nil
		})
		var logged []string
		for _, m := range regexp.MustCompile(`level=(\S+)`).FindAllStringSubmatch(stderr.String(), -1) {
			logged = append(logged, m[1])
		}
		if got := strings.Join(logged, " "); got != tt.logged {
			t.Errorf("%q %q logs %q, want %q", tt.args, tt.env, got, tt.logged)
		}
	}
}

func TestExec(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name           string
		ctx            context.Context
		args           []string
		also           error // what check finds
		err            error
		code           int
		stdout, stderr string
	}{
		{name: "fine", code: 0, stderr: "level=INFO msg=event key=value"},
		{name: "json", args: []string{"-log-format=json"}, code: 0, stderr: `"msg":"event","key":"value"`},
		{name: "quiet", args: []string{"-log-level=warn"}, code: 0},
		{name: "fails", args: []string{"-log-level=error"}, err: errors.New("open\nfile"), code: 1, stderr: "prog: open; file\n"},
		{name: "interrupted", ctx: canceled, args: []string{"-log-level=error"}, err: fmt.Errorf("serve: %w", context.Canceled), code: 0},
		{name: "canceled by itself", args: []string{"-log-level=error"}, err: context.Canceled, code: 1, stderr: "prog: context canceled\n"},
		{name: "misconfigured", args: []string{"-log-level=error"}, err: fmt.Errorf("start: %w", run.Misconfigured(errors.Join(errors.New("a"), errors.New("b")))),
			code: 2, stderr: "prog: a\nprog: b\n"},
		{name: "bad flags", args: []string{"-x", "-y=1"}, code: 2,
			stderr: "prog: unknown flag -x\nprog: unknown flag -y\n"},
		{name: "bad flags, and more", args: []string{"-x"}, also: errors.Join(errors.New("a"), errors.New("b")), code: 2,
			stderr: "prog: unknown flag -x\nprog: a\nprog: b\n"},
		{name: "bad format, and more", args: []string{"-log-format=xml"}, also: errors.New("a"), code: 2,
			stderr: "prog: -log-format: invalid value \"xml\": want text or json\nprog: a\n"},
		{name: "good flags", also: errors.New("what fn finds by itself"), code: 0, stderr: "level=INFO msg=event key=value"},
		{name: "bad level", args: []string{"-log-level=loud"}, code: 2, stderr: `prog: -log-level: invalid value "loud": want debug, info, warn or error`},
		{name: "bad format", args: []string{"-log-format=xml"}, code: 2, stderr: `prog: -log-format: invalid value "xml": want text or json`},
		{name: "version", args: []string{"-version"}, code: 0, stdout: "prog " + run.Version() + "\n"},
		{name: "help", args: []string{"-h"}, code: 0, stdout: "\n  -db url\n      database url\n      default default.db; TIDEGATE_PROG_DB\n"},
	} {
		var stdout, stderr bytes.Buffer
		ctx := tt.ctx
		if ctx == nil {
			ctx = t.Context()
		}
		var o options
		code := run.Exec(ctx, run.Program{Name: "prog", Args: tt.args, Stdout: &stdout, Stderr: &stderr}, o.flags,
			func() error { return tt.also },
			func(_ context.Context, log *slog.Logger) error {
				log.Info("event", "key", "value")
				return tt.err
			})
		if code != tt.code || !strings.Contains(stdout.String(), tt.stdout) || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%s: code %d, stdout %q, stderr %q, want %d, %q, %q", tt.name, code, stdout.String(), stderr.String(), tt.code, tt.stdout, tt.stderr)
		}
		if tt.stderr == "" && stderr.Len() > 0 {
			t.Errorf("%s: stderr %q, want nothing", tt.name, stderr.String())
		}
	}
	if run.Misconfigured(nil) != nil {
		t.Error("Misconfigured(nil) is not nil")
	}
}

// A signal ends the context, and the program ends with 0. A hangup before reads files
// again and ends nothing.
func TestMainEndsBySignal(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "RUN_CHILD=1")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		if n, err := out.Read(buf); err != nil || string(buf[:n]) != "running\n" {
			t.Errorf("child says %q, %v", buf[:n], err)
		}
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if n, err := out.Read(buf); err != nil || string(buf[:n]) != "reading\n" {
			t.Errorf("after a hangup the child says %q, %v, want that it reads and goes on", buf[:n], err)
		}
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("after %v: %v, want exit code 0", sig, err)
		}
	}
}

// TestHangups sends hangups to a program: its files are read again, also after a
// failure, by whoever still runs.
func TestHangups(t *testing.T) {
	hangups, read := make(chan os.Signal), make(chan string)
	var stderr bytes.Buffer
	fail := errors.New("half a file")
	code := run.Exec(t.Context(), run.Program{Name: "prog", Hangups: hangups, Stderr: &stderr}, func(*flag.FlagSet) {}, nothing,
		func(ctx context.Context, _ *slog.Logger) error {
			part, end := context.WithCancel(ctx)
			run.OnReload(part, func() error { read <- "part"; return fail })
			run.OnReload(ctx, func() error { read <- "all"; return nil })
			for range 2 {
				hangups <- syscall.SIGHUP
				if got := []string{<-read, <-read}; got[0] != "part" || got[1] != "all" {
					t.Errorf("a hangup reads %q, want part and all", got)
				}
			}
			gone := make(chan struct{})
			context.AfterFunc(part, func() { close(gone) })
			end()
			<-gone
			for { // what part registered goes away at some time
				hangups <- syscall.SIGHUP
				if <-read == "all" {
					break
				}
				<-read
			}
			return ctx.Err()
		})
	if code != 0 || strings.Count(stderr.String(), `error="half a file"`) < 2 || !strings.Contains(stderr.String(), "files read again") {
		t.Errorf("Exec = %d, want 0 and a log of what failed and what did not:\n%s", code, stderr.String())
	}
}

// TestHangupOfATerminalStops hangs up on a program that belongs to a terminal.
func TestHangupOfATerminalStops(t *testing.T) {
	hangups := make(chan os.Signal, 1)
	hangups <- syscall.SIGHUP
	var stderr bytes.Buffer
	code := run.Exec(t.Context(), run.Program{Name: "prog", Hangups: hangups, HangupStops: true, Stderr: &stderr}, func(*flag.FlagSet) {}, nothing,
		func(ctx context.Context, _ *slog.Logger) error {
			run.OnReload(ctx, func() error { t.Error("files are read again, want a stop"); return nil })
			<-ctx.Done()
			return ctx.Err()
		})
	if code != 0 || !strings.Contains(stderr.String(), "the terminal is gone") {
		t.Errorf("Exec = %d, %q, want 0 and why it stopped", code, stderr.String())
	}
}

func TestGroup(t *testing.T) {
	boom := errors.New("boom")
	ends := func(err error) func(context.Context) error {
		return func(context.Context) error { return err }
	}
	waits := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	if err := run.Group(t.Context(), ends(nil), ends(nil)); err != nil {
		t.Errorf("tasks that end = %v, want nil", err)
	}
	if err := run.Group(t.Context(), waits, ends(boom), waits); !errors.Is(err, boom) {
		t.Errorf("a task that fails = %v, want %v", err, boom)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run.Group(ctx, waits, waits); err != nil {
		t.Errorf("an ended context = %v, want nil", err)
	}
	awaited := false
	slow := func(ctx context.Context) error {
		<-ctx.Done()
		awaited = true
		return nil
	}
	if err := run.Group(t.Context(), slow, ends(boom)); !errors.Is(err, boom) || !awaited {
		t.Errorf("Group = %v, awaited %v, want %v, true", err, awaited, boom)
	}
	if err := run.Group(t.Context()); err != nil {
		t.Errorf("no task = %v, want nil", err)
	}
}
