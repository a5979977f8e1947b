// Command portal serves REST, OAuth2 and the public gRPC.
package main

import (
	"context"
	"flag"
	"log/slog"

	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/portal"
)

func main() {
	cfg := portal.Default()
	run.Main("portal", func(fs *flag.FlagSet) { cfg.Flags(fs, "") }, cfg.Check, func(ctx context.Context, log *slog.Logger) error {
		return portal.Run(ctx, cfg, log)
	})
}
