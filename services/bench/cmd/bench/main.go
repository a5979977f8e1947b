// Command bench measures Tidegate's gateway against other proxies and prints
// ratios.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/tidegatehq/tidegate/services/bench"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cfg := bench.Default()
	fs := flag.NewFlagSet("bench", flag.ExitOnError)
	cfg.Flags(fs)
	echo := fs.Bool("echo-backend", false, "serve echoes on a free port instead, and print its address")
	stack := fs.String("stack", "", "build Tidegate into this `folder` and serve it instead, in front of the backend that is the argument, and print where it is")
	promised := fs.String("promise", "", "with -stack: what plans promise, `armed or tight`; empty for nothing")
	gateways := fs.Int("gateways", 1, "with -stack: how many `gateways` there are")
	_ = fs.Parse(os.Args[1:]) // ExitOnError: it does not return an error
	if err := run(ctx, cfg, *echo, *stack, *promised, *gateways, fs.Arg(0)); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg bench.Config, echo bool, stack, promised string, gateways int, backend string) error {
	switch {
	case echo:
		return bench.Backend(ctx, os.Stdout)
	case stack != "":
		return bench.ServeStack(ctx, stack, promised, gateways, backend, os.Stdout)
	}
	if err := cfg.Check(); err != nil {
		return err
	}
	return bench.Run(ctx, cfg, slog.New(slog.NewTextHandler(os.Stderr, nil)), os.Stdout)
}
