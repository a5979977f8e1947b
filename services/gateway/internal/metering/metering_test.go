package metering

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/gateway/internal/refusal"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// service takes in reports as the subscription service does, and fails as a network
// does: before a batch is taken in, or after that, when only the answer is lost.
type service struct {
	backplanev1.MeteringServiceClient
	t    *testing.T
	fail func() (before, after error)

	mu      sync.Mutex
	usage   map[uint64]*backplanev1.ReportUsageRequest // by sequence, as first seen
	ended   map[uint64]*backplanev1.ReportSessionRecordsRequest
	rows    map[key]*row
	records []*usagev1.SessionRecord
	leftOut []*backplanev1.LeftOut
	counts  uint64 // the newest batch of leftOut
}

func newService(t *testing.T) *service {
	return &service{
		t:     t,
		usage: map[uint64]*backplanev1.ReportUsageRequest{}, ended: map[uint64]*backplanev1.ReportSessionRecordsRequest{},
		rows: map[key]*row{},
		fail: func() (error, error) { return nil, nil },
	}
}

func (s *service) ReportUsage(_ context.Context, req *backplanev1.ReportUsageRequest, _ ...grpc.CallOption) (*backplanev1.ReportUsageResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, after := s.fail()
	if before != nil {
		return nil, before
	}
	n := req.GetBatch().GetSequence()
	if len(req.GetUsage()) == 0 || len(req.GetUsage()) > usageBatch {
		s.t.Errorf("batch %d has %d rows", n, len(req.GetUsage()))
	}
	first := s.usage[n]
	if first != nil && !proto.Equal(first, req) {
		s.t.Errorf("batch %d came again with other content:\n%s", n, cmp.Diff(first, req, protocmp.Transform()))
	}
	if first == nil {
		if n != uint64(len(s.usage)+1) {
			s.t.Errorf("batch %d came after %d", n, len(s.usage))
		}
		s.usage[n] = proto.CloneOf(req)
		s.take(req)
	}
	return &backplanev1.ReportUsageResponse{Duplicate: first != nil}, after
}

func (s *service) take(req *backplanev1.ReportUsageRequest) {
	for _, u := range req.GetUsage() {
		k := key{u.GetVersion(), u.GetApplication(), u.GetSubscription(), u.GetPlan(), u.GetMinute().GetSeconds()}
		if s.rows[k] == nil {
			s.rows[k] = &row{}
		}
		to := s.rows[k]
		to.add(&row{sessions: u.GetSessions(), totals: ending.Totals{FromClient: counted(u.GetInbound()), FromBackend: counted(u.GetOutbound())}})
		if len(u.GetLimits()) > mostInReport || len(u.GetRefusedHandshakes()) > mostInReport {
			s.t.Errorf("a row has %d limits and %d statuses", len(u.GetLimits()), len(u.GetRefusedHandshakes()))
		}
		for _, l := range u.GetLimits() {
			to.addLimit(limitKey{limits.Place(l.GetPlace() - 1), l.GetPlan(), l.GetLimit()}, limitCount{
				pauses: l.GetPauses(), paused: time.Duration(l.GetPausedMilliseconds()) * time.Millisecond, dropped: l.GetDroppedMessages(),
				closed: l.GetClosedSessions(), refused: l.GetRefusedHandshakes(), hits: l.GetObservedHits(),
			})
		}
		for _, h := range u.GetRefusedHandshakes() {
			to.addRefused(int(h.GetStatus()), h.GetCount())
		}
	}
}

func counted(t *usagev1.Traffic) ending.Count {
	return ending.Count{Messages: t.GetMessages(), Frames: t.GetFrames(), Payload: t.GetPayloadBytes(), Wire: t.GetWireBytes()}
}

func (s *service) ReportSessionRecords(_ context.Context, req *backplanev1.ReportSessionRecordsRequest, _ ...grpc.CallOption) (*backplanev1.ReportSessionRecordsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, after := s.fail()
	if before != nil {
		return nil, before
	}
	n := req.GetBatch().GetSequence()
	first := s.ended[n]
	if first != nil && !proto.Equal(first, req) {
		s.t.Errorf("batch %d of records came again with other content", n)
	}
	if first == nil {
		s.ended[n] = proto.CloneOf(req)
		s.records = append(s.records, req.GetSessionRecords()...)
	}
	return &backplanev1.ReportSessionRecordsResponse{Duplicate: first != nil}, after
}

func (s *service) ReportLeftOut(_ context.Context, req *backplanev1.ReportLeftOutRequest, _ ...grpc.CallOption) (*backplanev1.ReportLeftOutResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, after := s.fail()
	if before != nil {
		return nil, before
	}
	if n := req.GetBatch().GetSequence(); n > s.counts {
		s.counts = n
		s.leftOut = append(s.leftOut, req.GetLeftOut()...)
	}
	return &backplanev1.ReportLeftOutResponse{}, after
}

// nothing is a registry without sessions.
type nothing struct{}

func (nothing) Collect(func(*session.Session, []ending.Usage)) {}

func newMeter(t *testing.T, cfg Config, client backplanev1.MeteringServiceClient) (*Meter, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	cfg.Gateway, cfg.BootID = "gateway-1", "boot"
	return New(cfg, client, metrics.New(reg), slog.New(slog.DiscardHandler)), reg
}

func record(i int, uncollected ending.Totals) session.Record {
	info := session.Info{
		Ref:        fmt.Sprintf("ref%d", i),
		Route:      &session.Route{Version: fmt.Sprintf("apis/a/versions/%d", i%3)},
		ClientAddr: netip.MustParseAddrPort("192.0.2.1:1234"),
	}
	if i%2 == 0 {
		info.Grant = &grant.Grant{Subscription: fmt.Sprintf("subscriptions/%d", i%5), Application: "applications/1", Name: "grants/1"}
	}
	if i%4 < 2 {
		info.Plans = &session.Plans{Plan: "plans/gold", ApplicationPlan: "plans/own", TrafficPlan: "plans/all"}
	}
	o := ending.Outcome{Totals: uncollected, Ending: ending.Ending{By: ending.Client, Reason: ending.PeerClose}}
	if uncollected != (ending.Totals{}) {
		o.Uncollected = []ending.Usage{{Minute: minuteOf(time.Now()), Totals: uncollected}}
	}
	return session.Record{Info: info, Outcome: o}
}

func minuteOf(at time.Time) int64 { return at.Unix() - at.Unix()%60 }

// limited returns what a limit at a place did.
func limited(place limits.Place, c ending.LimitCount) ending.LimitCount {
	c.Limit = &limits.Limit{Terms: &limits.Terms{Place: place, Plan: "plans/gold", Name: "messages-rate"}}
	return c
}

func TestTotalsAreExactThoughReportsFail(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) { exactly(t, seed) })
	}
}

func exactly(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	faults := rand.New(rand.NewPCG(seed, 2)) // used under the service's lock
	lost := status.Error(codes.Unavailable, "lost")
	s := newService(t)
	s.fail = func() (error, error) {
		switch faults.IntN(3) {
		case 0:
			return lost, nil
		case 1:
			return nil, lost
		}
		return nil, nil
	}
	m, _ := newMeter(t, Default(), s)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx, nothing{}) }()

	want := map[key]*row{}
	in := func(k key) *row {
		if want[k] == nil {
			want[k] = &row{}
		}
		return want[k]
	}
	var sessions uint64
	for i := range 200 + rnd.IntN(200) {
		totals := ending.Totals{
			FromClient:  ending.Count{Messages: rnd.Uint64N(9), Frames: rnd.Uint64N(9), Payload: rnd.Uint64N(9), Wire: rnd.Uint64N(9)},
			FromBackend: ending.Count{Messages: rnd.Uint64N(9), Frames: rnd.Uint64N(9), Payload: rnd.Uint64N(9), Wire: 1},
		}
		r := record(i, totals)
		now := minuteOf(time.Now())
		began(t, m, r.Info)
		sessions++
		in(keyOf(&r.Info, now)).sessions++
		did := limited(limits.Place(rnd.IntN(3)), ending.LimitCount{
			Pauses: rnd.Uint64N(3), Paused: time.Duration(rnd.IntN(3)) * time.Second, Dropped: rnd.Uint64N(3), Closed: rnd.Uint64N(2), Hits: 1,
		})
		r.Uncollected[0].Limits = []ending.LimitCount{did}
		if rnd.IntN(3) == 0 { // some of it is of a minute before
			r.Uncollected = append([]ending.Usage{{Minute: now - 60, Totals: ending.Totals{FromClient: ending.Count{Wire: 7}}}}, r.Uncollected...)
			in(keyOf(&r.Info, now-60)).totals.FromClient.Wire += 7
		}
		m.Record(r)
		in(keyOf(&r.Info, now)).totals.Add(&totals)
		in(keyOf(&r.Info, now)).addLimit(keyOfLimit(did.Limit), countOf(&did))
		if rnd.IntN(3) == 0 {
			f := refused(problem.VersionBusy, r.Route, time.Now())
			f.Application, f.Grant, f.Plans = "applications/shown", r.Grant, r.Plans
			f.Limit = &refusal.Limit{Place: limits.Version, Plan: "plans/all", Name: "handshakes-rate"}
			m.Refused(f)
			k := keyOf(&r.Info, now)
			if k.application == "" {
				k.application = f.Application // whose credential it was
			}
			in(k).addRefused(f.Problem.Status, 1)
			in(k).addLimit(keyOfRefusing(f.Limit), limitCount{refused: 1})
		}
		time.Sleep(time.Duration(rnd.Int64N(int64(2 * time.Minute))))
	}
	stop()
	if err := <-done; err != nil {
		t.Fatalf("seed %d: Run = %v", seed, err)
	}
	if err := m.Flush(t.Context(), nothing{}); err != nil {
		t.Fatalf("seed %d: Flush = %v", seed, err)
	}
	if diff := cmp.Diff(want, s.rows, cmp.AllowUnexported(key{}, row{}, limitKey{}, limitCount{})); diff != "" {
		t.Errorf("seed %d: usage differs (- counted, + reported):\n%s", seed, diff)
	}
	seen := map[string]bool{}
	for _, r := range s.records {
		if r.GetCode() != "" {
			continue
		}
		if seen[r.GetName()] {
			t.Errorf("seed %d: record %s came twice", seed, r.GetName())
		}
		seen[r.GetName()] = true
	}
	if uint64(len(seen)) != sessions {
		t.Errorf("seed %d: %d records came, want %d", seed, len(seen), sessions)
	}
}

// began tells m that a session began.
func began(t *testing.T, m *Meter, info session.Info) {
	t.Helper()
	s, err := session.NewRegistry(nil, nil).New(nil, info)
	if err != nil {
		t.Fatal(err)
	}
	m.Began(s)
}

func TestABatchThatIsRefusedForGoodIsDropped(t *testing.T) {
	s := newService(t)
	m, reg := newMeter(t, Default(), s)
	s.fail = func() (error, error) { return status.Error(codes.InvalidArgument, "no"), nil }
	m.Record(record(0, ending.Totals{FromClient: ending.Count{Wire: 1}}))
	if err := m.usage.flush(t.Context()); err == nil {
		t.Error("a refused batch was not reported as an error")
	}
	s.fail = func() (error, error) { return nil, nil }
	m.Record(record(2, ending.Totals{FromClient: ending.Count{Wire: 1}}))
	// The service has not seen batch 1.
	s.usage[1] = nil
	if err := m.usage.flush(t.Context()); err != nil {
		t.Errorf("after a refused batch: %v", err)
	}
	if len(s.rows) != 1 {
		t.Errorf("%d rows came, want the second batch's", len(s.rows))
	}
	if got := droppedOf(t, reg, metrics.Usage); got != 1 {
		t.Errorf("%v rows counted as dropped, want 1", got)
	}
}

func droppedOf(t *testing.T, reg *prometheus.Registry, kind string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "tidegate_reports_dropped_total" && m.GetLabel()[0].GetValue() == kind {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func TestMemoryIsBoundedWhileTheServiceIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		away := errors.New("away")
		s.fail = func() (error, error) { return away, nil }
		cfg := Default()
		cfg.Rows, cfg.Records = 40, 50
		m, reg := newMeter(t, cfg, s)
		var wire uint64
		for i := range 500 {
			m.Record(record(i, ending.Totals{FromBackend: ending.Count{Wire: uint64(i)}}))
			wire += uint64(i)
			if i%10 == 0 {
				if err := errors.Join(m.usage.flush(t.Context()), m.ended.flush(t.Context())); !errors.Is(err, away) {
					t.Fatalf("flush = %v, want %v", err, away)
				}
			}
			time.Sleep(10 * time.Minute)
		}
		if rows, records := m.rows.len(), m.records.len(); rows > 40 || records > 50 {
			t.Errorf("%d rows and %d records wait, want at most 40 and 50", rows, records)
		}
		if n, err := testutil.GatherAndCount(reg, "tidegate_reports_dropped_total"); n != 1 || err != nil {
			t.Errorf("%d kinds of drops, %v, want records alone", n, err)
		}
		if got, want := droppedOf(t, reg, metrics.Records), 500.0-50-1; got != want {
			t.Errorf("%v records dropped, want %v: all but those that wait and the batch", got, want)
		}
		s.fail = func() (error, error) { return nil, nil }
		if err := m.Flush(t.Context(), nothing{}); err != nil {
			t.Fatalf("Flush = %v", err)
		}
		var got uint64
		for _, c := range s.rows {
			got += c.totals.FromBackend.Wire
		}
		if got != wire {
			t.Errorf("%d bytes were reported, want %d: joining minutes keeps the totals", got, wire)
		}
		if last := s.records[len(s.records)-1].GetName(); last != "sessionRecords/ref499" {
			t.Errorf("the last record is %s, want the newest", last)
		}
	})
}

func TestRowsAreRefusedOnlyWhenNothingCanBeJoined(t *testing.T) {
	r := newRows(2)
	one := func(to *row) { to.sessions++ }
	for i, want := range []int{0, 0, 1} {
		if got := r.add(key{subscription: fmt.Sprint(i)}, one); got != want {
			t.Errorf("row %d: %d lost, want %d", i, got, want)
		}
	}
	r = newRows(3)
	for i, want := range []int{0, 0, 1} { // of whose size a limit is half
		got := r.add(key{plan: fmt.Sprint(i)}, func(to *row) { to.addLimit(limitKey{name: "x"}, limitCount{hits: 1}) })
		if got != want {
			t.Errorf("row %d with a limit: %d lost, want %d", i, got, want)
		}
	}
}

// TestMinutesAreJoinedStepByStep: first within their hour, then all; never what differs
// in anything else.
func TestMinutesAreJoinedStepByStep(t *testing.T) {
	r := newRows(7)
	gold, silver := key{version: "v", plan: "plans/gold"}, key{version: "v", plan: "plans/silver"}
	at := func(k key, minute int64) key { k.minute = minute; return k }
	hit := func(to *row) {
		to.sessions++
		to.addLimit(limitKey{plan: "plans/gold", name: "a"}, limitCount{hits: 1})
	}
	one := func(to *row) { to.sessions++ }
	for _, k := range []key{at(gold, 60), at(gold, 120), at(gold, 3600)} {
		r.add(k, hit)
	}
	r.add(at(silver, 60), one)
	want := func(what string, want map[key]uint64) {
		t.Helper()
		got, size := map[key]uint64{}, 0
		for k, of := range r.byID {
			got[k] = of.sessions
			size += of.size()
			if k.plan == gold.plan && of.limits[limitKey{plan: "plans/gold", name: "a"}].hits != of.sessions {
				t.Errorf("%s: %d sessions of %v with %v", what, of.sessions, k, of.limits)
			}
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(key{})); diff != "" || size != r.size {
			t.Errorf("%s: size %d, counted as %d (- want, + got):\n%s", what, size, r.size, diff)
		}
	}
	want("as they came", map[key]uint64{at(gold, 60): 1, at(gold, 120): 1, at(gold, 3600): 1, at(silver, 60): 1})
	r.add(at(silver, 7200), one)
	want("in hours", map[key]uint64{at(gold, 120): 2, at(gold, 3600): 1, at(silver, 60): 1, at(silver, 7200): 1})
	r.add(at(silver, 7260), one)
	r.add(at(silver, 10800), one)
	want("in hours", map[key]uint64{at(gold, 120): 2, at(gold, 3600): 1, at(silver, 60): 1, at(silver, 7260): 2, at(silver, 10800): 1})
	r.add(at(silver, 14400), one)
	want("all", map[key]uint64{at(gold, 3600): 3, at(silver, 10800): 4, at(silver, 14400): 1})
}

// TestARowOfManyLimitsIsTakenInParts: of which each may be in a report.
func TestARowOfManyLimitsIsTakenInParts(t *testing.T) {
	s := newService(t)
	m, _ := newMeter(t, Default(), s)
	k := key{version: "v", minute: 60}
	want := &row{sessions: 1}
	for i := range 2*mostInReport + 1 {
		want.addLimit(limitKey{plan: "plans/gold", name: fmt.Sprint(i)}, limitCount{dropped: uint64(i)})
	}
	m.count(k, func(to *row) { to.add(want) })
	if err := m.usage.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[key]*row{k: want}, s.rows, cmp.AllowUnexported(key{}, row{}, limitKey{}, limitCount{})); diff != "" || m.rows.size != 0 {
		t.Errorf("usage differs, and %d wait (- counted, + reported):\n%s", m.rows.size, diff)
	}
}

func TestFlushEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.fail = func() (error, error) { return status.Error(codes.Unavailable, "away"), nil }
		m, _ := newMeter(t, Default(), s)
		m.Record(record(0, ending.Totals{FromClient: ending.Count{Wire: 1}}))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin := time.Now()
		err := m.Flush(ctx, nothing{})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 3*time.Second {
			t.Errorf("Flush = %v after %v, want the deadline", err, time.Since(begin))
		}
	})
}

func TestRecordIsReportedWhole(t *testing.T) {
	s := newService(t)
	m, _ := newMeter(t, Default(), s)
	at := time.Date(2026, 11, 21, 9, 0, 0, 5000, time.UTC)
	r := record(0, ending.Totals{FromClient: ending.Count{Messages: 1, Frames: 2, Payload: 3, Wire: 4}, FromBackend: ending.Count{Messages: 5}})
	r.Started, r.Ended = at, at.Add(time.Second)
	route := *r.Route
	route.ChangeNumber = 77
	r.Route = &route
	r.Ending = ending.Ending{By: ending.Gateway, Reason: ending.Revoked, ClientCode: 4001, Detail: "one\ntwo\x00\xff" + strings.Repeat("ä", 300)}
	r.Client = ending.LegEnd{Sent: 4001, Received: 1000, CutMidFrame: true, Last: at}
	r.Backend = ending.LegEnd{Sent: 1001, Received: 1005}
	r.Limits = []ending.LimitCount{limited(limits.Application, ending.LimitCount{Pauses: 1, Paused: 1500 * time.Millisecond, Dropped: 2, Closed: 1, Hits: 3})}
	m.Record(r)
	if err := m.ended.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := &usagev1.SessionRecord{
		Name: "sessionRecords/ref0", Session: "gateways/gateway-1/sessions/ref0", Version: "apis/a/versions/0",
		Application: "applications/1", Subscription: "subscriptions/0", Grant: "grants/1", ClientAddress: "192.0.2.1:1234",
		StartTime: stamp(at), EndTime: stamp(at.Add(time.Second)), EndedBy: usagev1.SessionRecord_PARTY_GATEWAY, EndReason: usagev1.EndReason_END_REASON_REVOKED,
		CloseCodeFromClient: 1000, CloseCodeToClient: 4001, CloseCodeFromBackend: 1005, CloseCodeToBackend: 1001,
		Inbound:  &usagev1.Traffic{Messages: 1, Frames: 2, PayloadBytes: 3, WireBytes: 4},
		Outbound: &usagev1.Traffic{Messages: 5},
		Plan:     "plans/gold",
		Limits: []*usagev1.LimitUsage{{
			Place: catalogv1.PlanPlace_PLAN_PLACE_APPLICATION, Plan: "plans/gold", Limit: "messages-rate",
			Pauses: 1, PausedMilliseconds: 1500, DroppedMessages: 2, ClosedSessions: 1, ObservedHits: 3,
		}},
		LastInboundTime: stamp(at), Truncated: true, RouteChangeNumber: 77, Detail: "one two \uFFFD" + strings.Repeat("ä", 246),
	}
	if diff := cmp.Diff(want, s.records[0], protocmp.Transform()); diff != "" {
		t.Errorf("the record differs (- want, + got):\n%s", diff)
	}
}
