package api_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

type (
	grantsRequest  = backplanev1.WatchGrantsRequest
	grantsResponse = backplanev1.WatchGrantsResponse
)

// gateway watches grants as a gateway does.
type gateway struct {
	mu      sync.Mutex
	at      watch.At
	resets  int
	applied []uint64
	events  map[uint64]string
	moved   chan struct{}
}

func newGateway() *gateway {
	return &gateway{events: map[uint64]string{}, moved: make(chan struct{}, 1)}
}

// Reset takes an empty snapshot.
func (g *gateway) Reset(_ context.Context, at watch.At, _ backplanev1.Begin_Reset, pieces []*grantsResponse) (watch.Result, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(pieces) > 0 {
		return watch.Result{}, fmt.Errorf("%d pieces in a snapshot that is empty", len(pieces))
	}
	g.resets++
	g.move(at)
	return watch.Result{}, nil
}

// Apply records a change.
func (g *gateway) Apply(_ context.Context, at watch.At, m *grantsResponse) (watch.Result, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.applied = append(g.applied, at.Number)
	if e := m.GetChange().GetEvent(); e != nil {
		g.events[at.Number] = fmt.Sprintf("%v %v", e.GetCause(), e.GetNames())
	}
	g.move(at)
	return watch.Result{SessionsClosed: 1}, nil
}

func (g *gateway) move(at watch.At) {
	g.at = at
	select {
	case g.moved <- struct{}{}:
	default:
	}
}

func (g *gateway) place() watch.At {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.at
}

// reach waits until a change has been applied.
func (g *gateway) reach(ctx context.Context, number uint64) error {
	for g.place().Number < number {
		select {
		case <-g.moved:
		case <-ctx.Done():
			return fmt.Errorf("at %d, not at %d", g.place().Number, number)
		}
	}
	return nil
}

// follow watches from where the gateway is until ctx ends.
func (g *gateway) follow(ctx context.Context, c backplanev1.GrantServiceClient, now func() time.Time) {
	f := watch.NewFollower(c.WatchGrants, &backplanev1.Hello{Instance: "gateway-1", Kind: "gateway"}, g.place(), g, slog.New(slog.DiscardHandler), now)
	f.Run(ctx) //nolint:errcheck // it returns nil when ctx ends
}

// TestWatchCutAtRandom has a watcher that is cut off at random moments and resumes
// at one of two replicas, while eight writers write through both. It must apply
// every change once and in order.
func TestWatchCutAtRandom(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		_, internal, _, _ := w.replica()
		replicas := []clients{w.gateway, newClients(w.dial(internal, identity.Gateway))}
		g := newGateway()
		first, stop := context.WithCancel(t.Context())
		began := make(chan struct{})
		go func() { defer close(began); g.follow(first, replicas[0].tokens, w.now) }()
		start := w.head()
		w.must(g.reach(t.Context(), start))
		stop()
		<-began
		if at := g.place().Number; at != start || g.resets != 1 {
			t.Fatalf("a first watch is at %d after %d resets, want %d and 1", at, g.resets, start)
		}

		var writers sync.WaitGroup
		for i := range 8 {
			writers.Go(func() { w.writeAtRandom(replicas[i%2], rand.New(rand.NewPCG(seed, uint64(i))), i) })
		}
		over := make(chan struct{})
		go func() { defer close(over); writers.Wait() }()
		rnd := rand.New(rand.NewPCG(seed, 99))
		cuts := 0
		for running := true; running; cuts++ {
			select {
			case <-over:
				running = false
			default:
			}
			ctx, cut := context.WithTimeout(t.Context(), time.Duration(rnd.IntN(8_000))*time.Microsecond)
			g.follow(ctx, replicas[rnd.IntN(2)].tokens, w.now)
			cut()
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); g.follow(ctx, replicas[1].tokens, w.now) }()
		head := w.head()
		w.must(g.reach(t.Context(), head))
		resp, err := w.changes.WaitChange(w.root, &changev1.WaitChangeRequest{Name: fmt.Sprint("services/subscription/changes/", head)})
		if err != nil || !resp.GetApplied() {
			t.Errorf("WaitChange(%d) = %v, %v, want applied", head, resp, err)
		}
		stop()
		<-done
		t.Logf("%d changes, %d cuts", head-start, cuts)
		w.compare(g, start, head)
	})
}

// writeAtRandom makes and deletes things.
func (w *world) writeAtRandom(c clients, rnd *rand.Rand, writer int) {
	var apps []string
	for i := range 60 {
		if len(apps) > 0 && rnd.IntN(2) == 0 {
			at := rnd.IntN(len(apps))
			if _, err := c.apps.DeleteApplication(w.ann, &subscriptionv1.DeleteApplicationRequest{Name: apps[at]}); err != nil {
				w.t.Errorf("DeleteApplication() = %v", err)
			}
			apps = slices.Delete(apps, at, at+1)
			continue
		}
		a, err := c.apps.CreateApplication(w.ann, &subscriptionv1.CreateApplicationRequest{
			Application: &subscriptionv1.Application{DisplayName: fmt.Sprint("app ", writer, " ", i)},
		})
		if err != nil {
			w.t.Errorf("CreateApplication() = %v", err)
			continue
		}
		apps = append(apps, a.GetName())
	}
}

// compare checks that a watcher has heard what the log has, once and in order.
func (w *world) compare(g *gateway, start, head uint64) {
	w.t.Helper()
	if g.resets != 1 {
		w.t.Errorf("%d resets, want only the first", g.resets)
	}
	if uint64(len(g.applied)) != head-start {
		w.t.Fatalf("%d changes applied, want %d", len(g.applied), head-start)
	}
	for i, n := range g.applied {
		if n != start+1+uint64(i) {
			w.t.Fatalf("change %d came as number %d after the start at %d", n, i+1, start)
		}
	}
	rows, err := w.db.QueryContext(w.t.Context(), `SELECT number, events FROM change WHERE number > $1`, int64(start))
	w.must(err)
	defer rows.Close()
	for rows.Next() {
		var n int64
		var text []byte
		w.must(rows.Scan(&n, &text))
		want := ""
		e := &backplanev1.GrantEvent{}
		found, err := watch.DecodeEvent(text, e)
		w.must(err)
		if found {
			want = fmt.Sprintf("%v %v", e.GetCause(), e.GetNames())
		}
		if got := g.events[uint64(n)]; got != want {
			w.t.Errorf("event of change %d = %q, want %q", n, got, want)
		}
	}
	w.must(rows.Err())
}

// TestWatchRefusesDisorder sends what a watcher must not send.
func TestWatchRefusesDisorder(t *testing.T) {
	w := onSQLite(t)
	hello := &grantsRequest{Body: &backplanev1.WatchGrantsRequest_Hello{Hello: &backplanev1.Hello{Instance: "g", Kind: "gateway"}}}
	ack := func(n uint64) *grantsRequest {
		return &grantsRequest{Body: &backplanev1.WatchGrantsRequest_Ack{Ack: &backplanev1.Ack{AppliedChangeNumber: n}}}
	}
	for _, tt := range []struct {
		name string
		say  []*grantsRequest
		text string
	}{
		{"nothing in it", []*grantsRequest{{}}, "body: is required"},
		{"an ack first", []*grantsRequest{ack(1)}, "hello: must come first"},
		{"hello twice", []*grantsRequest{hello, hello}, "hello: must come once"},
		{"a bad instance", []*grantsRequest{{Body: &backplanev1.WatchGrantsRequest_Hello{
			Hello: &backplanev1.Hello{Instance: "Ä", Kind: "gateway"},
		}}}, "hello.instance: must be 1 to 63 characters of a-z, 0-9 and -, the first and the last a letter or a digit"},
		{"an ack of the future", []*grantsRequest{hello, ack(1 << 40)},
			fmt.Sprintf("ack.applied_change_number: %d was not sent yet, the last was %d", 1<<40, w.head())},
	} {
		stream, err := w.gateway.tokens.WatchGrants(t.Context())
		w.must(err)
		for i, m := range tt.say {
			if i == 1 && m.GetAck() != nil {
				// Read past the snapshot, so that the number sent is known.
				for end := false; !end; {
					got, err := stream.Recv()
					w.must(err)
					end = got.GetSnapshotEnd() != nil
				}
			}
			w.must(stream.Send(m))
		}
		for err = nil; err == nil; {
			_, err = stream.Recv()
		}
		refused(t, tt.name, err, codes.InvalidArgument, tt.text)
	}
}

// TestListWatchers shows a gateway that watches.
func TestListWatchers(t *testing.T) {
	w := onSQLite(t)
	g := newGateway()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); g.follow(ctx, w.gateway.tokens, w.now) }()
	defer func() { stop(); <-done }()
	w.must(g.reach(t.Context(), w.head()))
	w.application(w.ann, "Chat")
	resp, err := w.changes.WaitChange(w.ann, &changev1.WaitChangeRequest{Name: fmt.Sprint("services/subscription/changes/", w.head())})
	if err != nil || !resp.GetApplied() {
		t.Errorf("WaitChange() = %v, %v", resp, err)
	}
	list, err := w.changes.ListWatchers(w.root, &changev1.ListWatchersRequest{Parent: "services/subscription"})
	if err != nil || len(list.GetWatchers()) != 1 {
		t.Fatalf("ListWatchers() = %v, %v, want one", list, err)
	}
	if got := list.GetWatchers()[0]; got.GetInstance() != "gateway-1" || got.GetKind() != "gateway" || !got.GetConnected() || got.GetAppliedChangeNumber() != w.head() {
		t.Errorf("watcher = %v", got)
	}
	_, err = w.changes.WaitChange(w.ann, &changev1.WaitChangeRequest{Name: fmt.Sprint("services/subscription/changes/", w.head()+1)})
	refused(t, "WaitChange(of the future)", err, codes.NotFound, fmt.Sprintf("services/subscription/changes/%d not found", w.head()+1))
}
