// Package run starts programs: flags, environment, log, signals and exit codes,
// and runs long tasks together. What a program does is left to it.
package run

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

// Main runs fn as the program name: it reads flags from the environment and
// then from the command line, makes the log, and ends the process with 0 when
// fn returns nil, 1 with one line on stderr when it fails, 2 when the
// configuration is wrong. Where flags cannot be read, check is asked what else is
// wrong; fn checks by itself. SIGINT and SIGTERM end ctx; a second one ends the
// process.
func Main(name string, flags func(*flag.FlagSet), check func() error, fn func(ctx context.Context, log *slog.Logger) error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	unhook := context.AfterFunc(ctx, stop)
	code := Exec(ctx, Program{Name: name, Args: os.Args[1:], Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}, flags, check, fn)
	unhook()
	stop()
	os.Exit(code)
}

// Program is what a program is started with.
type Program struct {
	// Name is the program's name, "tidegate" or that of a service.
	Name string
	// Args are the arguments after the name.
	Args []string
	// Env is the environment, KEY=value.
	Env []string
	// Stdout takes what was asked for, Stderr the log and errors.
	Stdout, Stderr io.Writer
}

// Exec is Main without signals and without ending the process; it returns the
// exit code.
func Exec(ctx context.Context, p Program, flags func(*flag.FlagSet), check func() error, fn func(ctx context.Context, log *slog.Logger) error) int {
	var level slog.Level
	var format string
	var version bool
	fs := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	fs.TextVar(&level, "log-level", slog.LevelInfo, "least `level` that is logged: debug, info, warn or error")
	fs.StringVar(&format, "log-format", "text", "`format` of the log: text or json")
	fs.BoolVar(&version, "version", false, "print the version and exit")
	flags(fs)
	err := Parse(p.Name, fs, p.Args, p.Env)
	switch {
	case errors.Is(err, flag.ErrHelp):
		usage(p, fs)
		return 0
	case err == nil && version:
		fmt.Fprintf(p.Stdout, "%s %s\n", p.Name, Version())
		return 0
	}
	handler, logErr := newLogHandler(p.Stderr, format, level)
	if logErr != nil {
		err = errors.Join(err, fmt.Errorf("-log-format: %w", logErr))
	}
	if err != nil {
		return fail(p, Misconfigured(errors.Join(err, check())))
	}
	err = fn(ctx, slog.New(handler))
	if err == nil || (ctx.Err() != nil && errors.Is(err, context.Canceled)) {
		return 0
	}
	return fail(p, err)
}

// Parse fills every flag of fs from the environment, then from args. A flag's
// variable is TIDEGATE_<NAME>_<FLAG>, and TIDEGATE_<FLAG> where the name is
// "tidegate": upper case, "-" and "." as "_". All mistakes are reported at
// once, joined; a flag whose value is not one keeps the one that it had.
func Parse(name string, fs *flag.FlagSet, args, env []string) error {
	defer keep(fs)()
	var wrong []error
	values := map[string]string{}
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		values[k] = v
	}
	fs.VisitAll(func(f *flag.Flag) {
		key := Variable(name, f.Name)
		v, ok := values[key]
		if !ok {
			return
		}
		if err := fs.Set(f.Name, v); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: invalid value %q: %w", key, v, err))
		}
	})
	fs.SetOutput(io.Discard)
	fs.Usage = func() {}
	for {
		err := fs.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		rest := fs.Args()
		if err != nil {
			wrong = append(wrong, err)
			if len(rest) == len(args) {
				rest = rest[1:] // Parse does not step over what is no flag at all, as ---x
			}
			args = rest
			continue
		}
		if args = rest; len(args) == 0 {
			return errors.Join(wrong...)
		}
		// After an unknown flag it is likely to be the flag's.
		if len(wrong) == 0 {
			wrong = append(wrong, fmt.Errorf("unexpected argument %q", args[0]))
		}
		args = args[1:]
	}
}

// keep makes every flag of fs keep its value where it is set to one that it
// cannot have; undo makes them as they were.
func keep(fs *flag.FlagSet) (undo func()) {
	fs.VisitAll(func(f *flag.Flag) { f.Value = keeper{f.Value} })
	return func() {
		fs.VisitAll(func(f *flag.Flag) {
			if k, ok := f.Value.(keeper); ok {
				f.Value = k.Value
			}
		})
	}
}

// keeper is a flag's value.
type keeper struct{ flag.Value }

// Set sets the value, or leaves it as it is.
func (k keeper) Set(text string) error {
	before := k.String()
	err := k.Value.Set(text)
	if err != nil {
		_ = k.Value.Set(before) // it had that value
	}
	return err
}

// IsBoolFlag reports whether the flag can stand alone.
func (k keeper) IsBoolFlag() bool {
	b, ok := k.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// Variable returns the environment variable of a program's flag.
func Variable(name, flagName string) string {
	prefix := "TIDEGATE_"
	if name != "tidegate" {
		prefix += name + "_"
	}
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(prefix + flagName))
}

// Misconfigured marks an error as a mistake in the configuration: each error
// that is joined in it becomes a line of its own, and the exit code is 2. It
// returns nil for nil.
func Misconfigured(err error) error {
	if err == nil {
		return nil
	}
	return &configError{err: err}
}

type configError struct{ err error }

// Error returns the mistakes.
func (e *configError) Error() string { return e.err.Error() }

// Unwrap returns the joined mistakes.
func (e *configError) Unwrap() error { return e.err }

// fail prints err and returns the exit code.
func fail(p Program, err error) int {
	if config, ok := errors.AsType[*configError](err); ok {
		for line := range strings.SplitSeq(config.Error(), "\n") {
			fmt.Fprintf(p.Stderr, "%s: %s\n", p.Name, line)
		}
		return exitUsage
	}
	fmt.Fprintf(p.Stderr, "%s: %s\n", p.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
	return exitFailed
}

func usage(p Program, fs *flag.FlagSet) {
	fmt.Fprintf(p.Stdout, "Usage of %s: each flag can be given as an environment variable too,\nfor example -log-level as %s.\n\n",
		p.Name, Variable(p.Name, "log-level"))
	fs.SetOutput(p.Stdout)
	fs.PrintDefaults()
}

// version is set by deploy/build, with -ldflags -X; the linker can set nothing
// but a variable of a package.
var version string

// Version returns the version of the running program, as -version prints it:
// what deploy/build was told, else what the toolchain knows.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}

// Group runs tasks together until all have ended. The first that fails ends the
// context of the others, all are awaited, and its error is returned. That a
// task ended because ctx did is no failure.
func Group(ctx context.Context, tasks ...func(context.Context) error) error {
	g, inner := errgroup.WithContext(ctx)
	for _, task := range tasks {
		g.Go(func() error { return task(inner) })
	}
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
