package metering

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/gateway/internal/refusal"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/ref"
)

// nine is a time within an hour.
var nine = time.Date(2026, 11, 21, 9, 30, 0, 5000, time.UTC)

func refused(code problem.Code, route *session.Route, at time.Time) *refusal.Refusal {
	return &refusal.Refusal{
		Ref: ref.New(at), Problem: &problem.Problem{Status: 401, Code: code, Detail: "no"}, At: at, Route: route,
		From: netip.MustParseAddrPort("192.0.2.1:1234"),
	}
}

var versionOne = &session.Route{API: "apis/a", Version: "apis/a/versions/1"}

// TestRefusalIsReportedWhole: with what the client sent, bounded and without credentials,
// and with what it was not told.
func TestRefusalIsReportedWhole(t *testing.T) {
	s := newService(t)
	cfg := Default()
	cfg.Hide = func(text string) string { return strings.ReplaceAll(text, "secret", "…") }
	m, _ := newMeter(t, cfg, s)
	f := refused(problem.CredentialInvalid, versionOne, nine)
	f.Application = "applications/1"
	f.Problem.Why, f.Grant = "expired\nsecret", &grant.Grant{Name: "grants/1", Application: "applications/1", Subscription: "subscriptions/1"}
	f.Host, f.Path, f.UserAgent = "api.example", "/a/1/secret/"+strings.Repeat("x", 300), "curl\x00/\xff8"
	m.Refused(f)
	near := refused(problem.BackendRefused, &session.Route{API: "apis/a"}, nine)
	m.Refused(near)
	limited := refused(problem.HandshakeRate, versionOne, nine)
	limited.Limit = &refusal.Limit{Place: limits.Version, Plan: "plans/all", Name: "handshakes-rate", Words: "2 of 2 used"}
	m.Refused(limited)
	unknown := refused(problem.PlanUnknown, versionOne, nine)
	unknown.Limit = &refusal.Limit{Place: limits.Application, Plan: "plans/own", Words: strings.Repeat("y", 300), Unknown: true}
	m.Refused(unknown)
	if err := m.flushRecords(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := []*usagev1.SessionRecord{{
		Name: "sessionRecords/" + f.Ref, Session: "gateways/gateway-1/sessions/" + f.Ref, Version: "apis/a/versions/1",
		Application: "applications/1", Subscription: "subscriptions/1", Grant: "grants/1", ClientAddress: "192.0.2.1:1234",
		EndTime: stamp(nine), EndedBy: usagev1.SessionRecord_PARTY_GATEWAY, EndReason: usagev1.EndReason_END_REASON_REFUSED,
		Status: 401, Code: "CREDENTIAL_INVALID", Detail: "no: expired …", Host: "api.example",
		Path: "/a/1/…/" + strings.Repeat("x", 255-utf8.RuneCountInString("/a/1/…/")), UserAgent: "curl /\uFFFD8",
	}, {
		Name: "sessionRecords/" + near.Ref, Session: "gateways/gateway-1/sessions/" + near.Ref, Api: "apis/a", ClientAddress: "192.0.2.1:1234",
		EndTime: stamp(nine), EndedBy: usagev1.SessionRecord_PARTY_BACKEND, EndReason: usagev1.EndReason_END_REASON_BACKEND_REFUSED,
		Status: 401, Code: "BACKEND_REFUSED", Detail: "no",
	}, {
		Name: "sessionRecords/" + limited.Ref, Session: "gateways/gateway-1/sessions/" + limited.Ref, Version: "apis/a/versions/1", ClientAddress: "192.0.2.1:1234",
		EndTime: stamp(nine), EndedBy: usagev1.SessionRecord_PARTY_GATEWAY, EndReason: usagev1.EndReason_END_REASON_REFUSED,
		Status: 401, Code: "HANDSHAKE_RATE", Detail: "no",
		DecidingLimit: &usagev1.DecidingLimit{Place: catalogv1.PlanPlace_PLAN_PLACE_VERSION, Plan: "plans/all", Limit: "handshakes-rate", Detail: "2 of 2 used"},
		Limits:        []*usagev1.LimitUsage{{Place: catalogv1.PlanPlace_PLAN_PLACE_VERSION, Plan: "plans/all", Limit: "handshakes-rate", RefusedHandshakes: 1}},
	}, { // no limit has refused, and none is counted
		Name: "sessionRecords/" + unknown.Ref, Session: "gateways/gateway-1/sessions/" + unknown.Ref, Version: "apis/a/versions/1", ClientAddress: "192.0.2.1:1234",
		EndTime: stamp(nine), EndedBy: usagev1.SessionRecord_PARTY_GATEWAY, EndReason: usagev1.EndReason_END_REASON_REFUSED,
		Status: 401, Code: "PLAN_UNKNOWN", Detail: "no",
		DecidingLimit: &usagev1.DecidingLimit{Place: catalogv1.PlanPlace_PLAN_PLACE_APPLICATION, Plan: "plans/own", Detail: strings.Repeat("y", 255)},
	}}
	if diff := cmp.Diff(want, s.records, protocmp.Transform()); diff != "" {
		t.Errorf("the records differ (- want, + got):\n%s", diff)
	}
	if err := m.usage.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	did := map[limitKey]limitCount{}
	for _, r := range s.rows {
		maps.Copy(did, r.limits)
	}
	if want := map[limitKey]limitCount{{limits.Version, "plans/all", "handshakes-rate"}: {refused: 1}}; !maps.Equal(did, want) {
		t.Errorf("the usage has the limits %v, want %v", did, want)
	}
}

// TestARefusalThatWaitsIsSmall: of what a client or backend sent only the beginning of what
// the record will say stays in memory, as thousands may wait.
func TestARefusalThatWaitsIsSmall(t *testing.T) {
	m, _ := newMeter(t, Default(), newService(t))
	f, long := refused(problem.OriginRefused, versionOne, nine), strings.Repeat("x", 30_000)
	f.Problem.Why, f.Problem.Cause, f.Err = long, errors.New(long), errors.New(long)
	f.Problem.Header = []head.Field{{Name: "Www-Authenticate", Value: long}}
	f.Host, f.Path, f.UserAgent = long, long, long
	m.Refused(f)
	waits := m.refusals.take(1)[0]
	if p := waits.Problem; waits.Err != nil || p.Cause != nil || p.Header != nil ||
		len(p.Full()) != maxText || len(waits.Host) != maxText || len(waits.Path) != maxText || len(waits.UserAgent) != maxText {
		t.Errorf("%+v of %+v waits, want at most %d characters of each text", waits, *p, maxText)
	}
}

// TestRefusalsAreBounded: of an API and code, only so many of an hour are reported, and
// the others counted, exactly, as are those that a full queue displaces.
func TestRefusalsAreBounded(t *testing.T) {
	s := newService(t)
	cfg := Default()
	cfg.MaxRefusals, cfg.Refusals, cfg.Records = 3, 8, 1
	m, _ := newMeter(t, cfg, s)
	other := &session.Route{API: "apis/a", Version: "apis/a/versions/2"}
	for range 10 {
		m.Refused(refused(problem.CredentialInvalid, versionOne, nine))
		m.Refused(refused(problem.CredentialInvalid, other, nine)) // the same API
		m.Refused(refused(problem.NotFound, nil, nine))
	}
	m.Refused(refused(problem.CredentialInvalid, versionOne, nine.Add(time.Hour)))
	m.Refused(refused(problem.NotSubscribed, versionOne, nine))
	m.Refused(refused(problem.OriginRefused, &session.Route{API: "apis/b", Version: "apis/b/versions/1"}, nine)) // displaces the first
	m.Record(record(0, ending.Totals{}))
	m.Record(record(0, ending.Totals{})) // likewise
	if err := m.Flush(t.Context(), nothing{}); err != nil {
		t.Fatal(err)
	}
	count := map[string]uint64{}
	for _, r := range s.records {
		count[r.GetCode()]++
	}
	if want := map[string]uint64{"": 1, "CREDENTIAL_INVALID": 3, "NOT_FOUND": 3, "NOT_SUBSCRIBED": 1, "ORIGIN_REFUSED": 1}; !cmp.Equal(count, want) {
		t.Errorf("the records are of %v, want %v", count, want)
	}
	left := map[string]uint64{}
	for _, l := range s.leftOut {
		left[l.GetVersion()+l.GetCode()] += l.GetCount()
		if hour := nine.Truncate(time.Hour); l.GetCode() != "" && !l.GetHour().AsTime().Equal(hour) {
			t.Errorf("%v is of another hour than %v", l, hour)
		}
	}
	if want := map[string]uint64{"apis/a/versions/1CREDENTIAL_INVALID": 8 + 1, "apis/a/versions/2CREDENTIAL_INVALID": 9, "NOT_FOUND": 7, "apis/a/versions/0": 1}; !cmp.Equal(left, want) {
		t.Errorf("left out are %v, want %v", left, want)
	}
}

// TestAFloodOfRefusalsCostsNoMemory: once an hour's are kept, a refusal allocates nothing,
// and what waits stays the same, whoever floods.
func TestAFloodOfRefusalsCostsNoMemory(t *testing.T) {
	cfg := Default()
	cfg.MaxRefusals, cfg.LeftOut = 1, 4
	m, _ := newMeter(t, cfg, newService(t))
	f := refused(problem.CredentialInvalid, versionOne, nine)
	m.Refused(f)
	m.Refused(f)
	if n := testing.AllocsPerRun(100, func() { m.Refused(f) }); n != 0 {
		t.Errorf("a refusal that is only counted allocates %v times", n)
	}
	for i := range 100 {
		f.Application = "applications/" + strings.Repeat("a", i)
		m.Refused(f)
	}
	if n := m.leftOut.len(); n > 5 {
		t.Errorf("%d counts wait, want at most 4 and one of all others", n)
	}
	m.Refused(refused(problem.CredentialInvalid, versionOne, nine.Add(3*time.Hour)))
	if n := len(m.kinds.kept); n != 1 {
		t.Errorf("of %d hours and kinds it is known how many are kept, want that of the newest", n)
	}
}

// TestRefusalsDoNotHoldUpAStop: while the control plane is away, a gateway that has
// nothing but refusals to report stops at once, and one that has a session's record says so.
func TestRefusalsDoNotHoldUpAStop(t *testing.T) {
	s := newService(t)
	s.fail = func() (error, error) { return status.Error(codes.Unavailable, "away"), nil }
	m, _ := newMeter(t, Default(), s)
	m.Refused(refused(problem.NotReady, nil, nine))
	if err := m.Flush(t.Context(), nothing{}); err != nil {
		t.Errorf("Flush of a refusal alone = %v, want nil", err)
	}
	m.Record(record(0, ending.Totals{}))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Flush(ctx, nothing{}); err == nil || !strings.Contains(err.Error(), "and 1 session records") {
		t.Errorf("Flush with a session's record = %v, want that one is not reported", err)
	}
}

// TestRefusalsAreUsage: of a version, they are counted by status in its usage, with the
// limit that refused; the record names the limit. What led to no version has a record only.
func TestRefusalsAreUsage(t *testing.T) {
	s := newService(t)
	cfg := Default()
	cfg.Minute = func(int64) int64 { return 120 }
	m, reg := newMeter(t, cfg, s)
	f := refused(problem.VersionBusy, versionOne, nine)
	f.Problem.Status, f.Application = 429, "applications/1"
	f.Grant, f.Plans = &grant.Grant{Name: "grants/1", Application: "applications/1", Subscription: "subscriptions/1"}, &session.Plans{Plan: "plans/gold", TrafficPlan: "plans/all"}
	f.Limit = &refusal.Limit{Kind: limits.KindConnections, Place: limits.Version, Plan: "plans/all", Name: "connections"}
	refusal.New(m.metrics, m, slog.New(slog.DiscardHandler)).Note(t.Context(), f)
	m.Refused(refused(problem.CredentialInvalid, versionOne, nine))
	m.Refused(refused(problem.CredentialInvalid, versionOne, nine))
	m.Refused(refused(problem.NotFound, &session.Route{API: "apis/a"}, nine))
	m.Refused(refused(problem.NotFound, nil, nine))
	observing := limits.NewNamed(limits.KindConnections, limits.Terms{Plan: "plans/gold", Name: "connections-observed", Observe: true})
	m.Observed(&session.Info{Route: versionOne, Plans: &session.Plans{TrafficPlan: "plans/all"}}, observing)
	if err := m.Flush(t.Context(), nothing{}); err != nil {
		t.Fatal(err)
	}
	want := map[key]*row{
		{version: versionOne.Version, application: "applications/1", subscription: "subscriptions/1", plan: "plans/gold", minute: 120}: {
			refused: map[int]uint64{429: 1}, limits: map[limitKey]limitCount{{limits.Version, "plans/all", "connections"}: {refused: 1}},
		},
		{version: versionOne.Version, minute: 120}: {refused: map[int]uint64{401: 2}},
		{version: versionOne.Version, plan: "plans/all", minute: 120}: {
			limits: map[limitKey]limitCount{{limits.Subscription, "plans/gold", "connections-observed"}: {hits: 1}},
		},
	}
	if diff := cmp.Diff(want, s.rows, cmp.AllowUnexported(key{}, row{}, limitKey{}, limitCount{})); diff != "" {
		t.Errorf("usage differs (- want, + reported):\n%s", diff)
	}
	record := s.records[0]
	named := []*usagev1.LimitUsage{{Place: catalogv1.PlanPlace_PLAN_PLACE_VERSION, Plan: "plans/all", Limit: "connections", RefusedHandshakes: 1}}
	if diff := cmp.Diff(named, record.GetLimits(), protocmp.Transform()); diff != "" || record.GetPlan() != "plans/gold" || len(s.records) != 5 {
		t.Errorf("of %d records the first is %v (- want, + got):\n%s", len(s.records), record, diff)
	}
	for reaction, want := range map[string]float64{"refuse": 1, "observe": 1} {
		if got := throttlesOf(t, reg, "connections", reaction); got != want {
			t.Errorf("%v throttles by connections that %s, want %v", got, reaction, want)
		}
	}
}

// throttlesOf returns how often limits of a kind did something.
func throttlesOf(t *testing.T, reg *prometheus.Registry, limit, reaction string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "tidegate_throttles_total" && m.GetLabel()[0].GetValue() == limit && m.GetLabel()[1].GetValue() == reaction {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}
