package change_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/tidegatehq/tidegate/gen"
	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// routes is a service that serves the words.
type routes struct {
	backplanev1.UnimplementedRouteServiceServer
	server *server
	log    *change.Log
}

func (r *routes) WatchRoutes(stream backplanev1.RouteService_WatchRoutesServer) error {
	return r.server.Serve(stream)
}

// GetRoute stands for a method that writes: it adds a word.
func (r *routes) GetRoute(ctx context.Context, req *backplanev1.GetRouteRequest) (*backplanev1.Route, error) {
	return &backplanev1.Route{}, r.log.Write(ctx, "write", func(*change.Tx) (change.Record, error) {
		return change.Record{Resource: req.GetName()}, nil
	})
}

// replica is a running replica.
type replica struct {
	log    *change.Log
	client backplanev1.RouteServiceClient
}

// serve runs a replica on db until the test ends.
func serve(t *testing.T, db *sqldb.DB) replica {
	t.Helper()
	l := change.NewLog("test", db, quiet(), time.Now, 0)
	lis := memnet.Listen("words")
	rule := identity.Rule{Services: []string{identity.Gateway}}
	cfg := grpcserver.Default("", "")
	cfg.InternalListener = lis
	srv := grpcserver.New(cfg, quiet(), grpcserver.Auth{Rules: identity.Rules{
		backplanev1.RouteService_WatchRoutes_FullMethodName: rule,
		backplanev1.RouteService_GetRoute_FullMethodName:    rule,
		backplanev1.RouteService_FetchPlan_FullMethodName:   rule,
	}})
	backplanev1.RegisterRouteServiceServer(srv.Internal(), &routes{server: newServer(l), log: l})
	conn, err := lis.Dial(identity.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{l.Run, srv.Run} {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		conn.Close()
		wg.Wait()
	})
	return replica{log: l, client: backplanev1.NewRouteServiceClient(conn)}
}

// startFollower follows a replica until the test ends; cut, if it is not nil, wraps
// each stream.
func startFollower(t *testing.T, r replica, s *sink, cut func(grpc.BidiStreamingClient[request, response]) grpc.BidiStreamingClient[request, response]) (*follower, context.CancelFunc) {
	t.Helper()
	open := func(ctx context.Context, _ ...grpc.CallOption) (grpc.BidiStreamingClient[request, response], error) {
		stream, err := r.client.WatchRoutes(ctx)
		if err != nil || cut == nil {
			return stream, err
		}
		return cut(stream), nil
	}
	f := watch.NewFollower(open, hello(), watch.At{}, s, quiet(), time.Now)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("follower: Run = %v, want nil", err)
		}
	})
	t.Cleanup(stop)
	return f, stop
}

// reach waits until a follower has a snapshot and has applied a change.
func reach(t *testing.T, f *follower, number uint64) {
	t.Helper()
	eventually(t, func() error {
		if at := f.At(); at.Cursor == "" || at.Number < number {
			return fmt.Errorf("the follower is at %v, not at %d", at, number)
		}
		return nil
	})
}

func TestWatchOverGRPC(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		r := serve(t, db)
		mustAdd(t, r.log, "a")
		s := &sink{result: watch.Result{SessionsClosed: 2, Failure: "no"}}
		f, stop := startFollower(t, r, s, nil)
		reach(t, f, 1)
		n := mustAdd(t, r.log, "b")
		applied, waiting, err := r.log.WaitApplied(t.Context(), n)
		if !applied || waiting != nil || err != nil {
			t.Errorf("WaitApplied(%d) = %v, %v, %v, want true", n, applied, waiting, err)
		}
		if words, resets, wrong := s.state(); !slices.Equal(words, []string{"a", "b"}) || resets != 1 || wrong != nil {
			t.Errorf("sink = %v, %d snapshots, wrong %v, want a b after 1", words, resets, wrong)
		}
		ws, err := r.log.Watchers(t.Context())
		if err != nil || len(ws) != 1 {
			t.Fatalf("Watchers = %v, %v, want one", ws, err)
		}
		w := ws[0]
		if w.GetInstance() != "gateway-1" || w.GetKind() != "gateway" || w.GetBuild() != "v1" || w.GetAddress() != "127.0.0.1:1" ||
			!slices.Equal(w.GetFeatures(), []string{"a", "b"}) || w.GetAppliedChangeNumber() != 2 || w.GetSessionsClosed() != 4 ||
			w.GetFailure() != "no" || !w.GetConnected() || w.GetSeenTime() == nil {
			t.Errorf("watcher = %v", w)
		}
		stop()
		eventually(t, func() error {
			ws, err := r.log.Watchers(t.Context())
			if err != nil || len(ws) != 1 || ws[0].GetConnected() {
				return fmt.Errorf("watchers = %v, %w, want one that is not connected", ws, err)
			}
			return nil
		})
		n = mustAdd(t, r.log, "c")
		if applied, _, err := r.log.WaitApplied(t.Context(), n); !applied || err != nil {
			t.Errorf("WaitApplied without watchers = %v, %v, want true", applied, err)
		}
	})
}

// What one replica writes reaches the watchers of another, and both know.
func TestReplicas(t *testing.T) {
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		r1, r2 := serve(t, db), serve(t, db)
		s := &sink{}
		f, _ := startFollower(t, r2, s, nil)
		reach(t, f, 0)
		for i := range 3 {
			n := mustAdd(t, r1.log, fmt.Sprint(i))
			if applied, waiting, err := r1.log.WaitApplied(t.Context(), n); !applied || err != nil {
				t.Errorf("WaitApplied(%d) = %v, %v, %v, want true", n, applied, waiting, err)
			}
		}
		if words, _, _ := s.state(); len(words) != 3 {
			t.Errorf("words = %v, want 3", words)
		}
	})
}

func TestWaitAppliedKnowsTheNewest(t *testing.T) {
	l := change.NewLog("test", testdb.SQLite(t, schema), quiet(), time.Now, 0)
	if _, _, err := l.WaitApplied(t.Context(), 1); !fault.Is(err, codes.NotFound) {
		t.Errorf("WaitApplied of no change = %v, want NOT_FOUND", err)
	}
}

// The name of a write's change is in the header of its answer.
func TestWriteSetsTheHeader(t *testing.T) {
	r := serve(t, testdb.SQLite(t, schema))
	for _, want := range []string{"services/test/changes/1", "services/test/changes/2"} {
		got, err := writeHeader(t.Context(), r.client)
		if err != nil || got != want {
			t.Errorf("header %s = %q, %v, want %s", gen.ChangeHeader, got, err, want)
		}
	}
	list, err := r.log.List(t.Context(), &changev1.ListChangesRequest{})
	if c := list.GetChanges()[0]; err != nil || c.GetActor() != "services/gateway" || c.GetAction() != "GetRoute" || c.GetResource() != "x" {
		t.Errorf("change = %v, %v, want services/gateway, GetRoute, x", c, err)
	}
}

// cutter is a stream that breaks after some messages.
type cutter struct {
	grpc.BidiStreamingClient[request, response]
	left int
}

func (c *cutter) Recv() (*response, error) {
	if c.left--; c.left < 0 {
		return nil, errors.New("cut")
	}
	return c.BidiStreamingClient.Recv()
}

// perStream is how many messages a stream carries on average.
const perStream = 25

// A watcher that is cut off at random moments, while several writers write on two
// replicas, applies every change exactly once and in order.
func TestCutWatcherLosesNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	testdb.Each(t, schema, func(t *testing.T, db *sqldb.DB) {
		r1, r2 := serve(t, db), serve(t, db)
		var mu sync.Mutex
		random, cuts := rand.New(rand.NewPCG(seed, 0)), 0
		cut := func(s grpc.BidiStreamingClient[request, response]) grpc.BidiStreamingClient[request, response] {
			mu.Lock()
			defer mu.Unlock()
			if cuts++; cuts > 12 {
				return s
			}
			return &cutter{BidiStreamingClient: s, left: random.IntN(2 * perStream)}
		}
		s := &sink{}
		f, _ := startFollower(t, r1, s, cut)
		const writers, each = 4, 75
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					l := []*change.Log{r1.log, r2.log}[(w+i)%2]
					if _, err := addWord(t.Context(), l, fmt.Sprintf("%d-%02d", w, i)); err != nil {
						t.Errorf("write: %v", err)
					}
				}
			})
		}
		wg.Wait()
		reach(t, f, writers*each)
		words, resets, wrong := s.state()
		if wrong != nil || len(words) != writers*each || len(slices.Compact(words)) != writers*each {
			t.Errorf("%d words after %d snapshots, out of order: %v, want %d", len(words), resets, wrong, writers*each)
		}
		t.Logf("%d streams, %d snapshots", cuts, resets)
	})
}

// A snapshot larger than a message comes in pieces.
func TestLargeSnapshot(t *testing.T) {
	db := testdb.SQLite(t, schema)
	r := serve(t, db)
	const n = 50
	for i := range n {
		mustAdd(t, r.log, strings.Repeat("x", 100_000)+fmt.Sprint(i))
	}
	s := &sink{}
	f, _ := startFollower(t, r, s, nil)
	reach(t, f, n)
	if words, _, _ := s.state(); len(words) != n {
		t.Errorf("words = %d, want %d", len(words), n)
	}
}

// A stream that sends something out of order is refused.
func TestServerRefusesWhatIsOutOfOrder(t *testing.T) {
	r := serve(t, testdb.SQLite(t, schema))
	ack := &request{Body: &backplanev1.WatchRoutesRequest_Ack{Ack: &backplanev1.Ack{AppliedChangeNumber: 9}}}
	hi := &request{Body: &backplanev1.WatchRoutesRequest_Hello{Hello: hello()}}
	for name, says := range map[string][]*request{
		"ack first":        {ack},
		"two hellos":       {hi, hi},
		"ack of a future":  {hi, ack},
		"an empty message": {{}},
	} {
		stream, err := r.client.WatchRoutes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range says {
			if err := stream.Send(m); err != nil {
				break // the stream has ended already, Recv says why
			}
		}
		for err == nil {
			_, err = stream.Recv()
		}
		if !fault.Is(err, codes.InvalidArgument) {
			t.Errorf("%s: %v, want INVALID_ARGUMENT", name, err)
		}
	}
}

// writeHeader calls a method that writes and returns the header of its answer.
func writeHeader(ctx context.Context, c backplanev1.RouteServiceClient) (string, error) {
	var head metadata.MD
	_, err := c.GetRoute(ctx, &backplanev1.GetRouteRequest{Name: "x"}, grpc.Header(&head))
	return strings.Join(head.Get(gen.ChangeHeader), ","), err
}
