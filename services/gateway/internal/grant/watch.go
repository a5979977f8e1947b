package grant

import (
	"context"
	"log/slog"
	"time"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// Watch is the watch of grants.
type Watch = watch.Follower[backplanev1.WatchGrantsRequest, backplanev1.WatchGrantsResponse]

// NewWatch returns a watch whose Run keeps a cache up to date.
func NewWatch(client backplanev1.GrantServiceClient, hello *backplanev1.Hello, c *Cache, log *slog.Logger, now func() time.Time) *Watch {
	return watch.NewFollower(client.WatchGrants, hello, watch.At{}, sink{c}, log, now)
}

// sink puts what the watch brings into a cache.
type sink struct{ cache *Cache }

// Reset begins anew. A snapshot of grants is always empty.
func (s sink) Reset(_ context.Context, at watch.At, _ backplanev1.Begin_Reset, _ []*backplanev1.WatchGrantsResponse) (watch.Result, error) {
	return watch.Result{SessionsClosed: uint64(s.cache.Reset(at.Number))}, nil
}

// Apply applies a change.
func (s sink) Apply(_ context.Context, at watch.At, m *backplanev1.WatchGrantsResponse) (watch.Result, error) {
	e := m.GetChange().GetEvent()
	ended := s.cache.Apply(at.Number, Event{
		Kind: kindOf(e.GetCause()), Names: e.GetNames(), IssuedBefore: moment.Of(e.GetIssuedBeforeChangeNumber(), e.GetIssuedBeforeChangeTime()), Application: e.GetApplication(), User: e.GetUser(),
	})
	return watch.Result{SessionsClosed: uint64(ended)}, nil
}
