// Package run starts programs (flags, environment, log, signals, exit codes) and
// runs their tasks together.
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

// Main runs fn as the program name. It reads the flags from the environment, then
// from the command line, makes the log, and exits: with 0 when fn returns nil,
// with 1 and a line on stderr when fn fails, with 2 when the configuration is
// wrong. fn checks its own configuration; check is called only if flags cannot be
// parsed, so that all mistakes are reported together. SIGINT and SIGTERM end ctx;
// a second signal kills the process. SIGHUP calls what fn gave to OnReload and ends
// nothing.
func Main(name string, flags func(*flag.FlagSet), check func() error, fn func(ctx context.Context, log *slog.Logger) error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	unhook := context.AfterFunc(ctx, stop)
	code := Exec(ctx, Program{
		Name: name, Args: os.Args[1:], Env: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr, Hangups: Hangups(),
	}, flags, check, fn)
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
	// Stdout is for the output, Stderr for the log and errors.
	Stdout, Stderr io.Writer
	// LogLevel is the lowest level that is logged when none is asked for; its zero is info.
	LogLevel slog.Level
	// Hangups are the SIGHUPs that the program gets; nil for none.
	Hangups <-chan os.Signal
	// HangupStops says that a hangup is the end of the terminal that the program was
	// started in, and stops it in order, rather than a wish that it reads its files
	// again.
	HangupStops bool
}

// Hangups returns the SIGHUPs that the process gets from now on, which then no longer
// end it.
func Hangups() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c
}

// Exec is Main without signals and exit: it returns the exit code.
func Exec(ctx context.Context, p Program, flags func(*flag.FlagSet), check func() error, fn func(ctx context.Context, log *slog.Logger) error) int {
	var level slog.Level
	var format string
	var version bool
	fs := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	fs.TextVar(&level, "log-level", p.LogLevel, "lowest `level` that is logged: debug, info, warn or error")
	fs.StringVar(&format, "log-format", "text", "log `format`: text or json")
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
	ctx, stop := context.WithCancel(Reloading(ctx))
	log := slog.New(handler)
	heeded := make(chan struct{})
	go func() {
		defer close(heeded)
		p.heed(ctx, stop, log)
	}()
	err = fn(ctx, log)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	stop()
	<-heeded
	if err == nil {
		return 0
	}
	return fail(p, err)
}

// heed does what hangups ask for until ctx ends.
func (p *Program) heed(ctx context.Context, stop func(), log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.Hangups:
		}
		if p.HangupStops {
			log.Info("the terminal is gone; stopping")
			stop()
			return
		}
		if err := Reload(ctx); err != nil {
			log.Error("not all files could be read again; what was read before stays in use", "error", err)
			continue
		}
		log.Info("files read again")
	}
}

// Public is a flag's value that is seen by others on the command line: every user of
// a machine can list what its processes were started with. The environment of a
// process is its owner's.
type Public interface {
	flag.Value
	// CheckPublic reports why text must not be given on the command line, or nil.
	CheckPublic(text string) error
}

// Parse sets the flags of fs from the environment, then from args; Variable names
// a flag's variable. All mistakes are returned at once, joined. A flag that is
// given an invalid value keeps the one it had, and one that is Public and must not
// stand in args is not quoted.
func Parse(name string, fs *flag.FlagSet, args, env []string) error {
	var wrong []error
	onCommandLine := false
	defer keep(fs, func(f *flag.Flag, text string) bool {
		public, ok := f.Value.(Public)
		if !ok || !onCommandLine {
			return true
		}
		err := public.CheckPublic(text)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("-%s: %w", f.Name, err))
		}
		return err == nil
	})()
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
	onCommandLine = true
	for {
		err := fs.Parse(args)
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		rest := fs.Args()
		if err != nil {
			wrong = append(wrong, err)
			if len(rest) == len(args) {
				rest = rest[1:] // Parse does not skip what can be no flag at all, such as ---x
			}
			args = rest
			continue
		}
		if args = rest; len(args) == 0 {
			return errors.Join(wrong...)
		}
		// After an unknown flag it is probably that flag's value.
		if len(wrong) == 0 {
			wrong = append(wrong, unexpected(args[0]))
		}
		args = args[1:]
	}
}

// unexpected returns the error for an argument that is no flag's. One that may be a
// URL with a password in it is not quoted.
func unexpected(arg string) error {
	if strings.Contains(arg, "@") {
		return errors.New("unexpected argument, which is not shown because it may have a password in it")
	}
	return fmt.Errorf("unexpected argument %q", arg)
}

// keep makes the flags of fs keep their values when they are set to invalid ones, or
// to ones that may not be set, until undo is called.
func keep(fs *flag.FlagSet, may func(f *flag.Flag, text string) bool) (undo func()) {
	fs.VisitAll(func(f *flag.Flag) {
		inner := *f
		f.Value = keeper{Value: f.Value, may: func(text string) bool { return may(&inner, text) }}
	})
	return func() {
		fs.VisitAll(func(f *flag.Flag) {
			if k, ok := f.Value.(keeper); ok {
				f.Value = k.Value
			}
		})
	}
}

// keeper is a flag's value that survives an invalid one.
type keeper struct {
	flag.Value
	may func(text string) bool
}

// Set sets the value, or leaves it and returns an error. What may not be set is left
// without an error: the flag package would quote the text in it.
func (k keeper) Set(text string) error {
	if !k.may(text) {
		return nil
	}
	before := k.String()
	err := k.Value.Set(text)
	if err != nil {
		_ = k.Value.Set(before) // cannot fail: it was the value before
	}
	return err
}

// IsBoolFlag reports whether the flag needs no value.
func (k keeper) IsBoolFlag() bool {
	b, ok := k.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

// Variable returns the environment variable of a program's flag, TIDEGATE_NAME_FLAG
// in upper case and with "_" for "-" and ".". NAME_ is left out where the program
// is "tidegate".
func Variable(name, flagName string) string {
	prefix := "TIDEGATE_"
	if name != "tidegate" {
		prefix += name + "_"
	}
	return strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(prefix + flagName))
}

// Misconfigured marks err as a mistake in the configuration: the exit code is 2,
// and each error joined in err gets a line of its own. It returns nil for nil.
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

// version is set by deploy/build with -ldflags -X, which can only set a
// package-level variable.
var version string

// Version returns the version of the running program: the one given to
// deploy/build, else the one that the toolchain recorded.
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

// Group runs tasks together and waits for all of them. When one fails, the
// context of the others ends, and its error is returned. A task that ends because
// ctx did has not failed.
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
