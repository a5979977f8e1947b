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
	var cfg bench.Config
	fs := flag.NewFlagSet("bench", flag.ExitOnError)
	cfg.Flags(fs)
	backend := fs.Bool("echo-backend", false, "serve echoes on a free port instead, and print its address")
	_ = fs.Parse(os.Args[1:]) // ExitOnError: it does not return an error
	if err := run(ctx, cfg, *backend); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg bench.Config, backend bool) error {
	if backend {
		return bench.Backend(ctx, os.Stdout)
	}
	if err := cfg.Check(); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	return bench.Run(ctx, cfg, log, os.Stdout)
}
