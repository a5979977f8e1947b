package grant_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const version1 = "apis/x/versions/1"

// source is a Source made of functions. It counts the calls of Verify.
type source struct {
	verify func(ctx context.Context, token, version string) (grant.Answer, error)
	read   func(grants []*grant.Grant) (grant.States, error)
	calls  atomic.Int64
}

func (s *source) Verify(ctx context.Context, c credential.Credential, version string) (grant.Answer, error) {
	s.calls.Add(1)
	return s.verify(ctx, c.Value, version)
}

func (s *source) Read(_ context.Context, grants []*grant.Grant) (grant.States, error) {
	return s.read(grants)
}

func bearer(token string) credential.Credential {
	return credential.Credential{Type: credential.OAuth2, Value: token}
}

// good returns an answer with a grant.
func good(token string, asOf uint64) grant.Answer {
	return grant.Answer{
		Grant: &grant.Grant{
			Name: "grants/" + token, Version: version1, Subscription: "subscriptions/1", Stage: grant.Sandbox,
			RestsOn: []string{"grants/" + token, "subscriptions/1", version1},
		},
		Lifetime: time.Hour, AsOf: asOf,
	}
}

func bad(reason error, names ...string) grant.Answer {
	return grant.Answer{Denial: &grant.Denial{Reason: reason, RestsOn: names}}
}

// answers returns a source that always gives the same answer.
func answers(a grant.Answer) *source {
	return &source{verify: func(context.Context, string, string) (grant.Answer, error) { return a, nil }}
}

// rig is a cache under test.
type rig struct {
	*grant.Cache
	source   *source
	registry *session.Registry
	metrics  *prometheus.Registry
}

func newRig(t *testing.T, cfg grant.Config, src *source) *rig {
	t.Helper()
	reg := prometheus.NewRegistry()
	r := &rig{source: src, metrics: reg, registry: session.NewRegistry(nil, func(session.Record) {})}
	r.Cache = grant.New(cfg, src, r.registry, metrics.New(reg), slog.New(slog.DiscardHandler))
	t.Cleanup(r.Close)
	return r
}

// granted checks that Verify returns a grant, and how often the source has been
// asked by then.
func (r *rig) granted(t *testing.T, token string, calls int64) (*grant.Grant, grant.Position) {
	t.Helper()
	g, position, err := r.Verify(t.Context(), bearer(token), version1)
	if err != nil || g == nil {
		t.Fatalf("Verify(%s) = %v, want a grant", token, err)
	}
	if got := r.source.calls.Load(); got != calls {
		t.Fatalf("after Verify(%s) the source was asked %d times, want %d", token, got, calls)
	}
	return g, position
}

// refused checks that Verify returns an error, and how often the source has been
// asked by then.
func (r *rig) refused(t *testing.T, token string, want error, calls int64) {
	t.Helper()
	if g, _, err := r.Verify(t.Context(), bearer(token), version1); !errors.Is(err, want) || g != nil {
		t.Fatalf("Verify(%s) = %v, want %v", token, err, want)
	}
	if got := r.source.calls.Load(); got != calls {
		t.Fatalf("after Verify(%s) the source was asked %d times, want %d", token, got, calls)
	}
}

func TestOneLookupForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := newRig(t, grant.Default(), &source{verify: func(context.Context, string, string) (grant.Answer, error) {
			<-release
			return good("a", 0), nil
		}})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if g, _, err := r.Verify(t.Context(), bearer("a"), version1); err != nil || g.Stage != grant.Sandbox {
					t.Errorf("Verify = %v, %v", g, err)
				}
			})
		}
		left, leave := context.WithCancel(t.Context())
		wg.Go(func() {
			if _, _, err := r.Verify(left, bearer("a"), version1); !errors.Is(err, context.Canceled) {
				t.Errorf("Verify of a caller who left = %v", err)
			}
		})
		synctest.Wait()
		leave()
		synctest.Wait()
		close(release)
		wg.Wait()
		r.granted(t, "a", 1)
		if n, err := testutil.GatherAndCount(r.metrics, "tidegate_grant_lookups_total"); n != 2 || err != nil {
			t.Errorf("%d kinds of lookups are counted, %v, want hits and misses", n, err)
		}
	})
}

func TestLookupGoesOnWhenItsCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, grant.Default(), &source{verify: func(ctx context.Context, _, _ string) (grant.Answer, error) {
			select {
			case <-time.After(time.Second):
				return good("a", 0), nil
			case <-ctx.Done():
				return grant.Answer{}, ctx.Err()
			}
		}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if _, _, err := r.Verify(ctx, bearer("a"), version1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Verify = %v, want the caller's deadline", err)
		}
		time.Sleep(2 * time.Second)
		r.granted(t, "a", 1)
	})
}

func TestLookupsUnderWayAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		cfg := grant.Default()
		cfg.MaxLookups = 2
		r := newRig(t, cfg, &source{verify: func(_ context.Context, credential, _ string) (grant.Answer, error) {
			<-release
			return good(credential, 0), nil
		}})
		var wg sync.WaitGroup
		for _, credential := range []string{"a", "b", "a"} {
			wg.Go(func() {
				if _, _, err := r.Verify(t.Context(), bearer(credential), version1); err != nil {
					t.Errorf("Verify(%s) = %v", credential, err)
				}
			})
		}
		synctest.Wait()
		r.refused(t, "c", grant.ErrBusy, 2)
		close(release)
		wg.Wait()
		r.granted(t, "c", 3)
	})
}

// TestAddressesLeaveLookupsFree: of addresses that each have as many credentials verified as
// they can, each one more gets less, and the next one still gets one.
func TestAddressesLeaveLookupsFree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		cfg := grant.Default()
		cfg.MaxLookups = 12
		r := newRig(t, cfg, &source{verify: func(_ context.Context, credential, _ string) (grant.Answer, error) {
			<-release
			return good(credential, 0), nil
		}})
		var wg sync.WaitGroup
		for i, want := range []int{4, 3, 2, 1, 1} {
			ctx := clientaddr.With(t.Context(), netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
			var busy atomic.Int64
			for n := range cfg.MaxLookups {
				wg.Go(func() {
					if _, _, err := r.Verify(ctx, bearer(fmt.Sprint(i, "-", n)), version1); errors.Is(err, grant.ErrBusy) {
						busy.Add(1)
					}
				})
			}
			synctest.Wait()
			if got := cfg.MaxLookups - int(busy.Load()); got != want {
				t.Errorf("address %d has %d credentials verified, want %d", i, got, want)
			}
		}
		close(release)
		wg.Wait()
	})
}

// TestZeroLimitsAreNone has many lookups under way, many grants and a denial, each with
// a limit of 0.
func TestZeroLimitsAreNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		cfg := grant.Default()
		cfg.MaxLookups, cfg.MaxGrants, cfg.DenialTTL = 0, 0, 0
		if err := cfg.Check(); err != nil {
			t.Errorf("Check = %v, want nil", err)
		}
		r := newRig(t, cfg, &source{verify: func(_ context.Context, credential, _ string) (grant.Answer, error) {
			<-release
			if credential == "bad" {
				return grant.Answer{Denial: &grant.Denial{Reason: grant.ErrUnauthenticated}}, nil
			}
			return good(credential, 0), nil
		}})
		const many = 500
		var wg sync.WaitGroup
		for i := range many {
			wg.Go(func() {
				if _, _, err := r.Verify(t.Context(), bearer(fmt.Sprint(i)), version1); err != nil {
					t.Errorf("Verify(%d) = %v", i, err)
				}
			})
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		r.granted(t, "0", many) // from the cache
		r.refused(t, "bad", grant.ErrUnauthenticated, many+1)
		r.refused(t, "bad", grant.ErrUnauthenticated, many+2) // asked again
	})
}

func TestLookupHasATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, grant.Default(), &source{verify: func(ctx context.Context, _, _ string) (grant.Answer, error) {
			<-ctx.Done()
			return grant.Answer{}, ctx.Err()
		}})
		begin := time.Now()
		r.refused(t, "a", grant.ErrUnavailable, 1)
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("the lookup took %v, want 3 s", took)
		}
	})
}

func TestLifetimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer grant.Answer
		r := newRig(t, grant.Default(), &source{verify: func(context.Context, string, string) (grant.Answer, error) {
			time.Sleep(time.Second) // on the way
			return answer, nil
		}})
		answer = good("a", 0)
		begin := time.Now()
		if g, _ := r.granted(t, "a", 1); !g.Expires.Equal(begin.Add(time.Hour)) {
			t.Errorf("the grant ends in %v, want an hour after the question", g.Expires.Sub(begin))
		}
		time.Sleep(5*time.Minute - 2*time.Second)
		r.granted(t, "a", 1)
		time.Sleep(2 * time.Second)
		r.granted(t, "a", 2)

		answer = bad(grant.ErrNotSubscribed)
		r.refused(t, "b", grant.ErrNotSubscribed, 3)
		r.refused(t, "b", grant.ErrNotSubscribed, 3)
		time.Sleep(time.Second)
		r.refused(t, "b", grant.ErrNotSubscribed, 4)

		answer = good("c", 0)
		answer.Lifetime = 10 * time.Second
		r.granted(t, "c", 5)
		time.Sleep(9 * time.Second)
		r.refused(t, "c", grant.ErrExpired, 5)
	})
}

func TestControlPlaneAwayHonoursWhatIsCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away := false
		r := newRig(t, grant.Default(), &source{verify: func(context.Context, string, string) (grant.Answer, error) {
			if away {
				return grant.Answer{}, errors.New("away")
			}
			return good("a", 0), nil
		}})
		r.granted(t, "a", 1)
		away = true
		r.refused(t, "b", grant.ErrUnavailable, 2)
		time.Sleep(4 * time.Minute)
		r.granted(t, "a", 2)
		time.Sleep(2 * time.Minute)
		r.refused(t, "a", grant.ErrUnavailable, 3)
		away = false
		r.granted(t, "a", 4)
	})
}

func TestEventsEvictWhatTheyTouch(t *testing.T) {
	r := newRig(t, grant.Default(), answers(good("a", 5)))
	r.granted(t, "a", 1)
	r.Apply(6, grant.Event{Kind: grant.TokenRevoked, Names: []string{"grants/b"}})
	r.granted(t, "a", 1)
	r.Apply(7, grant.Event{Kind: grant.Changed, Names: []string{"users/x", version1}})
	r.source.verify = func(context.Context, string, string) (grant.Answer, error) { return good("a", 7), nil }
	r.granted(t, "a", 2)
	r.Reset(3)
	r.source.verify = func(context.Context, string, string) (grant.Answer, error) { return good("a", 3), nil }
	r.granted(t, "a", 3)
	if got := r.Applied(); got != 3 {
		t.Errorf("Applied() = %d, want 3", got)
	}
}

func TestCredentialsOfTwoTypesAreTwo(t *testing.T) {
	r := newRig(t, grant.Default(), answers(good("a", 0)))
	r.granted(t, "a", 1)
	other := credential.Credential{Type: credential.OAuth2 + 100, Value: "a"}
	if g, _, err := r.Verify(t.Context(), other, version1); err != nil || g == nil || r.source.calls.Load() != 2 {
		t.Errorf("Verify of another type = %v, %v after %d questions, want a question of its own", g, err, r.source.calls.Load())
	}
}

func TestAnswersThatAreVoidAreAskedForAgain(t *testing.T) {
	var r *rig
	n := uint64(0)
	r = newRig(t, grant.Default(), &source{verify: func(context.Context, string, string) (grant.Answer, error) {
		n++
		a := good("a", n)
		if n < 3 {
			r.Apply(n+1, grant.Event{Kind: grant.Changed, Names: []string{"subscriptions/1"}})
		}
		return a, nil
	}})
	r.granted(t, "a", 3)

	r.source.verify = func(context.Context, string, string) (grant.Answer, error) {
		n++
		r.Reset(n + 10)
		return good("b", n+9), nil
	}
	r.refused(t, "b", grant.ErrUnavailable, 6)
}

func TestConfirm(t *testing.T) {
	r := newRig(t, grant.Default(), answers(good("a", 0)))
	register := func() (*session.Session, grant.Position) {
		g, position := r.granted(t, "a", r.source.calls.Load()+1)
		s, err := r.registry.New(nil, session.Info{Route: &session.Route{Version: version1}, Grant: g})
		if err != nil {
			t.Fatal(err)
		}
		r.Apply(0, grant.Event{Kind: grant.Changed, Names: []string{"grants/a"}}) // evicts the grant
		return s, position
	}
	read := 0
	r.source.read = func(grants []*grant.Grant) (grant.States, error) {
		read++
		return grant.States{States: []grant.State{{Grant: grants[0]}}, AsOf: 9}, nil
	}
	s, position := register()
	if err := r.Confirm(t.Context(), s, position); err != nil || read != 1 {
		t.Errorf("Confirm after a change = %v, %d reads, want it read again", err, read)
	}
	open, err := r.registry.New(nil, session.Info{Route: &session.Route{Version: version1}})
	if err != nil || r.Confirm(t.Context(), open, 0) != nil {
		t.Errorf("Confirm of a session without a grant = %v, want nil", err)
	}
	s, position = register()
	r.source.read = func([]*grant.Grant) (grant.States, error) { return grant.States{}, errors.New("away") }
	if err := r.Confirm(t.Context(), s, position); !errors.Is(err, grant.ErrUnavailable) || s.Err() != nil {
		t.Errorf("Confirm while the control plane is away = %v, %v, want %v", err, s.Err(), grant.ErrUnavailable)
	}
	r.source.read = func([]*grant.Grant) (grant.States, error) {
		return grant.States{States: []grant.State{{Ended: grant.TokenRevoked}}, AsOf: 9}, nil
	}
	var ended *session.EndedError
	if err := r.Confirm(t.Context(), s, position); !errors.As(err, &ended) || ended.Ending.ClientCode != 4001 {
		t.Errorf("Confirm of what ended meanwhile = %v, want 4001", err)
	}
	if got := r.Apply(10, grant.Event{}); got != 1 {
		t.Errorf("the next change reports %d sessions ended, want the one that was read again", got)
	}
}

func TestEventsDuringAReadAreNotMissed(t *testing.T) {
	for kind, code := range map[grant.EventKind]uint16{grant.UserDeleted: 4006, grant.Changed: 4001} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, grant.Default(), &source{})
			before, now := good("a", 0).Grant, good("a", 0).Grant
			now.RestsOn = append(now.RestsOn, "groups/1")
			s, err := r.registry.New(nil, session.Info{Route: &session.Route{Version: version1}, Grant: before})
			if err != nil {
				t.Fatal(err)
			}
			gone := false
			r.source.read = func([]*grant.Grant) (grant.States, error) {
				if gone {
					return grant.States{States: []grant.State{{Ended: grant.TokenRevoked}}, AsOf: 9}, nil
				}
				gone = true
				// The session does not rest on the group yet when this is applied.
				r.Apply(9, grant.Event{Kind: kind, Names: []string{"groups/1"}})
				return grant.States{States: []grant.State{{Grant: now}}, AsOf: 8}, nil
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- r.Run(ctx) }()
			r.Apply(8, grant.Event{Kind: grant.Changed, Names: []string{"grants/a"}})
			time.Sleep(time.Second)
			var ended *session.EndedError
			if !errors.As(s.Err(), &ended) || ended.Ending.ClientCode != code {
				t.Errorf("the group: %v, and the session ended with %v, want %d", kind, s.Err(), code)
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run = %v", err)
			}
		})
	}
}

func TestResetReadsLiveSessionsInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 2500
		r := newRig(t, grant.Default(), &source{})
		for i := range n {
			g := good(fmt.Sprint(i), 0).Grant
			if _, err := r.registry.New(nil, session.Info{Route: &session.Route{Version: version1}, Grant: g}); err != nil {
				t.Fatal(err)
			}
		}
		var batches []int
		fail := true
		r.source.read = func(grants []*grant.Grant) (grant.States, error) {
			if fail {
				fail = false
				return grant.States{}, errors.New("away")
			}
			batches = append(batches, len(grants))
			out := grant.States{AsOf: 7}
			for _, g := range grants {
				if g.Version != version1 {
					t.Errorf("asked for %s", g.Version)
				}
				out.States = append(out.States, grant.State{Ended: grant.SubscriptionDeleted})
			}
			return out, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		begin := time.Now()
		r.Reset(7)
		for alive(r.registry) > 0 {
			time.Sleep(10 * time.Millisecond)
		}
		if fmt.Sprint(batches) != "[1000 1000 500]" {
			t.Errorf("read in batches of %d, want 1000, 1000 and 500", batches)
		}
		if took := time.Since(begin); took < 200*time.Millisecond || took > time.Second {
			t.Errorf("it took %v, want pauses between the batches", took)
		}
		if got := r.Apply(8, grant.Event{}); got != n {
			t.Errorf("%d sessions are reported as ended, want %d", got, n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// alive returns how many sessions have not been ended.
func alive(r *session.Registry) (n int) {
	r.Each(func(s *session.Session) {
		if s.Err() == nil {
			n++
		}
	})
	return n
}

func TestCloseEndsLookups(t *testing.T) {
	r := newRig(t, grant.Default(), &source{verify: func(ctx context.Context, _, _ string) (grant.Answer, error) {
		<-ctx.Done()
		return grant.Answer{}, ctx.Err()
	}})
	done := make(chan error, 1)
	go func() {
		_, _, err := r.Verify(t.Context(), bearer("a"), version1)
		done <- err
	}()
	for r.source.calls.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	r.Close()
	if err := <-done; !errors.Is(err, grant.ErrUnavailable) {
		t.Errorf("Verify = %v, want %v", err, grant.ErrUnavailable)
	}
	r.refused(t, "b", grant.ErrUnavailable, 1)
}

func BenchmarkVerifyHit(b *testing.B) {
	c := grant.New(grant.Default(), answers(good("a", 0)), session.NewRegistry(nil, func(session.Record) {}),
		metrics.New(prometheus.NewRegistry()), slog.New(slog.DiscardHandler))
	defer c.Close()
	cred := bearer(string(make([]byte, 700)))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, _, err := c.Verify(context.Background(), cred, version1); err != nil {
				b.Error(err)
			}
		}
	})
}
