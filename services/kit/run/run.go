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
	"time"

	"golang.org/x/sync/errgroup"
)

// Exit codes.
const (
	exitFailed = 1
	exitUsage  = 2
)

// Main runs fn as the program name. It reads the flags from the configuration file, then
// from the environment, then from the command line, makes the log, and exits: with 0 when
// fn returns nil, with 1 and a line on stderr when fn fails, with 2 when the configuration
// is wrong. fn checks its own configuration; check is called only if flags cannot be
// parsed, so that all mistakes are reported together. SIGINT and SIGTERM end ctx; a second
// signal kills the process. SIGHUP calls what fn gave to OnReload and ends nothing.
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
	// OtherVariables are the names of variables that begin as the program's own do and
	// are read by another.
	OtherVariables []string
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
	var o options
	fs := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	o.level.Set(p.LogLevel)
	o.flags(fs)
	flags(fs)
	s, err := parse(&p, fs)
	if errors.Is(err, flag.ErrHelp) {
		usage(p, fs)
		return 0
	}
	if err == nil && o.version {
		fmt.Fprintf(p.Stdout, "%s %s\n", p.Name, Version())
		return 0
	}
	if err != nil {
		return fail(p, s, Misconfigured(errors.Join(err, check())))
	}
	if o.print {
		if err := s.print(p.Stdout); err != nil {
			return fail(p, s, err)
		}
		return fail(p, s, Misconfigured(check()))
	}
	ctx, stop := context.WithCancel(Reloading(ctx))
	log := slog.New(newLogHandler(p.Stderr, o.format, &o.level))
	OnReload(ctx, func() error { return s.readAgain(&o.level, log) })
	heeded := make(chan struct{})
	go func() {
		defer close(heeded)
		p.heed(ctx, stop, log, func() { s.readIfChanged(&o.level, log) })
	}()
	err = fn(ctx, log)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	stop()
	<-heeded
	return fail(p, s, err)
}

// options are the options that every program has.
type options struct {
	level          slog.LevelVar
	format         logFormat
	config         string
	version, print bool
}

// flags registers the options.
func (o *options) flags(fs *flag.FlagSet) {
	o.format = "text"
	fs.StringVar(&o.config, configFlag, "", "YAML `file` of flags, which environment and command line take precedence over; empty for none")
	fs.Var(logLevel{&o.level}, levelFlag, "lowest `level` that is logged: debug, info, warn or error; can change in the file of -config while the program runs")
	fs.Var(&o.format, "log-format", "log `format`: text or json")
	fs.BoolVar(&o.print, printFlag, false, "print the configuration as a file for -config, with what gave each value, and exit")
	fs.BoolVar(&o.version, versionFlag, false, "print the version and exit")
}

// heed does what hangups ask for until ctx ends, and looks at the configuration file
// from time to time.
func (p *Program) heed(ctx context.Context, stop func(), log *slog.Logger, lookAtFile func()) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			lookAtFile()
			continue
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

// fail prints err and returns the exit code. Mistakes in the configuration name what
// made them.
func fail(p Program, s *settings, err error) int {
	if err == nil {
		return 0
	}
	if config, ok := errors.AsType[*configError](err); ok {
		for line := range strings.SplitSeq(config.Error(), "\n") {
			fmt.Fprintf(p.Stderr, "%s: %s\n", p.Name, s.explain(line))
		}
		return exitUsage
	}
	fmt.Fprintf(p.Stderr, "%s: %s\n", p.Name, strings.ReplaceAll(err.Error(), "\n", "; "))
	return exitFailed
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
