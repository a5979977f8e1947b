package routes

import (
	"cmp"
	gocontext "context"
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

// Sessions is where the sessions of a version are ended; session.Registry is.
type Sessions interface {
	EndWhere(e ending.Ending, names ...string) int
}

// Saver keeps a copy of the routes for the next start; Disk does.
type Saver interface {
	Save(list []*backplanev1.Route)
}

// Watch is the watch of routes.
type Watch = watch.Follower[backplanev1.WatchRoutesRequest, backplanev1.WatchRoutesResponse]

// NewWatch returns the watch that keeps k current; its Run follows.
func NewWatch(client backplanev1.RouteServiceClient, hello *backplanev1.Hello, k *Keeper, log *slog.Logger, now func() time.Time) *Watch {
	return watch.NewFollower(client.WatchRoutes, hello, watch.At{}, k, log, now)
}

// Keeper keeps a store as the catalog says: each snapshot and each change is one
// swap of the table, and one that says nothing new is none. It ends the sessions
// of versions that are no longer published. Its methods are called one at a time.
type Keeper struct {
	store    *Store
	sessions Sessions
	saver    Saver
	maxAge   time.Duration
	log      *slog.Logger
	known    map[string]*backplanev1.Route // by name, as they came
}

// NewKeeper returns a keeper of store. maxAge is that of routes that have none of
// their own, 0 for no bound.
func NewKeeper(store *Store, sessions Sessions, saver Saver, maxAge time.Duration, log *slog.Logger) *Keeper {
	return &Keeper{
		store: store, sessions: sessions, saver: saver, maxAge: maxAge, log: log,
		known: map[string]*backplanev1.Route{},
	}
}

// Preload serves the routes of an earlier run until the catalog is heard.
func (k *Keeper) Preload(list []*backplanev1.Route) {
	if len(list) == 0 {
		return
	}
	if _, err := k.replace(list); err != nil {
		k.log.Warn("routes from disk left out", "error", err)
	}
}

// Reset makes the table that of a snapshot.
func (k *Keeper) Reset(_ gocontext.Context, at watch.At, _ backplanev1.Begin_Reset, pieces []*backplanev1.WatchRoutesResponse) (watch.Result, error) {
	var list []*backplanev1.Route
	for _, p := range pieces {
		list = append(list, p.GetSnapshot().GetRoutes()...)
	}
	ended, err := k.replace(list)
	k.log.Info("routes reset", "number", at.Number, "routes", len(list))
	return k.result(at, ended, err), nil
}

// Apply makes the changes of an event.
func (k *Keeper) Apply(_ gocontext.Context, at watch.At, m *backplanev1.WatchRoutesResponse) (watch.Result, error) {
	e := m.GetChange().GetEvent()
	if len(e.GetRoutes())+len(e.GetRemovedRoutes()) == 0 {
		return watch.Result{}, nil
	}
	ended, err := k.change(e.GetRoutes(), e.GetRemovedRoutes())
	return k.result(at, ended, err), nil
}

// result is what the catalog is told. Routes that cannot be served do not keep
// the others from being so.
func (k *Keeper) result(at watch.At, ended int, err error) watch.Result {
	r := watch.Result{SessionsClosed: uint64(ended)}
	if err != nil {
		k.log.Error("routes left out", "number", at.Number, "error", err)
		r.Failure = err.Error()
	}
	return r
}

// replace makes the table that of a list.
func (k *Keeper) replace(list []*backplanev1.Route) (ended int, err error) {
	gone := maps.Clone(k.known)
	for _, r := range list {
		delete(gone, r.GetName())
	}
	return k.change(list, slices.Collect(maps.Keys(gone)))
}

// change puts and removes routes in one swap. Routes that are as they were stay
// the same to the bit. The table is swapped before sessions are looked for:
// a handshake that finds the new table is refused by it, one that found the old
// one has registered its session or looks at the table again after it has.
func (k *Keeper) change(put []*backplanev1.Route, remove []string) (ended int, err error) {
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
		r, err := FromProto(p)
		if err != nil {
			wrong = append(wrong, err)
			c.Remove = append(c.Remove, p.GetName())
			continue
		}
		r.MaxAge = cmp.Or(r.MaxAge, k.maxAge)
		c.Put = append(c.Put, r)
	}
	if len(c.Put)+len(c.Remove) == 0 && k.store.Loaded() {
		return 0, nil
	}
	next, err := k.store.Load().With(c)
	k.store.Swap(next)
	k.saver.Save(slices.Collect(maps.Values(k.known)))
	return k.end(c), errors.Join(append(wrong, err)...)
}

// end ends the sessions of the versions that are no longer published. Those of a
// published one whose new route cannot be served stay.
func (k *Keeper) end(c Changes) (ended int) {
	end := func(name, why string) {
		if n := k.sessions.EndWhere(ending.New(ending.Blocked, why+": "+name), name); n > 0 {
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
