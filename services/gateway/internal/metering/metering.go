// Package metering reports what sessions relayed, how they ended, and which handshakes were
// refused to the subscription service. Rows of usage and records wait here in bounded
// memory; records that there is no room for are counted. All of it leaves in batches, and
// each batch is sent, unchanged, until it is acknowledged; the service takes a batch once,
// so nothing counts twice. A crash loses what was not acknowledged. The sessions'
// transports count the traffic.
package metering

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/refusal"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/retry"
)

// Bounds of what waits and of a batch.
const (
	usageBatch   = 5_000 // rows of usage in a batch
	recordsBatch = 1_000 // records, or counts of those left out, in a batch
)

// Collector collects what sessions relay. session.Registry implements it.
type Collector interface {
	// Collect calls fn for each session that used something since the last Collect, with
	// what that was, a minute each.
	Collect(fn func(s *session.Session, used []ending.Usage))
}

// Config is the configuration of a Meter. Default makes it.
type Config struct {
	Gateway string        // the gateway's instance
	BootID  string        // made anew at every start
	Every   time.Duration // between two reports
	Timeout time.Duration // of one report
	Rows    int           // of usage that wait
	Records int           // of sessions that wait
	// Refusals is how many records of refused handshakes wait, and MaxRefusals how many
	// of one API and code are kept of an hour; 0 is any number. LeftOut is how many
	// counts of records that were not kept wait.
	Refusals, MaxRefusals, LeftOut int
	// Minute returns the Unix seconds of the start of the minute of a time of the relay's
	// engine, 0 for now; nil is by the clock on the wall.
	Minute func(at int64) int64
	// Hide takes the installation's credentials out of what clients sent; nil is not at all.
	Hide func(text string) string

	prefix string
}

// Default returns the default configuration. Gateway, BootID and Hide must be set as well.
func Default() Config {
	return Config{
		Every: 5 * time.Second, Timeout: 5 * time.Second, Rows: 100_000, Records: 100_000,
		Refusals: 10_000, MaxRefusals: 200, LeftOut: 10_000,
	}
}

// Flags registers the options, each name after prefix. Their defaults are what the
// Config holds.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	fs.DurationVar(&c.Every, prefix+"report-every", c.Every, "`time` between reports of usage")
	fs.IntVar(&c.MaxRefusals, prefix+"max-refusals", c.MaxRefusals,
		"`number` of refused handshakes of one API and code in an hour that are reported one by one, and the rest counted; 0 for no limit")
}

// Check reports what is wrong with the configuration.
func (c *Config) Check() error {
	if c.Every <= 0 {
		return fmt.Errorf("-%sreport-every: must be more than 0, or usage would never be reported", c.prefix)
	}
	if c.MaxRefusals < 0 {
		return fmt.Errorf("-%smax-refusals: must not be negative; 0 is no limit", c.prefix)
	}
	if c.Timeout <= 0 || c.Rows <= 0 || c.Records <= 0 || c.Refusals <= 0 || c.LeftOut <= 0 {
		return errors.New("reports of usage: Timeout, Rows, Records, Refusals and LeftOut must be more than 0")
	}
	return nil
}

// Meter collects and reports. It is safe for concurrent use.
type Meter struct {
	cfg     Config
	client  backplanev1.MeteringServiceClient
	metrics *metrics.Metrics
	log     *slog.Logger
	// losing is how reports of each kind are lost: because too many wait, or one is
	// refused.
	losing map[string]*retry.Streak

	rows     *rows
	records  *ring[session.Record]
	refusals *ring[refusal.Refusal]
	kinds    *kinds
	leftOut  *leftOut

	usage *reporter[*backplanev1.UsageReport]
	ended *reporter[*usagev1.SessionRecord]
	left  *reporter[*backplanev1.LeftOut]
}

// New returns a meter that reports to client.
func New(cfg Config, client backplanev1.MeteringServiceClient, m *metrics.Metrics, log *slog.Logger) *Meter {
	if cfg.Minute == nil {
		cfg.Minute = func(int64) int64 { now := time.Now().Unix(); return now - now%minuteSeconds }
	}
	t := &Meter{cfg: cfg, client: client, metrics: m, log: log, losing: map[string]*retry.Streak{}}
	for _, kind := range []string{metrics.Usage, metrics.Records, metrics.LeftOut} {
		t.losing[kind] = retry.NewStreak(log, slog.LevelError, "reports dropped", "kind", kind)
	}
	t.rows = newRows(cfg.Rows)
	t.records, t.refusals = newRing[session.Record](cfg.Records), newRing[refusal.Refusal](cfg.Refusals)
	t.kinds, t.leftOut = newKinds(cfg.MaxRefusals), newLeftOut(cfg.LeftOut)
	t.usage = &reporter[*backplanev1.UsageReport]{
		take: func() []*backplanev1.UsageReport { return t.rows.take(usageBatch) },
		send: t.sendUsage,
		drop: func(n int, err error) { t.dropped(metrics.Usage, n, err) },
	}
	t.ended = &reporter[*usagev1.SessionRecord]{
		take: t.takeRecords,
		send: t.sendRecords,
		drop: func(n int, err error) { t.dropped(metrics.Records, n, err) },
	}
	t.left = &reporter[*backplanev1.LeftOut]{
		take: func() []*backplanev1.LeftOut { return t.leftOut.take(recordsBatch) },
		send: t.sendLeftOut,
		drop: func(n int, err error) { t.dropped(metrics.LeftOut, n, err) },
	}
	return t
}

// Began counts a session that has become live, in the minute in which quotas have counted
// it.
func (t *Meter) Began(s *session.Session) {
	info := s.Info()
	t.count(keyOf(&info, t.cfg.Minute(s.Opened())), func(to *row) {
		to.sessions++
		to.addAPIKey(info.Grant)
	})
}

// Record takes the record of a session that has ended. It never blocks: when too
// many records wait, the oldest is left out and counted.
func (t *Meter) Record(r session.Record) {
	t.Used(&r.Info, r.Uncollected)
	t.metrics.SessionEnded(r.Ending.Reason)
	t.keep(r)
}

// keep keeps a record until it is reported.
func (t *Meter) keep(r session.Record) {
	if old, was := t.records.add(r); was {
		t.metrics.Dropped(metrics.Records, 1)
		t.leftOut.add(recordKey(&old))
	}
}

// recordKey is what a record that is left out is counted by.
func recordKey(r *session.Record) left {
	k := left{hour: hourOf(r.Ref, r.Ended), version: r.Route.Version, reason: r.Ending.Reason}
	if r.Grant != nil {
		k.application = r.Grant.Application
	}
	return k
}

// Run collects from sessions and reports until ctx ends. Flush reports what waits
// then.
func (t *Meter) Run(ctx context.Context, sessions Collector) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return t.repeat(ctx, metrics.Usage, func(ctx context.Context) error {
			t.collect(sessions)
			return t.usage.flush(ctx)
		})
	})
	g.Go(func() error { return t.repeat(ctx, metrics.Records, t.flushRecords) })
	return g.Wait()
}

// flushRecords reports records, and then how many were left out, which the service adds
// to the last of them.
func (t *Meter) flushRecords(ctx context.Context) error {
	if err := t.ended.flush(ctx); err != nil {
		return err
	}
	err := t.left.flush(ctx)
	if err == nil {
		t.losing[metrics.LeftOut].Note(ctx, nil)
	}
	return err
}

// flushUsage reports usage and fails only while more than refused handshakes wait, as
// flushSessions does.
func (t *Meter) flushUsage(ctx context.Context) error {
	err := t.usage.flush(ctx)
	if err == nil || t.usageWaits() > 0 {
		return err
	}
	t.log.Warn("counts of refused handshakes not reported", "rows", t.rows.len()+t.usage.len(), "error", err)
	return nil
}

// usageWaits returns how many rows of sessions wait.
func (t *Meter) usageWaits() int {
	return t.rows.count() + t.usage.count(func(r *backplanev1.UsageReport) bool {
		return r.GetSessions() > 0 || r.GetInbound().GetWireBytes()+r.GetOutbound().GetWireBytes() > 0 ||
			len(r.GetLimits()) > 0 && len(r.GetRefusedHandshakes()) == 0
	})
}

// flushSessions reports records and fails only while those of sessions wait: while the
// control plane is away there are refusals at every gateway, and none of them is worth
// holding up its stop.
func (t *Meter) flushSessions(ctx context.Context) error {
	err := t.flushRecords(ctx)
	if err == nil || t.sessionsWait() > 0 {
		return err
	}
	t.log.Warn("refused handshakes not reported", "records", t.refusals.len()+t.ended.len(), "error", err)
	return nil
}

// sessionsWait returns how many records of sessions wait.
func (t *Meter) sessionsWait() int {
	return t.records.len() + t.ended.count(func(r *usagev1.SessionRecord) bool { return r.GetCode() == "" })
}

// repeat reports again and again until ctx ends, at moments that differ between
// gateways.
func (t *Meter) repeat(ctx context.Context, kind string, report func(context.Context) error) error {
	reporting := retry.NewStreak(t.log, slog.LevelWarn, "report failed", "kind", kind)
	for retry.Sleep(ctx, t.cfg.Every-t.cfg.Every/10+rand.N(t.cfg.Every/5+1)) {
		err := report(ctx)
		reporting.Note(ctx, err)
		if err == nil {
			t.losing[kind].Note(ctx, nil)
		}
	}
	return nil
}

// ReportUsage collects what sessions relayed until now and reports it.
func (t *Meter) ReportUsage(ctx context.Context, sessions Collector) error {
	t.collect(sessions)
	return t.usage.flush(ctx)
}

// Flush collects once more and reports all that waits, until everything is
// acknowledged or ctx ends; refused handshakes are worth one try. Call it when the gateway
// stops, after Run has returned and all sessions have ended.
func (t *Meter) Flush(ctx context.Context, sessions Collector) error {
	t.collect(sessions)
	g := errgroup.Group{}
	g.Go(func() error { return t.insist(ctx, t.flushUsage) })
	g.Go(func() error { return t.insist(ctx, t.flushSessions) })
	if err := g.Wait(); err != nil {
		return fmt.Errorf("report the last %d rows of usage and %d session records: %w",
			t.usageWaits(), t.sessionsWait(), err)
	}
	return nil
}

// insist calls report until it succeeds or ctx ends.
func (t *Meter) insist(ctx context.Context, report func(context.Context) error) error {
	pause := retry.Backoff{Min: 50 * time.Millisecond, Max: time.Second}
	for {
		err := report(ctx)
		if err == nil {
			return nil
		}
		if !pause.Wait(ctx) {
			return errors.Join(err, ctx.Err())
		}
	}
}

// collect adds what sessions relayed since the last time to the rows.
func (t *Meter) collect(sessions Collector) {
	sessions.Collect(func(s *session.Session, used []ending.Usage) {
		info := s.Info()
		t.Used(&info, used)
	})
}

// Used adds what a session, or a plain request, used to the rows of its minutes.
func (t *Meter) Used(info *session.Info, used []ending.Usage) {
	for i := range used {
		u := &used[i]
		t.metrics.Relayed(metrics.Inbound, u.Totals.FromClient.Messages, u.Totals.FromClient.Wire)
		t.metrics.Relayed(metrics.Outbound, u.Totals.FromBackend.Messages, u.Totals.FromBackend.Wire)
		for j := range u.Limits {
			t.metrics.Limited(&u.Limits[j])
		}
		t.count(keyOf(info, u.Minute), func(to *row) {
			to.totals.Add(&u.Totals)
			to.addAPIKey(info.Grant)
			for j := range u.Limits {
				to.addLimit(keyOfLimit(u.Limits[j].Limit), countOf(&u.Limits[j]))
			}
		})
	}
}

// Observed counts that a limit on observe would have refused the handshake of a session.
func (t *Meter) Observed(info *session.Info, l *limits.Limit) {
	t.Used(info, []ending.Usage{{Minute: t.cfg.Minute(0), Limits: []ending.LimitCount{{Limit: l, Hits: 1}}}})
}

// count has fn add to a row.
func (t *Meter) count(k key, fn func(to *row)) {
	if lost := t.rows.add(k, fn); lost > 0 {
		t.dropped(metrics.Usage, lost, errTooMany)
	}
}

var errTooMany = errors.New("too many rows wait")

func (t *Meter) dropped(kind string, n int, why error) {
	t.metrics.Dropped(kind, n)
	t.losing[kind].Note(context.Background(), why, "count", n) // also when the gateway stops
}

func (t *Meter) batch(sequence uint64) *backplanev1.Batch {
	return &backplanev1.Batch{Gateway: t.cfg.Gateway, BootId: t.cfg.BootID, Sequence: sequence}
}

func (t *Meter) sendUsage(ctx context.Context, sequence uint64, rows []*backplanev1.UsageReport) error {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	_, err := t.client.ReportUsage(ctx, &backplanev1.ReportUsageRequest{Batch: t.batch(sequence), Usage: rows})
	if err != nil {
		return fmt.Errorf("report usage, batch %d of %d rows: %w", sequence, len(rows), err)
	}
	return nil
}

func (t *Meter) sendRecords(ctx context.Context, sequence uint64, records []*usagev1.SessionRecord) error {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	_, err := t.client.ReportSessionRecords(ctx, &backplanev1.ReportSessionRecordsRequest{Batch: t.batch(sequence), SessionRecords: records})
	if err != nil {
		return fmt.Errorf("report session records, batch %d of %d: %w", sequence, len(records), err)
	}
	return nil
}

func (t *Meter) sendLeftOut(ctx context.Context, sequence uint64, counts []*backplanev1.LeftOut) error {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.Timeout)
	defer cancel()
	_, err := t.client.ReportLeftOut(ctx, &backplanev1.ReportLeftOutRequest{Batch: t.batch(sequence), LeftOut: counts})
	if err != nil {
		return fmt.Errorf("report records left out, batch %d of %d: %w", sequence, len(counts), err)
	}
	return nil
}
