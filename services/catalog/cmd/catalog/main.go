// Command catalog serves the catalog of APIs.
package main

import (
	"context"
	"flag"
	"log/slog"

	"github.com/tidegatehq/tidegate/services/catalog"
	"github.com/tidegatehq/tidegate/services/kit/run"
)

func main() {
	cfg := catalog.Default()
	flags := func(fs *flag.FlagSet) { cfg.Flags(fs, "") }
	run.Main("catalog", flags, cfg.Check, func(ctx context.Context, log *slog.Logger) error {
		return catalog.Run(ctx, cfg, log)
	})
}
