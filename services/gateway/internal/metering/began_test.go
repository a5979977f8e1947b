package metering

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle/throttletest"
)

// clock is an engine without lines.
type clock struct{ now int64 }

func (c *clock) Now() int64          { return c.now }
func (*clock) Serve(*limits.Limit)   {}
func (*clock) Release(*limits.Limit) {}

// TestBeganUnderAQuota: a session is counted in the minute in which its quota has counted
// it, though that is over when the session is live, and in the present one where no quota
// has.
func TestBeganUnderAQuota(t *testing.T) {
	s := newService(t)
	engine := &clock{now: int64(59 * time.Second)}
	cfg := Default()
	cfg.Minute = func(at int64) int64 {
		if at == 0 {
			at = engine.now
		}
		return at / int64(time.Minute) * 60
	}
	m, _ := newMeter(t, cfg, s)
	plans := throttle.New(throttle.Config{Engine: engine, Ledger: &throttletest.Ledger{}})
	defer plans.Close()
	plans.SetPlans([]*catalogv1.Plan{{Name: "plans/free"}, {Name: "plans/ten", Limits: []*catalogv1.Limit{{
		Name: "sessions-per-day", Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{Unit: catalogv1.Unit_UNIT_SESSIONS, Amount: 10, Window: catalogv1.Quota_WINDOW_DAY}},
	}}}}, nil)
	registry := session.NewRegistry(nil, func(session.Record) {})
	open := func(plan string) *session.Session {
		who := throttle.Who{Version: "apis/a/versions/1", Grant: &grant.Grant{Name: "grants/" + plan, Application: "applications/" + plan, Plan: plan}}
		hold, err := plans.Enter(t.Context(), who)
		if err != nil {
			t.Fatal(err)
		}
		of, err := registry.New(nil, session.Info{Ref: plan, Route: &session.Route{Version: who.Version}, Grant: who.Grant})
		if err != nil {
			t.Fatal(err)
		}
		of.SetHold(hold)
		if err := hold.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		return of
	}
	counted, free := open("plans/ten"), open("plans/free")
	engine.now = int64(61 * time.Second)
	m.Began(counted)
	m.Began(free)
	if err := m.usage.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for plan, minute := range map[string]int64{"plans/ten": 0, "plans/free": 60} {
		k := key{version: "apis/a/versions/1", application: "applications/" + plan, plan: plan, minute: minute}
		if r := s.rows[k]; r == nil || r.sessions != 1 {
			t.Errorf("under %s nothing is counted in the minute %d: %v", plan, minute, s.rows)
		}
	}
	if len(s.rows) != 2 {
		t.Errorf("the rows are %v, want two", s.rows)
	}
	counted.Abandon()
	free.Abandon()
}

// TestAPIKeysAreReportedWithTheirMinutes: a key is named in each minute in which a session
// of it began or relayed something, and a row of many keys is taken in parts.
func TestAPIKeysAreReportedWithTheirMinutes(t *testing.T) {
	m, _ := newMeter(t, Default(), newService(t))
	key := func(i int) *session.Info {
		return &session.Info{
			Route: versionOne,
			Grant: &grant.Grant{Name: "grants/1", Application: "applications/1", APIKey: fmt.Sprint("applications/1/apiKeys/", i)},
		}
	}
	m.Used(key(1), []ending.Usage{{Minute: 60}, {Minute: 120}})
	m.Used(key(2), []ending.Usage{{Minute: 120}})
	m.Used(&session.Info{Route: versionOne, Grant: &grant.Grant{Name: "grants/2", Application: "applications/1"}}, []ending.Usage{{Minute: 180}})
	got := map[int64][]string{}
	for _, row := range m.rows.take(10) {
		slices.Sort(row.ApiKeys)
		got[row.GetMinute().GetSeconds()] = row.GetApiKeys()
	}
	if want := map[int64][]string{
		60: {"applications/1/apiKeys/1"}, 120: {"applications/1/apiKeys/1", "applications/1/apiKeys/2"}, 180: nil,
	}; !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("the reports have the keys %v, want %v", got, want)
	}
	for i := range 250 {
		m.Used(key(i), []ending.Usage{{Minute: 60}})
	}
	seen := map[string]bool{}
	for reports := 0; m.rows.len() > 0; reports++ {
		for _, row := range m.rows.take(10) {
			if len(row.GetApiKeys()) > mostInReport || reports > 3 {
				t.Fatalf("a row has %d keys in report %d", len(row.GetApiKeys()), reports)
			}
			for _, name := range row.GetApiKeys() {
				seen[name] = true
			}
		}
	}
	if len(seen) != 250 || m.rows.size != 0 {
		t.Errorf("%d keys were reported, and %d wait, want 250 and none", len(seen), m.rows.size)
	}
}
