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
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/deny"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// Sessions ends the sessions of versions, and those that deny rules match.
// session.Registry implements it.
type Sessions interface {
	EndAllOn(e ending.Ending, names ...string) int
	// EndPublic ends the sessions that rest on a name, but for those under try-out tokens.
	EndPublic(e ending.Ending, name string) int
	// EndDenied ends the sessions that a rule of a table matches.
	EndDenied(t *deny.Table) int
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
	Deny     *deny.Current
	Sessions Sessions
	Disk     *Disk
	Plans    Plans
	MaxAge   time.Duration // of sessions, also where a route says more; 0: no bound
}

// Plans are told which plans there are, and what versions say of limits, before the routes
// that say so are served. throttle.Controller implements it.
type Plans interface {
	SetPlans(put []*catalogv1.Plan, removed []string)
	SetVersions(put map[string]throttle.Version, removed []string)
}

// NewWatch returns a watch whose Run follows the catalog. Until the catalog
// answers, the routes on disk are served.
func NewWatch(client backplanev1.RouteServiceClient, hello *backplanev1.Hello, t Target, log *slog.Logger, now func() time.Time) *Watch {
	k := newKeeper(t, t.Disk, log)
	k.preload(t.Disk.Load())
	return watch.NewFollower(client.WatchRoutes, hello, watch.At{}, k, log, now)
}

// keeper keeps the current tables, of routes and of deny rules, as the catalog says: it
// swaps each once for each snapshot and each change that differs from it, and ends the
// sessions of versions that are gone or no longer published, and those that new rules match.
// Its methods are called one at a time.
type keeper struct {
	current  *Current
	deny     *deny.Current
	sessions Sessions
	disk     saver
	holder   Plans
	maxAge   time.Duration
	log      *slog.Logger
	known    map[string]*backplanev1.Route // by name, as received
	plans    map[string]*catalogv1.Plan    // likewise
	rules    map[string]*catalogv1.DenyRule
}

func newKeeper(t Target, disk saver, log *slog.Logger) *keeper {
	return &keeper{
		current: t.Current, deny: t.Deny, sessions: t.Sessions, disk: disk, holder: t.Plans, maxAge: t.MaxAge, log: log,
		known: map[string]*backplanev1.Route{}, plans: map[string]*catalogv1.Plan{}, rules: map[string]*catalogv1.DenyRule{},
	}
}

// preload serves the routes of an earlier run.
func (k *keeper) preload(last *backplanev1.RouteSnapshot) {
	if len(last.GetRoutes()) == 0 {
		return
	}
	k.current.name(last.GetInstallation())
	if _, err := k.replace(last.GetRoutes(), last.GetPlans(), last.GetDenyRules()); err != nil {
		k.log.Warn("routes from disk left out", "error", err)
	}
}

// Reset serves the routes of a snapshot and no others.
func (k *keeper) Reset(_ context.Context, at watch.At, _ backplanev1.Begin_Reset, pieces []*backplanev1.WatchRoutesResponse) (watch.Result, error) {
	var list []*backplanev1.Route
	var plans []*catalogv1.Plan
	var rules []*catalogv1.DenyRule
	for _, p := range pieces {
		list, plans = append(list, p.GetSnapshot().GetRoutes()...), append(plans, p.GetSnapshot().GetPlans()...)
		rules = append(rules, p.GetSnapshot().GetDenyRules()...)
		k.current.name(p.GetSnapshot().GetInstallation())
	}
	ended, err := k.replace(list, plans, rules)
	k.log.Info("routes reset", "number", at.Number, "routes", len(list), "plans", len(plans), "deny_rules", len(rules))
	return k.result(at, ended, err), nil
}

// Apply makes the changes of one event.
func (k *keeper) Apply(_ context.Context, at watch.At, m *backplanev1.WatchRoutesResponse) (watch.Result, error) {
	e := m.GetChange().GetEvent()
	if proto.Size(e) == 0 {
		return watch.Result{}, nil
	}
	ended, err := k.change(e)
	return k.result(at, ended, err), nil
}

// result returns what the catalog is told. The event counts as applied even when
// some of its routes cannot be served, or rules not held.
func (k *keeper) result(at watch.At, ended int, err error) watch.Result {
	r := watch.Result{SessionsClosed: uint64(ended)}
	if err != nil {
		k.log.Error("routes left out", "number", at.Number, "error", err)
		r.Failure = err.Error()
	}
	return r
}

// replace serves the routes of a list and no others, and likewise plans and deny rules.
func (k *keeper) replace(list []*backplanev1.Route, plans []*catalogv1.Plan, rules []*catalogv1.DenyRule) (ended int, err error) {
	return k.change(&backplanev1.RouteEvent{
		Routes: list, RemovedRoutes: missing(k.known, list), Plans: plans, RemovedPlans: missing(k.plans, plans),
		DenyRules: rules, RemovedDenyRules: missing(k.rules, rules),
	})
}

// missing returns the names that are not in a list.
func missing[T interface{ GetName() string }](known map[string]T, list []T) []string {
	gone := maps.Clone(known)
	for _, x := range list {
		delete(gone, x.GetName())
	}
	return slices.Collect(maps.Keys(gone))
}

// change puts and removes routes in one swap. A route that has not changed stays
// the same object. Plans come before routes that need them, and go after them. Deny rules
// come before routes, so that none is served without those that hold for it.
//
// The table is swapped before sessions are looked for, so none slips through. A
// handshake that sees the new table is refused by it. One that saw the old table
// has either registered its session already, so that it is found, or will check the
// table once more after registering. The same holds for the table of deny rules.
func (k *keeper) change(e *backplanev1.RouteEvent) (ended int, err error) {
	rules, denied, unknown := k.setRules(e.GetDenyRules(), e.GetRemovedDenyRules())
	plans := k.putPlans(e.GetPlans())
	c, err := k.convert(e.GetRoutes(), e.GetRemovedRoutes())
	err = errors.Join(unknown, err)
	changed := len(c.Put)+len(c.Remove) > 0 || !k.current.Loaded()
	if changed {
		k.setVersions(c)
		next, wrong := k.current.Load().With(c)
		k.current.Swap(next)
		err = errors.Join(err, wrong)
	}
	if k.removePlans(e.GetRemovedPlans()) || plans || rules || changed {
		k.disk.save(&backplanev1.RouteSnapshot{
			Routes: slices.Collect(maps.Values(k.known)), Plans: slices.Collect(maps.Values(k.plans)), Installation: k.current.Installation(),
			DenyRules: slices.Collect(maps.Values(k.rules)),
		})
	}
	if !changed {
		return denied, err
	}
	return denied + k.end(c), err
}

// setRules holds and forgets deny rules, and ends the sessions that those match which are
// new. It reports whether any rule is new or gone, and what cannot be held.
func (k *keeper) setRules(put []*catalogv1.DenyRule, remove []string) (changed bool, ended int, err error) {
	var wrong []error
	var fresh []*deny.Rule
	var gone []string
	for _, name := range remove {
		if k.rules[name] != nil {
			delete(k.rules, name)
			gone = append(gone, name)
		}
	}
	for _, p := range put {
		if proto.Equal(p, k.rules[p.GetName()]) {
			continue
		}
		k.rules[p.GetName()] = p
		r, err := deny.FromProto(p)
		if err != nil {
			wrong, gone = append(wrong, err), append(gone, p.GetName())
			continue
		}
		fresh = append(fresh, r)
	}
	if len(fresh)+len(gone) == 0 {
		return false, 0, nil
	}
	k.deny.Swap(k.deny.Load().With(fresh, gone))
	if len(fresh) > 0 {
		if ended = k.sessions.EndDenied(new(deny.Table).With(fresh, nil)); ended > 0 {
			k.log.Info("sessions ended", "cause", "deny rule", "rule", fresh[0].Name, "rules", len(fresh), "count", ended)
		}
	}
	return true, ended, errors.Join(wrong...)
}

// putPlans has plans held, and reports whether any is new.
func (k *keeper) putPlans(plans []*catalogv1.Plan) bool {
	var put []*catalogv1.Plan
	for _, p := range plans {
		if !proto.Equal(p, k.plans[p.GetName()]) {
			k.plans[p.GetName()] = p
			put = append(put, p)
		}
	}
	if len(put) > 0 {
		k.holder.SetPlans(put, nil)
	}
	return len(put) > 0
}

// removePlans has plans forgotten, and reports whether any was there.
func (k *keeper) removePlans(names []string) bool {
	before := len(k.plans)
	for _, name := range names {
		delete(k.plans, name)
	}
	if len(names) > 0 {
		k.holder.SetPlans(nil, names)
	}
	return len(k.plans) != before
}

// setVersions says what changes of the limits of versions.
func (k *keeper) setVersions(c Changes) {
	put := make(map[string]throttle.Version, len(c.Put))
	for _, r := range c.Put {
		put[r.Name] = r.Limits
	}
	k.holder.SetVersions(put, c.Remove)
}

// convert notes routes that are put and removed, and returns what changes.
func (k *keeper) convert(put []*backplanev1.Route, remove []string) (c Changes, err error) {
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
		r.MaxAge = min(cmp.Or(r.MaxAge, k.maxAge), cmp.Or(k.maxAge, r.MaxAge))
		c.Put = append(c.Put, r)
	}
	return c, errors.Join(wrong...)
}

// end ends the sessions of the versions that are no longer published, but for those that
// try a version out. Sessions of a published version whose new route cannot be served live
// on.
func (k *keeper) end(c Changes) (ended int) {
	note := func(name, why string, n int) {
		if n > 0 {
			k.log.Info("sessions ended", "cause", why, "version", name, "count", n)
			ended += n
		}
	}
	withdraw := func(name string) {
		const why = "version no longer published"
		note(name, why, k.sessions.EndPublic(ending.New(ending.Blocked, why+": "+name), name))
	}
	for _, name := range c.Remove {
		switch r := k.known[name]; {
		case r == nil:
			const why = "version removed"
			note(name, why, k.sessions.EndAllOn(ending.New(ending.Blocked, why+": "+name), name))
		case !published(r):
			withdraw(name)
		}
	}
	for _, r := range c.Put {
		if !r.Published {
			withdraw(r.Name)
		}
	}
	return ended
}
