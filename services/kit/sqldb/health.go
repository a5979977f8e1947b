package sqldb

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidegatehq/tidegate/services/kit/retry"
)

// settle is how long after a failure a success does not count yet: on a disk that is
// nearly full one write fits and the next does not.
const settle = 10 * time.Second

// health is how reading or writing goes.
type health struct {
	mu       sync.Mutex
	outage   *outage // nil while it works
	failed   time.Time
	streak   *retry.Streak          // nil before Observe
	failures *prometheus.CounterVec // nil before Observe
}

// fail takes an error of the database, if it is one of an outage.
func (h *health) fail(ctx context.Context, err error) {
	o := outageOf(err)
	if o == nil || ctx.Err() != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.outage, h.failed = o, time.Now()
	h.streak.Note(ctx, err, "reason", o.reason)
	if h.failures != nil {
		h.failures.WithLabelValues(o.reason).Inc()
	}
}

// work takes a success.
func (h *health) work(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.outage == nil || time.Since(h.failed) < settle {
		return
	}
	h.outage = nil
	h.streak.Note(ctx, nil)
}

// now returns the outage, or nil.
func (h *health) now() *outage {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.outage
}

// Observe logs outages of the database and counts them in reg, for a service. It is
// called before the database is used.
func (db *DB) Observe(service string, log *slog.Logger, reg prometheus.Registerer) error {
	labels := prometheus.Labels{"service": service}
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidegate_database_failures_total", Help: "Statements that failed because the database is away, full or read-only.", ConstLabels: labels,
	}, []string{"reason"})
	for _, o := range []outage{unreachable, full, readOnly} {
		failures.WithLabelValues(o.reason)
	}
	writable := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tidegate_database_writable", Help: "1 while the database takes writes, 0 while it refuses them.", ConstLabels: labels,
	}, func() float64 {
		if db.writes.now() != nil {
			return 0
		}
		return 1
	})
	db.reads.streak = retry.NewStreak(log, slog.LevelWarn, "the database cannot be read")
	db.writes.streak = retry.NewStreak(log, slog.LevelWarn, "the database cannot be written")
	db.reads.failures, db.writes.failures = failures, failures
	return errors.Join(reg.Register(failures), reg.Register(writable))
}

// Writable returns why the database takes no writes, as the last one that was tried has
// shown, or nil. Its error is a sentence for operators without a driver's text.
func (db *DB) Writable() error {
	if o := db.writes.now(); o != nil {
		return errors.New(o.reason + ": " + o.message)
	}
	return nil
}
