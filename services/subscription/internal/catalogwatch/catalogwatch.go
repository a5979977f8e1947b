// Package catalogwatch follows the catalog's watch and keeps what the
// subscription service needs to know of versions: their state, owner and plans.
// What follows from a version's end for subscriptions is left to package store,
// which does it in the transaction that moves the cursor.
package catalogwatch

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"google.golang.org/grpc/codes"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/retry"
	"github.com/tidegatehq/tidegate/services/kit/watch"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// restartPause is how long a watch waits before it starts again where another
// replica has got to.
const restartPause = 100 * time.Millisecond

// readTimeout bounds one reading of a version.
const readTimeout = 3 * time.Second

// saveTries is how often a version is read again because the cursor moved.
const saveTries = 5

// Watch follows the catalog. Replicas share the cursor in the database: whoever
// hears a change first applies it, the others see that it is applied.
type Watch struct {
	client backplanev1.RouteServiceClient
	store  *store.Store
	hello  *backplanev1.Hello
	log    *slog.Logger
	now    func() time.Time
}

// New returns a watch that says hello to the catalog.
func New(client backplanev1.RouteServiceClient, st *store.Store, hello *backplanev1.Hello, log *slog.Logger, now func() time.Time) *Watch {
	return &Watch{client: client, store: st, hello: hello, log: log, now: now}
}

// Run follows until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	for {
		if err := w.follow(ctx); err != nil && ctx.Err() == nil {
			w.log.WarnContext(ctx, "catalog not followed", "error", err)
		}
		if !retry.Sleep(ctx, restartPause) {
			return nil
		}
	}
}

// follow follows from where the database is until ctx ends or another replica
// has moved the cursor elsewhere.
func (w *Watch) follow(ctx context.Context) error {
	start, err := w.store.ReadCursor(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &sink{store: w.store, log: w.log, at: start, elsewhere: cancel}
	f := watch.NewFollower(w.client.WatchRoutes, w.hello, watch.At{Number: start.Number, Cursor: start.Text}, s, w.log, w.now)
	return f.Run(ctx)
}

// Read reads a version from the catalog now and keeps it, for a caller who would
// else be refused by what is known. It reports whether the catalog has it; a
// catalog that does not answer is an Unavailable fault.
func (w *Watch) Read(ctx context.Context, name string) (bool, error) {
	for range saveTries {
		// The cursor first: what is read after it is no older than it.
		asOf, err := w.store.ReadCursor(ctx)
		if err != nil {
			return false, err
		}
		route, err := w.route(ctx, name)
		if fault.Is(err, codes.NotFound) {
			return false, nil
		}
		if err != nil {
			return false, fault.Wrap(fault.Unavailable("the catalog cannot be read now, try again"), err)
		}
		saved, err := w.store.SaveVersion(ctx, version(route), asOf)
		if err != nil || saved {
			return saved, err
		}
	}
	return false, fault.Unavailable("the catalog changes too fast now, try again")
}

func (w *Watch) route(ctx context.Context, name string) (*backplanev1.Route, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return w.client.GetRoute(ctx, &backplanev1.GetRouteRequest{Name: name})
}

// version is what is kept of a route.
func version(r *backplanev1.Route) store.Version {
	return store.Version{
		Name: r.GetName(), API: r.GetApi(), APIName: r.GetDisplayName(), Version: r.GetVersion(),
		Owner:     strings.TrimPrefix(r.GetOwner(), "users/"),
		Published: r.GetState() == catalogv1.Version_STATE_PUBLISHED,
		Plans:     r.GetPlans(), ChangeNumber: r.GetChangeNumber(),
	}
}

// sink puts what is heard into the store. Its methods are called by one
// goroutine.
type sink struct {
	store *store.Store
	log   *slog.Logger
	// at is where this follower is.
	at store.Cursor
	// elsewhere ends the follower: the cursor is where it cannot follow.
	elsewhere func()
}

// errElsewhere says that another replica has moved the cursor.
var errElsewhere = errors.New("another replica has moved on")

// Reset replaces what is known by a snapshot.
func (s *sink) Reset(ctx context.Context, to watch.At, why backplanev1.Begin_Reset, pieces []*backplanev1.WatchRoutesResponse) (watch.Result, error) {
	var all []store.Version
	for _, p := range pieces {
		for _, r := range p.GetSnapshot().GetRoutes() {
			all = append(all, version(r))
		}
	}
	after := store.Cursor{Number: to.Number, Text: to.Cursor}
	another := why == backplanev1.Begin_RESET_EPOCH || why == backplanev1.Begin_RESET_AHEAD
	applied, err := s.store.ApplyCatalogSnapshot(ctx, all, another, s.at, after)
	if err != nil {
		return watch.Result{}, err
	}
	if !applied {
		s.elsewhere()
		return watch.Result{}, errElsewhere
	}
	s.at = after
	s.log.Info("catalog read", "number", to.Number, "versions", len(all), "reason", why.String())
	return watch.Result{}, nil
}

// Apply applies a change.
func (s *sink) Apply(ctx context.Context, to watch.At, m *backplanev1.WatchRoutesResponse) (watch.Result, error) {
	event := m.GetChange().GetEvent()
	c := store.CatalogChange{Removed: event.GetRemovedRoutes()}
	for _, r := range event.GetRoutes() {
		c.Versions = append(c.Versions, version(r))
	}
	after := store.Cursor{Number: to.Number, Text: to.Cursor}
	applied, err := s.store.ApplyCatalogChange(ctx, c, s.at, after)
	if err != nil {
		return watch.Result{}, err
	}
	if !applied {
		if err := s.ahead(ctx, after); err != nil {
			return watch.Result{}, err
		}
	}
	s.at = after
	return watch.Result{}, nil
}

// ahead returns nil when another replica has applied the change before this one
// came to it.
func (s *sink) ahead(ctx context.Context, after store.Cursor) error {
	stored, err := s.store.ReadCursor(ctx)
	if err != nil {
		return err
	}
	if stored.Number < after.Number {
		s.elsewhere()
		return errElsewhere
	}
	return nil
}
