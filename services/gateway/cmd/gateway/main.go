// Command gateway lets WebSocket clients through to backends.
package main

import (
	"context"
	"flag"
	"log/slog"

	"github.com/tidegatehq/tidegate/services/gateway"
	"github.com/tidegatehq/tidegate/services/kit/run"
)

func main() {
	cfg := gateway.Default()
	flags := func(fs *flag.FlagSet) { cfg.Flags(fs, "") }
	run.Main("gateway", flags, cfg.Check, func(ctx context.Context, log *slog.Logger) error {
		return gateway.Run(ctx, cfg, log)
	})
}
