package subscription

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/retry"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// compareEvery is how often the database is compared with that of the catalog, once the
// catalog was heard.
const compareEvery = time.Minute

// compare logs, at the start and while it is so, that the catalog's database and that of
// the service do not belong together, until ctx ends. heard receives when a watch of the
// catalog has begun; before the first, what is known may be what another catalog said.
func compare(ctx context.Context, st *store.Store, heard <-chan struct{}, log *slog.Logger) error {
	var again <-chan time.Time
	apart := retry.NewStreak(log, slog.LevelError, "the databases of the catalog and of the subscription service do not belong together")
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-heard:
		case <-again:
		}
		err := st.CheckCatalog(ctx)
		if _, is := errors.AsType[*store.Apart](err); is || err == nil {
			apart.Note(ctx, err) // otherwise the database is away, which others log
		}
		again = time.After(compareEvery)
	}
}
