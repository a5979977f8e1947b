// Package catalogwatch follows the catalog's watch and keeps what the subscription
// service needs to know of versions and plans. Package store deletes the subscriptions
// of a version that has gone, in the transaction that moves the cursor.
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
	"github.com/tidegatehq/tidegate/services/kit/hostname"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/retry"
	"github.com/tidegatehq/tidegate/services/kit/watch"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// restartPause is how long a watch waits before it resumes from where another
// replica has moved the cursor.
const restartPause = 100 * time.Millisecond

// readTimeout bounds one read of a version or plan.
const readTimeout = 3 * time.Second

// saveTries is how often a version or plan is read because the cursor moved meanwhile.
const saveTries = 5

// Watch follows the catalog. Replicas share the cursor in the database: the first
// to receive a change applies it, and the others see that it has been applied.
type Watch struct {
	client backplanev1.RouteServiceClient
	store  *store.Store
	hello  *backplanev1.Hello
	log    *slog.Logger
	now    func() time.Time
	heard  chan struct{} // has one element when Heard receives
}

// New returns a watch that introduces itself to the catalog with hello.
func New(client backplanev1.RouteServiceClient, st *store.Store, hello *backplanev1.Hello, log *slog.Logger, now func() time.Time) *Watch {
	return &Watch{client: client, store: st, hello: hello, log: log, now: now, heard: make(chan struct{}, 1)}
}

// Heard receives when a watch has begun, and what is known is as the catalog says: it
// resumed, or its snapshot was applied. It is for one reader.
func (w *Watch) Heard() <-chan struct{} { return w.heard }

// Run follows until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	following := retry.NewStreak(w.log, slog.LevelWarn, "catalog not followed")
	for {
		following.Note(ctx, w.follow(ctx))
		if !retry.Sleep(ctx, restartPause) {
			return nil
		}
	}
}

// follow follows the catalog from the cursor in the database. It returns when ctx
// ends, or when another replica has moved the cursor to where this follower cannot
// follow.
func (w *Watch) follow(ctx context.Context) error {
	start, err := w.store.ReadCursor(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &sink{store: w.store, log: w.log, at: start, stop: cancel, heard: w.heard}
	f := watch.NewFollower(w.client.WatchRoutes, w.hello, watch.At{Number: start.Number, Cursor: start.Text}, s, w.log, w.now)
	return f.Run(ctx)
}

// Read reads a version from the catalog now and keeps it. It is for callers who
// would otherwise be refused because of what is known. It reports whether the
// catalog has it; a catalog that does not answer is an Unavailable fault.
func (w *Watch) Read(ctx context.Context, name string) (bool, error) {
	return w.read(ctx, func(ctx context.Context) (save, error) {
		route, err := w.client.GetRoute(ctx, &backplanev1.GetRouteRequest{Name: name})
		return func(ctx context.Context, asOf store.Cursor) (bool, error) {
			return w.store.SaveVersion(ctx, version(route), asOf)
		}, err
	})
}

// ReadPlan does for a plan what Read does for a version.
func (w *Watch) ReadPlan(ctx context.Context, name string) (bool, error) {
	return w.read(ctx, func(ctx context.Context) (save, error) {
		p, err := w.client.FetchPlan(ctx, &backplanev1.FetchPlanRequest{Name: name})
		return func(ctx context.Context, asOf store.Cursor) (bool, error) {
			return w.store.SavePlan(ctx, plan(p), asOf)
		}, err
	})
}

// save keeps what was read when the cursor was asOf, unless that has moved.
type save func(ctx context.Context, asOf store.Cursor) (saved bool, err error)

// read keeps what fetch reads from the catalog, and reports whether the catalog has it.
func (w *Watch) read(ctx context.Context, fetch func(context.Context) (save, error)) (bool, error) {
	for range saveTries {
		// The cursor first: what is read after it is no older than it.
		asOf, err := w.store.ReadCursor(ctx)
		if err != nil {
			return false, err
		}
		keep, err := within(ctx, fetch)
		if fault.Is(err, codes.NotFound) {
			return false, nil
		}
		if err != nil {
			return false, fault.Wrap(fault.Unavailable("the catalog cannot be read now, try again"), err)
		}
		saved, err := keep(ctx, asOf)
		if err != nil || saved {
			return saved, err
		}
	}
	return false, fault.Unavailable("the catalog changes too fast now, try again")
}

// CheckNamed does what the store's does, but knows a version and a plan that the catalog
// has and that were not heard of yet. While the catalog does not answer, every one is known.
func (w *Watch) CheckNamed(ctx context.Context, v identity.Viewer, n store.Named) error {
	err := w.store.CheckNamed(ctx, v, n)
	if n.Version == nil && n.Plan == nil || !fault.Is(err, codes.NotFound) {
		return err
	}
	for _, of := range []struct {
		name **string
		read func(context.Context, string) (bool, error)
	}{{&n.Version, w.Read}, {&n.Plan, w.ReadPlan}} {
		if *of.name == nil {
			continue
		}
		switch _, err := of.read(ctx, **of.name); {
		case fault.Is(err, codes.Unavailable):
			*of.name = nil
		case err != nil:
			return err
		}
	}
	return w.store.CheckNamed(ctx, v, n)
}

func within(ctx context.Context, fetch func(context.Context) (save, error)) (save, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return fetch(ctx)
}

// version returns what is kept of a route.
func version(r *backplanev1.Route) store.Version {
	return store.Version{
		Name: r.GetName(), API: r.GetApi(), APIName: r.GetDisplayName(),
		Context: r.GetContext(), Version: r.GetVersion(),
		Owner:     strings.TrimPrefix(r.GetOwner(), "users/"),
		Published: r.GetState() == catalogv1.Version_STATE_PUBLISHED,
		Plans:     r.GetPlans(), Subscriptionless: r.GetSubscriptionless(), ChangeNumber: r.GetChangeNumber(),
		Addresses:  socketAddresses(r.GetFurtherAddresses()),
		Production: len(r.GetEndpoints().GetProduction())+len(r.GetHttp().GetEndpoints().GetProduction()) > 0,
		Sandbox:    len(r.GetEndpoints().GetSandbox())+len(r.GetHttp().GetEndpoints().GetSandbox()) > 0,
	}
}

// socketAddresses are those of further addresses at which clients open sockets, without those of
// wildcards, which are no addresses.
func socketAddresses(further []*catalogv1.FurtherAddress) (all []string) {
	for _, f := range further {
		if f.GetServes() != catalogv1.FurtherAddress_SERVES_HTTP && !hostname.IsWildcard(f.GetHost()) {
			all = append(all, f.GetAddresses()...)
		}
	}
	return all
}

// plan returns what is kept of a plan.
func plan(p *catalogv1.Plan) store.Plan {
	return store.Plan{Name: p.GetName(), DisplayName: p.GetDisplayName()}
}

// sink writes what the watch brings to the store. One goroutine calls its methods.
type sink struct {
	store *store.Store
	log   *slog.Logger
	// at is the cursor of this follower.
	at store.Cursor
	// stop ends the follower: the cursor has moved to where it cannot follow.
	stop func()
	// heard gets an element once what is known is as the catalog says.
	heard chan<- struct{}
}

// errCursorMoved says that another replica has moved the cursor.
var errCursorMoved = errors.New("another replica has moved on")

// Begin keeps the addresses of the gateways.
func (s *sink) Begin(ctx context.Context, b *backplanev1.Begin) error {
	if b.GetReset_() == backplanev1.Begin_RESET_UNSPECIFIED {
		s.tell()
	}
	return s.store.SaveGateways(ctx, b.GetGatewayAddresses())
}

// tell says that what is known is as the catalog says.
func (s *sink) tell() {
	select {
	case s.heard <- struct{}{}:
	default:
	}
}

// Reset replaces what is known with a snapshot.
func (s *sink) Reset(ctx context.Context, to watch.At, why backplanev1.Begin_Reset, pieces []*backplanev1.WatchRoutesResponse) (watch.Result, error) {
	var all store.CatalogSnapshot
	for _, piece := range pieces {
		for _, r := range piece.GetSnapshot().GetRoutes() {
			all.Versions = append(all.Versions, version(r))
		}
		for _, p := range piece.GetSnapshot().GetPlans() {
			all.Plans = append(all.Plans, plan(p))
		}
	}
	after := store.Cursor{Number: to.Number, Text: to.Cursor}
	another := why == backplanev1.Begin_RESET_EPOCH || why == backplanev1.Begin_RESET_AHEAD
	applied, err := s.store.ApplyCatalogSnapshot(ctx, all, another, s.at, after)
	if err != nil {
		return watch.Result{}, err
	}
	if !applied {
		s.stop()
		return watch.Result{}, errCursorMoved
	}
	s.at = after
	s.tell()
	s.log.Info("catalog read", "number", to.Number, "versions", len(all.Versions), "plans", len(all.Plans), "reason", why.String())
	return watch.Result{}, nil
}

// Apply applies a change.
func (s *sink) Apply(ctx context.Context, to watch.At, m *backplanev1.WatchRoutesResponse) (watch.Result, error) {
	event := m.GetChange().GetEvent()
	c := store.CatalogChange{Removed: event.GetRemovedRoutes(), RemovedPlans: event.GetRemovedPlans()}
	for _, r := range event.GetRoutes() {
		c.Versions = append(c.Versions, version(r))
	}
	for _, p := range event.GetPlans() {
		c.Plans = append(c.Plans, plan(p))
	}
	after := store.Cursor{Number: to.Number, Text: to.Cursor}
	applied, err := s.store.ApplyCatalogChange(ctx, c, s.at, after)
	if err != nil {
		return watch.Result{}, err
	}
	if !applied {
		if err := s.checkApplied(ctx, after); err != nil {
			return watch.Result{}, err
		}
	}
	s.at = after
	return watch.Result{}, nil
}

// checkApplied returns nil when another replica has already applied the change.
func (s *sink) checkApplied(ctx context.Context, after store.Cursor) error {
	stored, err := s.store.ReadCursor(ctx)
	if err != nil {
		return err
	}
	if stored.Number < after.Number {
		s.stop()
		return errCursorMoved
	}
	return nil
}
