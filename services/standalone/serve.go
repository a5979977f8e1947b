package standalone

import (
	"context"
	"log/slog"

	"github.com/tidegatehq/tidegate/services/kit/run"
)

// Options has what the command line sets besides the flags.
type Options struct {
	// Program is how the command line is called, for the banner.
	Program string
	// Ready is called, when it is set, once everything is served.
	Ready func(Addresses)
}

// Serve runs the server as the command tidegate serve and returns its exit
// code.
func Serve(ctx context.Context, p run.Program, opts Options) int {
	cfg := Default()
	cfg.Stdout, cfg.Program, cfg.Ready = p.Stdout, opts.Program, opts.Ready
	return run.Exec(ctx, p, cfg.Flags, cfg.Check, func(ctx context.Context, log *slog.Logger) error {
		return Run(ctx, cfg, log)
	})
}
