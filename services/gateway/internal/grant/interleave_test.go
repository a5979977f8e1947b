package grant_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidegatehq/tidegate/services/gateway/internal/deny"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

var (
	interleavings = flag.Int("interleavings", 1000, "how many interleavings are played")
	firstSeed     = flag.Uint64("first-seed", 0, "seed of the first; the next ones are one higher")
)

// interleave plays one interleaving.
func interleave(t *testing.T, seed uint64, m *metrics.Metrics, o *outcomes) {
	s := &scheduler{rnd: rand.New(rand.NewPCG(seed, 0))}
	s.slow = slows[s.rnd.IntN(len(slows))]
	w := &world{scheduler: s, control: newControl(s), registry: session.NewRegistry(nil, func(session.Record) {}), rules: &deny.Current{}, denied: map[string]int{}}
	w.registry.Judge(w.rules)
	cfg := grant.Default()
	cfg.MaxLookups, cfg.MaxEvents = 3, 1+s.rnd.IntN(4)
	w.cache = grant.New(cfg, w.control, pausing{w.registry, s}, m, slog.New(slog.DiscardHandler))
	w.narrow = s.rnd.IntN(2) == 0
	w.cache.SetJitter(func(d time.Duration) time.Duration { return d })
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.cache.Run(ctx) }()
	var delivering atomic.Bool
	for range 50 + s.rnd.IntN(100) {
		if s.rnd.IntN(3) == 0 || !s.step() {
			w.start(&delivering)
			synctest.Wait()
		}
	}
	w.drain(&delivering)
	w.check()
	o.add(w)
	s.mu.Lock()
	s.free = true
	s.mu.Unlock()
	cancel()
	if err := <-done; err != nil {
		w.failf("Run = %v", err)
	}
	w.cache.Close()
	if len(w.failed) > 0 {
		t.Errorf("seed %d:\n%s\n\nwhat happened:\n%s", seed, strings.Join(w.failed, "\n"), strings.Join(s.trace, "\n"))
	}
}

// TestSurvivorsAreTheModels plays random interleavings of handshakes, changes, their
// delivery, resets, failures of the control plane and the passing of time, step by
// step. It compares the sessions that are live at the end with those whose grant was
// valid at every instant. A failure names the seed of its interleaving, which -first-seed
// with -interleavings=1 plays again.
func TestSurvivorsAreTheModels(t *testing.T) {
	m, o := metrics.New(prometheus.NewRegistry()), &outcomes{}
	const shards = 4
	t.Run("interleavings", func(t *testing.T) {
		for shard := range shards {
			t.Run(fmt.Sprint(shard), func(t *testing.T) {
				t.Parallel()
				for i := shard; i < *interleavings && !t.Failed(); i += shards {
					synctest.Test(t, func(t *testing.T) { interleave(t, *firstSeed+uint64(i), m, o) })
				}
			})
		}
	})
	if *interleavings >= 1000 {
		o.check(t, int64(*interleavings))
	}
}
