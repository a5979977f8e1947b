package gateway

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// hourly is a rate, in an hour.
func hourly(unit catalogv1.Unit, n int64, d catalogv1.Direction) *catalogv1.Limit_Rate {
	return &catalogv1.Limit_Rate{Rate: &catalogv1.Rate{Unit: unit, Amount: n, Per: durationpb.New(time.Hour), Direction: d}}
}

// tells reads until the close, and returns its reason.
func tells(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	for {
		if _, _, err := c.Read(t.Context()); err != nil {
			var closed websocket.CloseError
			if !errors.As(err, &closed) {
				t.Fatalf("read = %v, want a close", err)
			}
			return closed.Reason
		}
	}
}

// TestLimitsAreHidden: however a limit ends a session or refuses a handshake, the words of
// the record have neither its name nor its plan; only the deciding limit has, which is not
// for all. The client is told the name of its own limit where it is refused, and never that
// of the version's.
func TestLimitsAreHidden(t *testing.T) {
	const hidden = "hidden"
	seats := func(r catalogv1.Limit_Reaction) *catalogv1.Limit {
		return &catalogv1.Limit{Name: hidden, Reaction: r, Kind: &catalogv1.Limit_Connections{Connections: &catalogv1.Connections{Most: 1}}}
	}
	type by func(w *world, version, token string) (told, reason string)
	refused := func(w *world, version, token string) (told, reason string) {
		_, r := w.ask(w.plain+"/x/"+version, bearer(token))
		_, ref, _ := strings.Cut(r.body, `"ref":"`)
		ref, _, _ = strings.Cut(ref, `"`)
		return fmt.Sprint(r.header, r.body), " ref=" + ref
	}
	closed := func(do func(w *world, c *websocket.Conn, version, token string)) by {
		return func(w *world, version, token string) (told, reason string) {
			c := w.connect(version, token)
			do(w, c, version, token)
			reason = tells(w.t, c)
			return reason, reason
		}
	}
	writes := func(n, size int) by {
		return closed(func(w *world, c *websocket.Conn, _, _ string) {
			for range n {
				if err := c.Write(w.t.Context(), websocket.MessageText, make([]byte, size)); err != nil {
					w.t.Fatal(err)
				}
			}
		})
	}
	cases := []struct {
		name, detail string // of the record
		limit        *catalogv1.Limit
		by           by
		words        string // of the deciding limit
		named        bool   // who is refused by its own limit
	}{
		{"full", "LIMIT is reached", seats(0), func(w *world, version, token string) (told, reason string) {
			c := w.connect(version, token)
			defer func() { _ = c.CloseNow() }()
			return refused(w, version, token)
		}, "1 of 1 used", true},
		{"replaced", "LIMIT: a newer connection has its seat", seats(catalogv1.Limit_REACTION_CLOSE_OLDEST),
			closed(func(w *world, _ *websocket.Conn, version, token string) { _ = w.connect(version, token).CloseNow() }), "", false},
		{"throttled", "LIMIT", &catalogv1.Limit{
			Name: hidden, Reaction: catalogv1.Limit_REACTION_CLOSE, Kind: hourly(catalogv1.Unit_UNIT_MESSAGES, 1, catalogv1.Direction_DIRECTION_FROM_CLIENT),
		}, writes(2, 1), "", false},
		{"big", "client: message over the limit, by LIMIT", &catalogv1.Limit{
			Name: hidden, Kind: &catalogv1.Limit_MessageSize{MessageSize: &catalogv1.MessageSize{Bytes: 10}},
		}, writes(1, 11), "", false},
		{"old", "by LIMIT", &catalogv1.Limit{
			Name: hidden, Kind: &catalogv1.Limit_SessionAge{SessionAge: &catalogv1.SessionAge{Age: durationpb.New(20 * time.Millisecond)}},
		}, writes(0, 0), "", false},
		{"strange", "the gateway does not know the limits of the plan yet", &catalogv1.Limit{Name: hidden}, refused,
			`this gateway does not understand the plan: limit "hidden": a kind that this gateway does not know`, false},
	}
	for n, limit := range []string{"a limit of the subscription", "a limit of the application", "the API's own limit"} {
		t.Run(limit, func(t *testing.T) {
			w := newWorld(t)
			w.cfg.Relay.Tick = 5 * time.Millisecond
			for _, tt := range cases {
				plan := "plans/" + hidden + "-" + tt.name
				w.plane.putPlan(hidden+"-"+tt.name, tt.limit)
				route := w.route(tt.name)
				of := w.plane.tokens[w.plane.issue(tt.name, "subscriptions/"+tt.name, time.Hour)]
				*[]*string{&of.plan, &of.own, &route.TrafficPlan}[n] = plan
				w.plane.put(route)
			}
			w.start()
			for _, tt := range cases {
				told, reason := tt.by(w, tt.name, tt.name)
				r := w.record(reason)
				want := &usagev1.DecidingLimit{Place: catalogv1.PlanPlace(n) + 1, Plan: "plans/" + hidden + "-" + tt.name, Limit: hidden, Detail: tt.words}
				if tt.name == "strange" {
					want.Limit = ""
				}
				if diff := cmp.Diff(want, r.GetDecidingLimit(), protocmp.Transform()); diff != "" {
					t.Errorf("%s: the deciding limit (- want, + got):\n%s", tt.name, diff)
				}
				if detail := strings.ReplaceAll(tt.detail, "LIMIT", limit); r.GetDetail() != detail {
					t.Errorf("%s: the detail is %q, want %q", tt.name, r.GetDetail(), detail)
				}
				if named := strings.Contains(told, hidden); named != (tt.named && n < 2) {
					t.Errorf("%s: the client is told %s", tt.name, told)
				}
			}
		})
	}
}

// TestObservedHandshakesAreSeen: what limits on handshakes and connections that are on observe
// would have refused gets in, and is in the usage and the metrics.
func TestObservedHandshakesAreSeen(t *testing.T) {
	w := newWorld(t)
	reg := prometheus.NewRegistry()
	w.cfg.Metrics = reg
	seats := connections(1)
	seats.Observe = true
	w.plane.putPlan("seen", seats, &catalogv1.Limit{
		Name: "handshakes-rate-observed", Observe: true, Kind: hourly(catalogv1.Unit_UNIT_HANDSHAKES, 2, catalogv1.Direction_DIRECTION_UNSPECIFIED),
	})
	w.plane.put(w.route("1"))
	w.plane.issue("t", "subscriptions/1", time.Hour)
	w.plane.tokens["t"].plan = "plans/seen"
	w.start()
	for range 5 {
		echoes(t, w.connect("1", "t"), "gets in")
	}
	text := strings.ReplaceAll(measure(t, reg).text, " ", "")
	for kind, hits := range map[string]int{"connections": 4, "handshakes_rate": 3} {
		if want := fmt.Sprintf(`label:{name:"limit"value:"%s"}label:{name:"reaction"value:"observe"}counter:{value:%d`, kind, hits); !strings.Contains(text, want) {
			t.Errorf("the metrics lack %s: %s", want, text)
		}
	}
	if err := w.shut(); err != nil {
		t.Fatal(err)
	}
	got := map[string]uint64{}
	for _, req := range w.plane.usage {
		for _, u := range req.GetUsage() {
			if u.GetPlan() != "plans/seen" || u.GetSubscription() != "subscriptions/1" || u.GetApplication() != "applications/a" || len(u.GetRefusedHandshakes()) != 0 {
				t.Errorf("a row is %v, want the subscription's, without refusals", u)
			}
			for _, l := range u.GetLimits() {
				if l.GetPlace() != catalogv1.PlanPlace_PLAN_PLACE_SUBSCRIPTION || l.GetPlan() != "plans/seen" {
					t.Errorf("%v did something, want a limit of the subscription", l)
				}
				got[l.GetLimit()] += l.GetObservedHits()
			}
		}
	}
	if want := map[string]uint64{"connections": 4, "handshakes-rate-observed": 3}; !cmp.Equal(got, want) {
		t.Errorf("the usage has the hits %v, want %v", got, want)
	}
	if sessions, _, _ := w.plane.totals(); sessions != 5 {
		t.Errorf("%d sessions, want 5", sessions)
	}
}
