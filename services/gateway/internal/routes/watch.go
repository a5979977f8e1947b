package routes

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// Sessions ends the sessions of versions. session.Registry implements it.
type Sessions interface {
	EndAllOn(e ending.Ending, names ...string) int
}

// saver keeps a copy of the routes for the next start. Disk implements it.
type saver interface {
	save(snapshot *backplanev1.RouteSnapshot)
}

// Watch is the watch of routes.
type Watch = watch.Follower[backplanev1.WatchRoutesRequest, backplanev1.WatchRoutesResponse]

// Target is what a watch of routes keeps up to date.
type Target struct {
	Current  *Current
	Sessions Sessions
	Disk     *Disk
	MaxAge   time.Duration // of routes that have none of their own; 0: no bound
}

// NewWatch returns a watch whose Run follows the catalog. Until the catalog
// answers, the routes on disk are served.
func NewWatch(client backplanev1.RouteServiceClient, hello *backplanev1.Hello, t Target, log *slog.Logger, now func() time.Time) *Watch {
	k := newKeeper(t.Current, t.Sessions, t.Disk, t.MaxAge, log)
	k.preload(t.Disk.Load())
	return watch.NewFollower(client.WatchRoutes, hello, watch.At{}, k, log, now)
}

// keeper keeps the current table as the catalog says: it swaps the table once for
// each snapshot and each change that differs from it, and ends the sessions of
// versions that are no longer published. Its methods are called one at a time.
type keeper struct {
	current  *Current
	sessions Sessions
	disk     saver
	maxAge   time.Duration
	log      *slog.Logger
	known    map[string]*backplanev1.Route // by name, as received
}

func newKeeper(current *Current, sessions Sessions, disk saver, maxAge time.Duration, log *slog.Logger) *keeper {
	return &keeper{
		current: current, sessions: sessions, disk: disk, maxAge: maxAge, log: log,
		known: map[string]*backplanev1.Route{},
	}
}

// preload serves the routes of an earlier run.
func (k *keeper) preload(last *backplanev1.RouteSnapshot) {
	if len(last.GetRoutes()) == 0 {
		return
	}
	k.current.name(last.GetInstallation())
	if _, err := k.replace(last.GetRoutes()); err != nil {
		k.log.Warn("routes from disk left out", "error", err)
	}
}

// Reset serves the routes of a snapshot and no others.
func (k *keeper) Reset(_ context.Context, at watch.At, _ backplanev1.Begin_Reset, pieces []*backplanev1.WatchRoutesResponse) (watch.Result, error) {
	var list []*backplanev1.Route
	for _, p := range pieces {
		list = append(list, p.GetSnapshot().GetRoutes()...)
		k.current.name(p.GetSnapshot().GetInstallation())
	}
	ended, err := k.replace(list)
	k.log.Info("routes reset", "number", at.Number, "routes", len(list))
	return k.result(at, ended, err), nil
}

// Apply makes the changes of one event.
func (k *keeper) Apply(_ context.Context, at watch.At, m *backplanev1.WatchRoutesResponse) (watch.Result, error) {
	e := m.GetChange().GetEvent()
	if len(e.GetRoutes())+len(e.GetRemovedRoutes()) == 0 {
		return watch.Result{}, nil
	}
	ended, err := k.change(e.GetRoutes(), e.GetRemovedRoutes())
	return k.result(at, ended, err), nil
}

// result returns what the catalog is told. The event counts as applied even when
// some of its routes cannot be served.
func (k *keeper) result(at watch.At, ended int, err error) watch.Result {
	r := watch.Result{SessionsClosed: uint64(ended)}
	if err != nil {
		k.log.Error("routes left out", "number", at.Number, "error", err)
		r.Failure = err.Error()
	}
	return r
}

// replace serves the routes of a list and no others.
func (k *keeper) replace(list []*backplanev1.Route) (ended int, err error) {
	gone := maps.Clone(k.known)
	for _, r := range list {
		delete(gone, r.GetName())
	}
	return k.change(list, slices.Collect(maps.Keys(gone)))
}

// change puts and removes routes in one swap. A route that has not changed stays
// the same object.
//
// The table is swapped before sessions are looked for, so none slips through. A
// handshake that sees the new table is refused by it. One that saw the old table
// has either registered its session already, so that it is found, or will check the
// table once more after registering.
func (k *keeper) change(put []*backplanev1.Route, remove []string) (ended int, err error) {
	var c Changes
	var wrong []error
	for _, name := range remove {
		if k.known[name] != nil {
			c.Remove = append(c.Remove, name)
			delete(k.known, name)
		}
	}
	for _, p := range put {
		if proto.Equal(p, k.known[p.GetName()]) {
			continue
		}
		k.known[p.GetName()] = p
		r, err := fromProto(p)
		if err != nil {
			wrong = append(wrong, err)
			c.Remove = append(c.Remove, p.GetName())
			continue
		}
		r.MaxAge = cmp.Or(r.MaxAge, k.maxAge)
		c.Put = append(c.Put, r)
	}
	if len(c.Put)+len(c.Remove) == 0 && k.current.Loaded() {
		return 0, nil
	}
	next, err := k.current.Load().With(c)
	k.current.Swap(next)
	k.disk.save(&backplanev1.RouteSnapshot{Routes: slices.Collect(maps.Values(k.known)), Installation: k.current.Installation()})
	return k.end(c), errors.Join(append(wrong, err)...)
}

// end ends the sessions of the versions that are no longer published. Sessions of
// a published version whose new route cannot be served live on.
func (k *keeper) end(c Changes) (ended int) {
	end := func(name, why string) {
		if n := k.sessions.EndAllOn(ending.New(ending.Blocked, why+": "+name), name); n > 0 {
			k.log.Info("sessions ended", "cause", why, "version", name, "count", n)
			ended += n
		}
	}
	for _, name := range c.Remove {
		switch r := k.known[name]; {
		case r == nil:
			end(name, "version removed")
		case !published(r):
			end(name, "version no longer published")
		}
	}
	for _, r := range c.Put {
		if !r.Published {
			end(r.Name, "version no longer published")
		}
	}
	return ended
}
