package api

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

type (
	routesRequest  = backplanev1.WatchRoutesRequest
	routesResponse = backplanev1.WatchRoutesResponse
)

// mirror is what a gateway makes of a watch: routes and plans by name.
type mirror struct {
	t       *testing.T
	mu      sync.Mutex
	resets  int
	from    uint64 // number of the snapshot
	numbers []uint64
	events  []*backplanev1.RouteEvent
	routes  map[string]*backplanev1.Route
	plans   map[string]*catalogv1.Plan
}

// Reset takes a snapshot.
func (m *mirror) Reset(_ context.Context, at watch.At, _ backplanev1.Begin_Reset, pieces []*routesResponse) (watch.Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.resets++
	m.from, m.numbers, m.events = at.Number, nil, nil
	m.routes, m.plans = map[string]*backplanev1.Route{}, map[string]*catalogv1.Plan{}
	for _, p := range pieces {
		m.add(&backplanev1.RouteEvent{Routes: p.GetSnapshot().GetRoutes(), Plans: p.GetSnapshot().GetPlans()})
	}
	return watch.Result{}, nil
}

// Apply takes a change, which has to be the next.
func (m *mirror) Apply(_ context.Context, at watch.At, c *routesResponse) (watch.Result, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if want := m.from + uint64(len(m.numbers)) + 1; at.Number != want {
		m.t.Errorf("change %d is applied where %d is the next", at.Number, want)
	}
	m.numbers = append(m.numbers, at.Number)
	m.events = append(m.events, c.GetChange().GetEvent())
	m.add(c.GetChange().GetEvent())
	return watch.Result{}, nil
}

func (m *mirror) add(e *backplanev1.RouteEvent) {
	for _, r := range e.GetRoutes() {
		m.routes[r.GetName()] = r
	}
	for _, name := range e.GetRemovedRoutes() {
		if m.routes[name] == nil {
			m.t.Errorf("%s is removed and is not there", name)
		}
		delete(m.routes, name)
	}
	for _, p := range e.GetPlans() {
		m.plans[p.GetName()] = p
	}
	for _, name := range e.GetRemovedPlans() {
		if m.plans[name] == nil {
			m.t.Errorf("%s is removed and is not there", name)
		}
		delete(m.plans, name)
	}
}

// cutConn is a connection that breaks when its bytes, both ways, are used up.
type cutConn struct {
	net.Conn
	left atomic.Int64
}

var errCut = errors.New("cut")

func (c *cutConn) use(n int) error {
	if c.left.Add(-int64(n)) < 0 {
		c.Close()
		return errCut
	}
	return nil
}

func (c *cutConn) Read(b []byte) (int, error) {
	// What comes in one piece is cut inside too.
	n, err := c.Conn.Read(b[:min(len(b), int(max(c.left.Load(), 1)))])
	return n, errors.Join(err, c.use(n))
}

func (c *cutConn) Write(b []byte) (int, error) {
	if err := c.use(len(b)); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// follow follows the catalog from start on one connection that breaks after some
// bytes, and returns the point that was reached. It ends with the connection, or
// when a change has been applied.
func (f *fixture) follow(instance string, start watch.At, bytes int64, sink watch.Sink[routesResponse], until func() uint64) watch.At {
	f.t.Helper()
	conn, err := grpc.NewClient("passthrough:///catalog", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			c, err := f.services.DialContext(ctx, identity.Gateway)
			if err != nil {
				return nil, err
			}
			cut := &cutConn{Conn: c}
			cut.left.Store(bytes)
			return cut, nil
		}))
	if err != nil {
		f.t.Errorf("dial: %v", err)
		return start
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(f.t.Context())
	defer cancel()
	opened := false
	open := func(ctx context.Context, opts ...grpc.CallOption) (grpc.BidiStreamingClient[routesRequest, routesResponse], error) {
		if opened {
			cancel() // the first stream is broken
			return nil, errCut
		}
		opened = true
		return backplanev1.NewRouteServiceClient(conn).WatchRoutes(ctx, opts...)
	}
	hello := &backplanev1.Hello{Instance: instance, Kind: "gateway"}
	follower := watch.NewFollower(open, hello, start, sink, quiet(), time.Now)
	done := make(chan error, 1)
	go func() { done <- follower.Run(ctx) }()
	if until != nil && reached(ctx, follower, until()) {
		cancel()
	}
	if err := <-done; err != nil {
		f.t.Errorf("follower: %v", err)
	}
	return follower.At()
}

// reached waits until a follower has a snapshot and has applied a change, and
// reports false where ctx ends before.
func reached(ctx context.Context, f *watch.Follower[routesRequest, routesResponse], number uint64) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for f.At().Cursor == "" || f.Applied() < number {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// scribe changes the catalog at random, through any of the replicas, and keeps
// the numbers of its changes.
type scribe struct {
	t        *testing.T
	replicas []*fixture
	random   *rand.Rand
	name     string
	numbers  []uint64
}

// write makes one change; refusals are what collisions with others give.
func (s *scribe) write(shared *catalogv1.Api) {
	f := s.replicas[s.random.IntN(len(s.replicas))]
	ctx := s.t.Context()
	var header metadata.MD
	with := []grpc.CallOption{f.ann, grpc.Header(&header)}
	versions, err := f.ListVersions(ctx, &catalogv1.ListVersionsRequest{Parent: shared.GetName(), PageSize: 1000}, f.ann)
	if err != nil {
		s.t.Errorf("ListVersions: %v", err)
		return
	}
	n := len(versions.GetVersions())
	what := s.random.IntN(8)
	if n == 0 {
		what = 0
	}
	if what == 1 {
		with[0] = f.root
	}
	var v *catalogv1.Version
	if n > 0 {
		v = versions.GetVersions()[s.random.IntN(n)]
	}
	unique := fmt.Sprintf("%s-%d", s.name, s.random.Uint32())
	switch what {
	case 0:
		_, err = f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: shared.GetName(), Version: &catalogv1.Version{
			Version: unique, Plans: []string{"plans/gold"}, Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://b")},
		}}, with...)
	case 1:
		_, err = f.CreatePlan(ctx, &catalogv1.CreatePlanRequest{Plan: &catalogv1.Plan{DisplayName: unique}}, with...)
	case 2:
		_, err = f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{Version: &catalogv1.Version{
			Name: v.GetName(), Description: unique, Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://" + unique)},
		}}, with...)
	case 3:
		_, err = f.PublishVersion(ctx, &catalogv1.PublishVersionRequest{Name: v.GetName(), Etag: v.GetEtag()}, with...)
	case 4:
		_, err = f.DemoteVersion(ctx, &catalogv1.DemoteVersionRequest{Name: v.GetName(), Etag: v.GetEtag()}, with...)
	case 5:
		_, err = f.UpdateApi(ctx, &catalogv1.UpdateApiRequest{Api: &catalogv1.Api{
			Name: shared.GetName(), DisplayName: unique, DefaultVersion: v.GetName(),
		}}, with...)
	case 6:
		_, err = f.DeleteVersion(ctx, &catalogv1.DeleteVersionRequest{Name: v.GetName()}, with...)
	case 7:
		_, err = f.CreateApi(ctx, &catalogv1.CreateApiRequest{Api: &catalogv1.Api{DisplayName: unique, Context: "/" + unique}}, with...)
	}
	published := v.GetState() == catalogv1.Version_STATE_PUBLISHED
	switch status.Code(err) {
	case codes.OK:
		if what == 3 && published || what == 4 && !published {
			return // it was so: the header has the change that made it so
		}
		s.numbers = append(s.numbers, number(s.t, header))
	case codes.NotFound, codes.Aborted, codes.FailedPrecondition, codes.InvalidArgument:
	default:
		s.t.Errorf("write %d: %v", what, err)
	}
}

// A watcher that is cut at random moments, with concurrent writers, applies every
// change exactly once and in order, on both databases.
func TestWatcherCutAtRandomMoments(t *testing.T) {
	const writers, cuts, changes = 4, 30, 60
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	testdb.Each(t, store.Schema(), func(t *testing.T, db *sqldb.DB) {
		random := rand.New(rand.NewPCG(seed, 0))
		replicas := []*fixture{newFixture(t, db), newFixture(t, db)}
		shared := replicas[0].api("Shared")
		var wg sync.WaitGroup
		var stop atomic.Bool
		scribes := make([]*scribe, writers)
		for i := range scribes {
			s := &scribe{t: t, replicas: replicas, random: rand.New(rand.NewPCG(seed, uint64(i+1))), name: fmt.Sprintf("w%d", i)}
			scribes[i] = s
			wg.Go(func() {
				for !t.Failed() && (!stop.Load() || len(s.numbers) < changes/writers) {
					s.write(shared)
				}
			})
		}
		calm, torn := &mirror{t: t}, &mirror{t: t}
		head := func() uint64 {
			wg.Wait()
			n, err := change.Head(t.Context(), db)
			if err != nil {
				t.Error(err)
			}
			return n
		}
		reference := make(chan struct{})
		go func() {
			defer close(reference)
			replicas[1].follow("calm", watch.At{}, 1<<40, calm, head)
		}()
		var at watch.At
		for range cuts {
			f := replicas[random.IntN(len(replicas))]
			at = f.follow("torn", at, 200+random.Int64N(6_000), torn, nil)
		}
		stop.Store(true)
		replicas[0].follow("torn", at, 1<<40, torn, head)
		<-reference
		verify(t, replicas[0], calm, torn, scribes)
	})
}

// verify compares what the watchers made of the changes with each other, with
// what the writers were told, and with the catalog itself.
func verify(t *testing.T, f *fixture, calm, torn *mirror, scribes []*scribe) {
	t.Helper()
	last := torn.from + uint64(len(torn.numbers))
	t.Logf("%d changes, the cut watcher began at %d", last, torn.from)
	if calm.resets != 1 || torn.resets != 1 {
		t.Errorf("%d and %d snapshots, want 1 each", calm.resets, torn.resets)
	}
	written := []uint64{1} // the shared API
	for _, s := range scribes {
		written = append(written, s.numbers...)
	}
	slices.Sort(written)
	for i, n := range written {
		if n != uint64(i+1) {
			t.Fatalf("the writers' numbers have %d at place %d", n, i+1)
		}
	}
	if uint64(len(written)) != last || last != calm.from+uint64(len(calm.numbers)) {
		t.Errorf("%d changes were written, the cut watcher has %d, the other %d", len(written), last, calm.from+uint64(len(calm.numbers)))
	}
	for i, n := range torn.numbers {
		if n <= calm.from {
			continue
		}
		if diff := cmp.Diff(calm.events[n-calm.from-1], torn.events[i], protocmp.Transform()); diff != "" {
			t.Errorf("change %d (-other +cut watcher):\n%s", n, diff)
		}
	}
	state, _ := f.watch("fresh", "").snapshot()
	fresh := &mirror{t: t, routes: map[string]*backplanev1.Route{}, plans: map[string]*catalogv1.Plan{}}
	fresh.add(&backplanev1.RouteEvent{Routes: state.GetRoutes(), Plans: state.GetPlans()})
	for name, m := range map[string]*mirror{"cut": torn, "other": calm} {
		if diff := cmp.Diff(fresh.routes, m.routes, protocmp.Transform()); diff != "" {
			t.Errorf("routes of the %s watcher (-catalog +watcher):\n%s", name, diff)
		}
		if diff := cmp.Diff(fresh.plans, m.plans, protocmp.Transform()); diff != "" {
			t.Errorf("plans of the %s watcher (-catalog +watcher):\n%s", name, diff)
		}
	}
}
