package gateway

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// throttledOut is what a client is told by the template of WSO2 API Manager.
const throttledOut = "Error code: 4003 reason: Websocket frame throttled out"

// perMinute is a quota of messages a minute, both directions together, that drops.
func perMinute(n int64) *catalogv1.Limit {
	return &catalogv1.Limit{Name: "messages-per-minute", Reaction: catalogv1.Limit_REACTION_DROP, Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{
		Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: n, Window: catalogv1.Quota_WINDOW_MINUTE,
	}}}
}

// perHour is a rate of which nothing comes back while a test runs.
func perHour(name string, unit catalogv1.Unit, burst int64, way catalogv1.Direction, reaction catalogv1.Limit_Reaction) *catalogv1.Limit {
	return &catalogv1.Limit{Name: name, Reaction: reaction, Kind: &catalogv1.Limit_Rate{Rate: &catalogv1.Rate{
		Unit: unit, Amount: 1, Burst: burst, Per: durationpb.New(3600e9), Direction: way,
	}}}
}

// likeWSO2 makes a version whose clients are told of dropped messages as by WSO2 API
// Manager.
func (w *world) likeWSO2(version string, edit func(*backplanev1.Route)) {
	r := w.route(version)
	r.ErrorFrames = &catalogv1.ErrorFrames{Template: catalogv1.ErrorFrames_TEMPLATE_WSO2}
	if edit != nil {
		edit(r)
	}
	w.plane.put(r)
}

// said sends a message and returns what comes.
func (w *world) said(c *websocket.Conn, text string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		w.t.Fatalf("write: %v", err)
	}
	kind, got, err := c.Read(ctx)
	if err != nil || kind != websocket.MessageText {
		w.t.Fatalf("read %v %q, %v, want a text", kind, got, err)
	}
	return string(got)
}

// echoesUntilThrottled takes turns until somebody is throttled, and returns how many
// messages came back before.
func (w *world) echoesUntilThrottled(of ...*websocket.Conn) (n int) {
	w.t.Helper()
	for ; n < 1000; n++ {
		text := fmt.Sprint("message ", n)
		switch got := w.said(of[n%len(of)], text); got {
		case text:
		case throttledOut:
			return n
		default:
			w.t.Fatalf("%q came, want the echo of %q or %q", got, text, throttledOut)
		}
	}
	w.t.Fatal("nobody is throttled")
	return n
}

// hears has the gateway call the ledger, by which it hears what time it is there.
func (w *world) hears(name string) {
	w.t.Helper()
	w.plane.putPlan("hears", perMinute(1000))
	c := w.connect("hears", w.plane.subscribe(name, "plans/hears", ""))
	echoes(w.t, c, "hello")
	_ = c.Close(websocket.StatusNormalClosure, "")
}

// TestThrottledAsByTheAnchor: at exactly the quota both directions together have passed,
// an echo costs two; what is more is dropped and the client told in the anchor's words, on
// connections that stay open and that share what the plan was given to has; the next window
// is whole again, and what usage says is what was spent.
func TestThrottledAsByTheAnchor(t *testing.T) {
	w := newWorld(t)
	const even, odd = 8, 9 // of which the last one is a message to the backend whose echo is one too many
	for _, most := range []int64{even, odd} {
		w.plane.putPlan(fmt.Sprint("p", most), perMinute(most))
	}
	w.likeWSO2("hears", nil)
	w.likeWSO2("1", nil)
	for _, most := range []int{even, odd} {
		w.likeWSO2(fmt.Sprint("api", most), func(r *backplanev1.Route) { r.TrafficPlan = fmt.Sprint("plans/p", most) })
	}
	w.start()
	w.hears("first")
	type those struct {
		conns []*websocket.Conn
		most  int
	}
	cases := map[string]those{}
	for _, most := range []int{even, odd} {
		plan, api := fmt.Sprint("plans/p", most), fmt.Sprint("api", most)
		one, two := w.plane.subscribe(fmt.Sprint("one", most), plan, ""), w.plane.subscribe(fmt.Sprint("two", most), "", plan)
		x, y := w.plane.subscribe(fmt.Sprint("x", most), "", ""), w.plane.subscribe(fmt.Sprint("y", most), "", "")
		cases["subscription of "+plan] = those{[]*websocket.Conn{w.connect("1", one), w.connect("1", one)}, most}
		cases["application of "+plan] = those{[]*websocket.Conn{w.connect("1", two), w.connect("hears", two)}, most}
		cases["API of "+plan] = those{[]*websocket.Conn{w.connect(api, x), w.connect(api, y)}, most}
	}
	for window := range 2 {
		for name, tt := range cases {
			n := 0
			if window > 0 {
				eventually(t, "the quota of the "+name+" is whole again", func() bool { return w.said(tt.conns[1], "again") == "again" })
				n = 1
			}
			if n += w.echoesUntilThrottled(tt.conns...); n != tt.most/2 {
				t.Errorf("%s, window %d: %d messages came back, want %d", name, window, n, tt.most/2)
			}
			for _, c := range tt.conns {
				if got := w.said(c, "too much"); got != throttledOut {
					t.Errorf("%s, window %d: %q came, want %q", name, window, got, throttledOut)
				}
			}
		}
		w.plane.ledger.turn()
		w.hears(fmt.Sprint("turn", window))
	}
	for _, tt := range cases {
		for _, c := range tt.conns {
			_ = c.Close(websocket.StatusNormalClosure, "")
		}
	}
	spent := map[string][]int64{}
	for key, n := range w.balances() {
		if of := key.application + strings.TrimPrefix(key.version, "apis/x/versions/"); n > 0 && key.version != "apis/x/versions/hears" {
			spent[of] = append(spent[of], n)
		}
	}
	want := map[string][]int64{
		"applications/one81": {even, even}, "applications/two8": {even, even}, "api8": {even, even},
		"applications/one91": {odd, odd}, "applications/two9": {odd, odd}, "api9": {odd, odd},
	}
	if diff := cmp.Diff(want, spent); diff != "" {
		t.Errorf("what was spent in two windows differs (- want, + got):\n%s", diff)
	}
	for _, r := range w.plane.records {
		if r.GetEndReason() != usagev1.EndReason_END_REASON_PEER_CLOSE || r.GetEndedBy() != usagev1.SessionRecord_PARTY_CLIENT {
			t.Errorf("the record is %v, want a session that its client closed", r)
		}
	}
}
