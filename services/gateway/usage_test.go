package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// TestWhatLimitsDidIsSeen has the limits of a version's plan drop, observe, refuse and
// close: the live session, its record, the usage and the metrics say the same.
func TestWhatLimitsDidIsSeen(t *testing.T) {
	w := newWorld(t)
	reg := prometheus.NewRegistry()
	w.cfg.Metrics = reg
	rate := func(unit catalogv1.Unit, n int64) *catalogv1.Limit_Rate {
		return &catalogv1.Limit_Rate{Rate: &catalogv1.Rate{
			Unit: unit, Amount: n, Per: durationpb.New(time.Hour), Direction: catalogv1.Direction_DIRECTION_FROM_CLIENT,
		}}
	}
	all := &catalogv1.Plan{Name: "plans/all", Limits: []*catalogv1.Limit{
		{Name: "three", Reaction: catalogv1.Limit_REACTION_DROP, Kind: rate(catalogv1.Unit_UNIT_MESSAGES, 3)},
		{Name: "seen", Observe: true, Kind: rate(catalogv1.Unit_UNIT_MESSAGES, 1)},
		{Name: "one", Kind: &catalogv1.Limit_Connections{Connections: &catalogv1.Connections{Most: 1}}},
		{Name: "small", Kind: &catalogv1.Limit_MessageSize{MessageSize: &catalogv1.MessageSize{Bytes: 1000}}},
	}}
	w.plane.plans["plans/all"] = all
	route := w.open()
	route.TrafficPlan = "plans/all"
	w.plane.put(route)
	w.start()
	c := w.connect("open", "")
	for _, text := range []string{"a", "b", "c"} {
		echoes(t, c, text)
	}
	for range 2 {
		if err := c.Write(t.Context(), websocket.MessageText, []byte("dropped")); err != nil {
			t.Fatal(err)
		}
	}
	w.refused("open", "", http.StatusTooManyRequests)
	did := func(name string, u *usagev1.LimitUsage) *usagev1.LimitUsage {
		u.Place, u.Plan, u.Limit = catalogv1.PlanPlace_PLAN_PLACE_VERSION, "plans/all", name
		return u
	}
	want := []*usagev1.LimitUsage{did("seen", &usagev1.LimitUsage{ObservedHits: 2}), did("three", &usagev1.LimitUsage{DroppedMessages: 2})}
	byName := protocmp.SortRepeated(func(a, b *usagev1.LimitUsage) bool { return a.GetLimit() < b.GetLimit() })
	api, ctx := w.sessions()
	eventually(t, "the live session shows its plan and what limits did", func() bool {
		list, err := api.ListSessions(ctx, &gatewayv1.ListSessionsRequest{Parent: "gateways/gateway-1", Filter: `plan = "plans/all"`})
		if err != nil || list.GetTotalSize() != 1 || len(list.GetSessions()) != 1 || list.GetSessions()[0].GetTrafficPlan() != "plans/all" {
			t.Fatalf("ListSessions = %v, %v, want one session", list, err)
		}
		return cmp.Equal(want, list.GetSessions()[0].GetLimits(), protocmp.Transform(), byName)
	})
	if text := measure(t, reg).text; !strings.Contains(strings.ReplaceAll(text, " ", ""), `label:{name:"plan"value:"plans/all"}gauge:{value:1}`) {
		t.Errorf("the gauge of connections by plan is not 1 for plans/all: %s", text)
	}
	if err := c.Write(t.Context(), websocket.MessageBinary, make([]byte, 1001)); err != nil {
		t.Fatal(err)
	}
	for {
		if _, _, err := c.Read(t.Context()); err != nil { // after notices of what was dropped
			if websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
				t.Errorf("read = %v, want a close 1009", err)
			}
			break
		}
	}
	if err := w.shut(); err != nil {
		t.Fatal(err)
	}
	want = append(want, did("small", &usagev1.LimitUsage{ClosedSessions: 1}))
	refusal := did("one", &usagev1.LimitUsage{RefusedHandshakes: 1})
	for _, r := range w.plane.records {
		limits, name := want, "small"
		if r.GetStatus() != 0 {
			limits, name = []*usagev1.LimitUsage{refusal}, "one"
		}
		if l := r.GetDecidingLimit(); l.GetPlace() != catalogv1.PlanPlace_PLAN_PLACE_VERSION || l.GetPlan() != "plans/all" || l.GetLimit() != name {
			t.Errorf("the record %v was decided by %v, want %s", r, l, name)
		}
		if diff := cmp.Diff(limits, r.GetLimits(), protocmp.Transform(), byName); diff != "" || r.GetPlan() != "" {
			t.Errorf("the record %v differs (- want, + got):\n%s", r, diff)
		}
		if r.GetStatus() == 0 && (r.GetEndReason() != usagev1.EndReason_END_REASON_TOO_BIG || r.GetDetail() != "client: message over the limit, by the API's own limit") {
			t.Errorf("the session ended by %v %q, want the place of the limit", r.GetEndReason(), r.GetDetail())
		}
	}
	if n := len(w.plane.records); n != 2 {
		t.Errorf("%d records, want the session's and the refusal's", n)
	}
	used, refused := map[string]*usagev1.LimitUsage{}, uint64(0)
	for _, req := range w.plane.usage {
		for _, u := range req.GetUsage() {
			if u.GetPlan() != "plans/all" || u.GetMinute().GetSeconds()%60 != 0 {
				t.Errorf("a row is %v, want the plan and the minute", u)
			}
			for _, h := range u.GetRefusedHandshakes() {
				if h.GetStatus() != http.StatusTooManyRequests {
					t.Errorf("handshakes were refused by %v, want 429", h)
				}
				refused += h.GetCount()
			}
			for _, l := range u.GetLimits() {
				sum := used[l.GetLimit()]
				if sum == nil {
					sum = did(l.GetLimit(), &usagev1.LimitUsage{})
					used[l.GetLimit()] = sum
				}
				sum.DroppedMessages += l.GetDroppedMessages()
				sum.ClosedSessions += l.GetClosedSessions()
				sum.RefusedHandshakes += l.GetRefusedHandshakes()
				sum.ObservedHits += l.GetObservedHits()
			}
		}
	}
	sums := map[string]*usagev1.LimitUsage{"one": refusal}
	for _, l := range want {
		sums[l.GetLimit()] = l
	}
	if diff := cmp.Diff(sums, used, protocmp.Transform()); diff != "" || refused != 1 {
		t.Errorf("%d handshakes were refused, and the usage of limits differs (- want, + got):\n%s", refused, diff)
	}
	if _, in, out := w.plane.totals(); in != 3 || out != 3 {
		t.Errorf("%d and %d messages were reported, want 3 and 3", in, out)
	}
}
