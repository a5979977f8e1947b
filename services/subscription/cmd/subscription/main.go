// Command subscription serves users, applications, subscriptions and tokens.
package main

import (
	"context"
	"flag"
	"log/slog"

	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/subscription"
)

func main() {
	cfg := subscription.Default()
	flags := func(fs *flag.FlagSet) { cfg.Flags(fs, "") }
	run.Main("subscription", flags, cfg.Check, func(ctx context.Context, log *slog.Logger) error {
		return subscription.Run(ctx, cfg, log)
	})
}
