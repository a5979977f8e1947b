package gateway

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

func quotaOf(name string, unit catalogv1.Unit, n int64, window catalogv1.Quota_Window, reaction catalogv1.Limit_Reaction) *catalogv1.Limit {
	return &catalogv1.Limit{Name: name, Reaction: reaction, Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{Unit: unit, Amount: n, Window: window}}}
}

// TestQuotasEqualUsage has sessions of three places with quotas of messages, bytes and
// sessions, some of which are used up, end in the middle of messages, with messages dropped,
// held back and on their way to a peer that reads nothing, in two windows and under two starts
// of the gateway: what was spent of each quota in each window is what usage says.
func TestQuotasEqualUsage(t *testing.T) {
	const minute, hour, day = catalogv1.Quota_WINDOW_MINUTE, catalogv1.Quota_WINDOW_HOUR, catalogv1.Quota_WINDOW_DAY
	w := newWorld(t)
	w.cfg.Relay.Close, w.cfg.Relay.Linger, w.cfg.Relay.Write = 100*time.Millisecond, 50*time.Millisecond, 300*time.Millisecond
	b := newRawBackend(t)
	rate := perHour("messages-rate", catalogv1.Unit_UNIT_MESSAGES, 20, catalogv1.Direction_DIRECTION_FROM_CLIENT, catalogv1.Limit_REACTION_PAUSE)
	rate.GetRate().PerConnection, rate.GetRate().LongestPause = true, durationpb.New(time.Minute)
	w.plane.putPlan("subscription", perMinute(100), quotaOf("bytes-per-hour", catalogv1.Unit_UNIT_BYTES, 50_000, hour, 0))
	w.plane.putPlan("application", quotaOf("messages-per-day", catalogv1.Unit_UNIT_MESSAGES, 120, day, 0), rate)
	w.plane.putPlan("version", quotaOf("messages-per-hour", catalogv1.Unit_UNIT_MESSAGES, 100_000, hour, 0),
		quotaOf("bytes-per-day", catalogv1.Unit_UNIT_BYTES, 1<<40, day, 0), quotaOf("sessions-per-day", catalogv1.Unit_UNIT_SESSIONS, 1000, day, 0))
	w.plane.putPlan("hears", perMinute(1000))
	w.likeWSO2("hears", nil)
	r := w.route("1")
	r.TrafficPlan, r.Endpoints = "plans/version", &catalogv1.Endpoints{Production: endpoint("ws://" + b.Addr().String())}
	w.plane.put(r)
	tokens := []string{w.plane.subscribe("a", "plans/subscription", ""), w.plane.subscribe("b", "", "plans/application"), w.plane.subscribe("c", "plans/subscription", "plans/application")}
	random := rand.New(rand.NewPCG(1, 2))
	for start := range 2 {
		w.start()
		for turn := range 2 {
			var all sync.WaitGroup
			for i := range 24 {
				client, backend := w.pair(b, w.plain+"/x/1", bearer(tokens[i%len(tokens)]))
				way, parts, length := i/len(tokens)%len(endsOfTalks), 1+random.IntN(3), random.IntN(300)
				all.Go(func() { endsOfTalks[way](client, backend, parts, bytes.Repeat([]byte("x"), length)) })
			}
			all.Wait()
			w.plane.ledger.turn()
			w.hears(fmt.Sprintf("turn-%d-%d", start, turn))
		}
		if err := w.shut(); err != nil {
			t.Errorf("Run = %v", err)
		}
	}
	places, windows := map[string]bool{}, map[string]int{}
	for key, n := range w.balances() {
		if n > 0 {
			places[key.place.String()+key.unit.String()] = true
			windows[key.application+key.version+key.unit.String()+key.kind.String()]++
		}
	}
	if len(places) < 6 || windows["applications/aapis/x/versions/1UNIT_MESSAGESWINDOW_MINUTE"] < 2 {
		t.Errorf("spent was of %v in %v, want quotas of all places and units, and of two minutes", places, windows)
	}
	did := map[string]uint64{}
	for _, r := range w.plane.records {
		for _, l := range r.GetLimits() {
			did["dropped by "+l.GetLimit()] += l.GetDroppedMessages()
			did["paused by "+l.GetLimit()] += l.GetPauses()
		}
	}
	for _, what := range []string{"dropped by messages-per-minute", "dropped by bytes-per-hour", "dropped by messages-per-day", "paused by messages-rate"} {
		if did[what] == 0 {
			t.Errorf("nothing was %s: %v", what, did)
		}
	}
}

// endsOfTalks are ways in which two ends talk, and then end.
var endsOfTalks = []func(client, backend *end, parts int, text []byte){
	// Both say something in parts and close in order.
	func(client, backend *end, parts int, text []byte) {
		over := backend.answers()
		for range 7 { // fewer than are paused
			_ = client.write(ws.NewTextFrame(text))
			client.sayIn(parts, text)
		}
		_ = client.write(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "")))
		_, _ = client.closed()
		_ = client.Close()
		<-over
		_ = backend.Close()
	},
	// The client is cut in the middle of a message.
	func(client, backend *end, parts int, text []byte) {
		over := backend.answers()
		client.sayIn(parts, text)
		_ = client.write(ws.NewFrame(ws.OpText, false, text))
		client.reset()
		<-over
		_ = backend.Close()
	},
	// The client is cut in the middle of a frame, of which the gateway has passed on what came.
	func(client, backend *end, _ int, text []byte) {
		f := ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame(append([]byte("xx"), text...))))
		_, _ = client.Write(f[:len(f)-1])
		_ = client.Conn.(interface{ CloseWrite() error }).CloseWrite()
		_, _ = backend.closed()
		_, _ = client.Close(), backend.Close()
	},
	// The backend is cut in the middle of a message.
	func(client, backend *end, parts int, text []byte) {
		backend.sayIn(parts, text)
		_ = backend.write(ws.NewFrame(ws.OpBinary, false, text))
		_ = backend.write(ws.NewFrame(ws.OpContinuation, false, text))
		backend.reset()
		_, _ = client.closed()
		_ = client.Close()
	},
	// The client reads nothing of much, and is cut.
	func(client, backend *end, _ int, text []byte) {
		_ = backend.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		many := bytes.Repeat(ws.MustCompileFrame(ws.NewBinaryFrame(text)), 300)
		_, _ = backend.Write(many)
		client.reset()
		_, _ = backend.closed()
		_ = backend.Close()
	},
	// The client floods, with more than may pass, and is cut.
	func(client, backend *end, _ int, text []byte) {
		_, _ = client.Write(bytes.Repeat(ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame(text[:len(text)/2]))), 60))
		backend.takes(10)
		client.reset()
		_, _ = backend.closed()
		_ = backend.Close()
	},
}

// sayIn says a text in so many frames more than one.
func (e *end) sayIn(parts int, text []byte) {
	_ = e.write(ws.NewFrame(ws.OpText, false, text))
	for range parts {
		_ = e.write(ws.NewFrame(ws.OpContinuation, false, text))
	}
	_ = e.write(ws.NewFrame(ws.OpContinuation, true, nil))
}

// answers sends each frame back, until the end, which it tells of.
func (e *end) answers() (over <-chan struct{}) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			f, err := e.next()
			if err != nil {
				return
			}
			_ = e.write(ws.NewFrame(f.Header.OpCode, f.Header.Fin, f.Payload))
		}
	}()
	return done
}

// takes reads some frames, or what comes in a moment.
func (e *end) takes(n int) {
	_ = e.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	for range n {
		if _, err := e.next(); err != nil {
			break
		}
	}
	_ = e.SetReadDeadline(time.Now().Add(2 * patience))
}

// TestLimitsThatEndSessions: a rate that closes, a greatest message and a greatest age of
// plans end sessions with their codes, and both ends' closes and the record have one ref. A
// message is too great by its head, before its payload has come.
func TestLimitsThatEndSessions(t *testing.T) {
	w, b, _ := frames(t, nil)
	age := &catalogv1.Limit{Name: "session-age", Kind: &catalogv1.Limit_SessionAge{SessionAge: &catalogv1.SessionAge{Age: durationpb.New(200 * time.Millisecond)}}}
	rate := perHour("messages-rate", catalogv1.Unit_UNIT_MESSAGES, 3, catalogv1.Direction_DIRECTION_BOTH, catalogv1.Limit_REACTION_CLOSE)
	quota := quotaOf("messages-per-minute", catalogv1.Unit_UNIT_MESSAGES, 3, catalogv1.Quota_WINDOW_MINUTE, catalogv1.Limit_REACTION_CLOSE)
	head := func(e *end) {
		f := ws.MustCompileFrame(ws.NewBinaryFrame(make([]byte, 5001)))
		if e.mask {
			f = ws.MustCompileFrame(ws.MaskFrame(ws.NewBinaryFrame(make([]byte, 5001))))
		}
		_, _ = e.Write(f[:8])
	}
	talk := func(from, to *end) {
		for range 3 {
			from.send(ws.NewTextFrame([]byte("hello")))
			to.expect(ws.NewTextFrame([]byte("hello")))
		}
		from.send(ws.NewTextFrame([]byte("one too many")))
	}
	for _, tt := range []struct {
		name            string
		limit           *catalogv1.Limit
		do              func(client, backend *end)
		client, backend int
		word            usagev1.EndReason
		retry           bool
	}{
		{"rate, client", rate, talk, 4003, 1001, usagev1.EndReason_END_REASON_THROTTLED, true},
		{"rate, backend", rate, func(c, b *end) { talk(b, c) }, 4003, 1001, usagev1.EndReason_END_REASON_THROTTLED, true},
		{"quota, client", quota, talk, 4003, 1001, usagev1.EndReason_END_REASON_THROTTLED, true},
		{"size, client", greatestMessage(5000), func(c, _ *end) { head(c) }, 1009, 1001, usagev1.EndReason_END_REASON_TOO_BIG, false},
		{"size, backend", greatestMessage(5000), func(_, b *end) { head(b) }, 1011, 1009, usagev1.EndReason_END_REASON_TOO_BIG, false},
		{"age", age, func(_, _ *end) {}, 1012, 1001, usagev1.EndReason_END_REASON_MAX_AGE, true},
	} {
		version := strings.ReplaceAll(strings.ReplaceAll(tt.name, ", ", "-"), " ", "-")
		w.plane.putPlan(version, tt.limit)
		r := w.route(version)
		r.Endpoints = &catalogv1.Endpoints{Production: endpoint("ws://" + b.Addr().String())}
		w.plane.put(r)
		w.settled()
		token := w.plane.subscribe(version, "plans/"+version, "")
		client, backend := w.pair(b, w.plain+"/x/"+version, bearer(token))
		tt.do(client, backend)
		codes, reasons := seen(client, backend)
		word := strings.TrimPrefix(tt.word.String(), "END_REASON_")
		if codes != [2]int{tt.client, tt.backend} || !strings.HasPrefix(reasons[0], word+" ref=") || !strings.HasPrefix(reasons[1], word+" ref=") ||
			strings.Contains(reasons[0], " retry=") != tt.retry {
			t.Errorf("%s: closed with %d %q, want %d %d %s", tt.name, codes, reasons, tt.client, tt.backend, word)
		}
		rec := w.record(reasons[0])
		l := rec.GetLimits()
		if rec != w.record(reasons[1]) || rec.GetEndReason() != tt.word || !strings.Contains(rec.GetDetail(), "a limit of the subscription") ||
			rec.GetDecidingLimit().GetLimit() != tt.limit.GetName() || rec.GetDecidingLimit().GetPlan() != "plans/"+version ||
			len(l) != 1 || l[0].GetClosedSessions() != 1 || l[0].GetPlace() != catalogv1.PlanPlace_PLAN_PLACE_SUBSCRIPTION || rec.GetPlan() != "plans/"+version {
			t.Errorf("%s: the record is %v, want %s by %s", tt.name, rec, word, tt.limit.GetName())
		}
	}
}
