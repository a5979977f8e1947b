package handshake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/gateway/internal/refusal"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
)

// plan has plans held.
func (w *world) plan(name string, list ...*catalogv1.Limit) {
	w.throttle.SetPlans([]*catalogv1.Plan{{Name: "plans/" + name, Limits: list}}, nil)
}

// subscribe makes the token "a", of an application with these plans.
func (w *world) subscribe(plan, applicationPlan string) {
	const application = "a"
	w.grants.mu.Lock()
	defer w.grants.mu.Unlock()
	w.grants.byToken[application] = &grant.Grant{
		Name: "grants/" + application, RestsOn: []string{"grants/" + application}, Application: "applications/" + application,
		Stage: grant.Production, Plan: plan, ApplicationPlan: applicationPlan,
	}
}

func connections(n int32, r catalogv1.Limit_Reaction) *catalogv1.Limit {
	return &catalogv1.Limit{Name: "connections", Reaction: r, Kind: &catalogv1.Limit_Connections{Connections: &catalogv1.Connections{Most: n}}}
}

func handshakes(n int64) *catalogv1.Limit {
	return &catalogv1.Limit{Name: "handshakes-rate", Kind: &catalogv1.Limit_Rate{Rate: &catalogv1.Rate{
		Unit: catalogv1.Unit_UNIT_HANDSHAKES, Amount: n, Per: durationpb.New(time.Minute),
	}}}
}

func sessionQuota(n int64) *catalogv1.Limit {
	return &catalogv1.Limit{Name: "sessions-per-day", Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{
		Unit: catalogv1.Unit_UNIT_SESSIONS, Amount: n, Window: catalogv1.Quota_WINDOW_DAY,
	}}}
}

// asSubscriber is the header of who subscribe is for.
const asSubscriber = "Authorization: Bearer a\r\n"

// readFrame reads a small frame.
func readFrame(r io.Reader) (f ws.Frame, err error) {
	if f.Header, err = ws.ReadHeader(r); err != nil || f.Header.Length > 1<<16 {
		return f, errors.Join(err, errors.New("no small frame"))
	}
	f.Payload = make([]byte, f.Header.Length)
	_, err = io.ReadFull(r, f.Payload)
	return f, err
}

// peer is a client with an open session.
type peer struct {
	net.Conn
	answer
}

// open opens a session and returns its client.
func (w *world) open(more string) *peer {
	w.t.Helper()
	conn := w.dial(false)
	w.send(conn, request("/echo/1.0.0", more))
	a := w.receive(conn)
	if a.StatusCode != 101 {
		w.t.Fatalf("answer = %d %s %s, want 101", a.StatusCode, a.Code, a.Detail)
	}
	return &peer{conn, a}
}

// closed returns the close that comes.
func (p *peer) closed(w *world) string {
	w.t.Helper()
	for {
		f, err := readFrame(p.br)
		if err != nil {
			w.t.Fatalf("no close came: %v", err)
		}
		if f.Header.OpCode == ws.OpClose {
			code, reason := ws.ParseCloseFrameData(f.Payload)
			word, _, _ := strings.Cut(reason, " ")
			return fmt.Sprint(code, " ", word)
		}
	}
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for end := time.Now().Add(10 * time.Second); !ok(); <-poll.C {
		if time.Now().After(end) {
			t.Fatalf("timed out waiting: %s", what)
		}
	}
}

// TestLimitsRefuse: each kind of limit at each place answers 429 with when to come back.
// One's own limit is in the body and in RateLimit; the version's is told apart from what all
// readers of the record see, with how much of it is used.
func TestLimitsRefuse(t *testing.T) {
	const own, apis = "the limit %q of the %s is reached", "the API's own limit is reached"
	for _, kind := range []struct {
		code   string
		limit  *catalogv1.Limit
		kind   limits.Kind
		unit   limits.Unit
		want   problem.Limit
		policy string
		rate   string
		retry  [2]int // from, to
		words  string
	}{
		{"CONNECTIONS_FULL", connections(2, catalogv1.Limit_REACTION_REFUSE), limits.KindConnections, 0,
			problem.Limit{Name: "connections", Limit: 2, Used: 2}, `"connections";q=2;qu="concurrent-requests"`, `"connections";r=0`, [2]int{5, 5}, `2 of 2 used`},
		{"HANDSHAKE_RATE", handshakes(2), limits.KindRate, limits.Handshakes,
			problem.Limit{Name: "handshakes-rate", Limit: 2, Window: 60, Burst: 2, Used: 2}, `"handshakes-rate";q=2;w=60`, `"handshakes-rate";r=0;t=`, [2]int{1, 30}, `2 of a burst of 2 used, 2 come back in 1m0s, room in `},
		{"SESSION_QUOTA", sessionQuota(2), limits.KindQuota, limits.Sessions,
			problem.Limit{Name: "sessions-per-day", Limit: 2, Window: 86400, Used: 2}, `"sessions-per-day";q=2;w=86400`, `"sessions-per-day";r=0;t=`, [2]int{1, 1 << 40}, `2 of 2 used, room in `},
	} {
		for _, place := range []limits.Place{limits.Subscription, limits.Application, limits.Version} {
			t.Run(kind.code+" of the "+place.String(), func(t *testing.T) {
				w := newWorld(t, nil)
				w.plan("two", kind.limit)
				w.plan("none")
				plans := [3]string{"plans/none", "plans/none", "plans/none"}
				plans[place] = "plans/two"
				w.subscribe(plans[0], plans[1])
				w.serve(newEcho(t, nil).url, func(r *routes.Route) { r.Limits.TrafficPlan = plans[2] })
				w.open(asSubscriber)
				w.open(asSubscriber)
				a := w.ask("/echo/1.0.0", asSubscriber)
				detail := apis
				if place != limits.Version {
					detail = fmt.Sprintf(own, kind.want.Name, place)
				}
				if a.StatusCode != 429 || a.Code != kind.code || a.Detail != detail {
					t.Fatalf("answer = %d %s %q, want 429 %s %q", a.StatusCode, a.Code, a.Detail, kind.code, detail)
				}
				if retry, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || retry < kind.retry[0] || retry > kind.retry[1] {
					t.Errorf("Retry-After = %q, want %d to %d", a.Header.Get("Retry-After"), kind.retry[0], kind.retry[1])
				}
				policy, rate := a.Header.Get("RateLimit-Policy"), a.Header.Get("RateLimit")
				if place == limits.Version {
					if policy != "" || rate != "" || a.Limit != nil {
						t.Errorf("of the version's limit the client is told %q, %q and %+v", policy, rate, a.Limit)
					}
				} else {
					want := kind.want
					want.Place = place.String()
					if a.Limit != nil {
						want.Reset = a.Limit.Reset
					}
					if a.Limit == nil || *a.Limit != want || policy != kind.policy || !strings.HasPrefix(rate, kind.rate) {
						t.Errorf("the client is told %+v, %s and %s, want %+v, %s and %s", a.Limit, policy, rate, want, kind.policy, kind.rate)
					}
				}
				f := w.explained(a)
				if f.Limit == nil || !strings.HasPrefix(f.Limit.Words, kind.words) {
					t.Fatalf("noted is %+v, want that it is %s", f.Limit, kind.words)
				}
				if want := (refusal.Limit{Kind: kind.kind, Unit: kind.unit, Place: place, Plan: "plans/two", Name: kind.want.Name, Words: f.Limit.Words}); *f.Limit != want {
					t.Errorf("noted is %+v, want %+v", f.Limit, want)
				}
				if want := (throttle.Plans{Plan: plans[0], ApplicationPlan: plans[1], TrafficPlan: plans[2]}); f.Plans == nil || *f.Plans != want {
					t.Errorf("noted are the plans %+v, want %+v", f.Plans, want)
				}
				if full, want := f.Problem.Full(), place.Limit()+" is reached"; full != want {
					t.Errorf("all who read the record read %q, want %q", full, want)
				}
				if text := fmt.Sprint(a.Header) + a.text; place == limits.Version && strings.Contains(text, kind.want.Name) {
					t.Errorf("the client is told the version's limit: %s", text)
				}
			})
		}
	}
}

// TestReplacedBeforeItBegan: a handshake whose seat another got is refused by that limit.
func TestReplacedBeforeItBegan(t *testing.T) {
	w := newWorld(t, nil)
	w.subscribe("", "")
	w.serve(newEcho(t, nil).url)
	for place, detail := range map[limits.Place]string{
		limits.Subscription: "another connection got the seat", limits.Version: "the API's own limit is reached",
	} {
		limit := limits.NewNamed(limits.KindConnections, limits.Terms{Place: place, Plan: "plans/p", Name: "seats"})
		why := ending.New(ending.Replaced, "in the record")
		why.Limit = limit
		w.grants.confirm = func(s grant.Session) error { s.End(why); return s.Err() }
		a := w.ask("/echo/1.0.0", asSubscriber)
		f := w.explained(a)
		want := refusal.Limit{Kind: limits.KindConnections, Place: place, Plan: "plans/p", Name: "seats"}
		if a.StatusCode != 429 || a.Code != "CONNECTIONS_FULL" || a.Detail != detail || f.Problem.Full() != "in the record" || f.Limit == nil || *f.Limit != want {
			t.Errorf("%v: answer = %d %s %q, noted are %q and %+v, want 429 CONNECTIONS_FULL %q and %+v", place, a.StatusCode, a.Code, a.Detail, f.Problem.Full(), f.Limit, detail, want)
		}
	}
}

// TestPlanUnknown: a plan that is not known is fetched; without it nobody gets in, and with
// one that is not understood neither.
func TestPlanUnknown(t *testing.T) {
	w := newWorld(t, nil)
	w.serve(newEcho(t, nil).url, func(r *routes.Route) {
		r.Schemes = []credential.Scheme{{Type: credential.None}}
		r.Limits.TrafficPlan = "plans/new"
	})
	const detail = "the gateway does not know the limits of the plan yet"
	unknown := func(why string) {
		t.Helper()
		a := w.ask("/echo/1.0.0", "")
		if a.StatusCode != 503 || a.Code != "PLAN_UNKNOWN" || a.Header.Get("Retry-After") != "2" {
			t.Errorf("answer = %d %s, Retry-After %s, want 503 PLAN_UNKNOWN and 2", a.StatusCode, a.Code, a.Header.Get("Retry-After"))
		}
		f := w.explained(a)
		if full := f.Problem.Full(); a.Detail != detail || full != detail {
			t.Errorf("client and record are told %q and %q, want %q", a.Detail, full, detail)
		}
		if want := (refusal.Limit{Place: limits.Version, Plan: "plans/new", Words: why, Unknown: true}); f.Limit == nil || *f.Limit != want || f.Limit.Refused() {
			t.Errorf("noted is %+v, want %+v", f.Limit, want)
		}
	}
	unknown("the plan is not known yet")
	w.plan("new", &catalogv1.Limit{Name: "newer"})
	unknown(`this gateway does not understand the plan: limit "newer": a kind that this gateway does not know`)
	w.plan("new", connections(1, catalogv1.Limit_REACTION_REFUSE))
	w.open("")
	if a := w.ask("/echo/1.0.0", ""); a.Code != "CONNECTIONS_FULL" {
		t.Errorf("answer = %d %s, want CONNECTIONS_FULL", a.StatusCode, a.Code)
	}
}

// TestSeatsComeBack: however a handshake that got a seat fails, and a session ends.
func TestSeatsComeBack(t *testing.T) {
	w := newWorld(t, nil)
	w.plan("one", connections(1, catalogv1.Limit_REACTION_REFUSE))
	w.subscribe("plans/one", "plans/one")
	echo := newEcho(t, nil).url
	served := func(url string) { w.serve(url, func(r *routes.Route) { r.Limits.TrafficPlan = "plans/one" }) }
	free := func() bool { return len(w.throttle.SeatsTaken()) == 0 }
	hangs, asked, left := silent(t)
	for name, f := range map[string]func(){
		"the backend cannot be reached": func() { served("ws://127.0.0.1:1"); w.ask("/echo/1.0.0", asSubscriber) },
		"the backend refuses":           func() { served(saying(t, "HTTP/1.1 403 X\r\n\r\n")); w.ask("/echo/1.0.0", asSubscriber) },
		"the client leaves meanwhile": func() {
			served(hangs)
			conn := w.dial(false)
			w.send(conn, request("/echo/1.0.0", asSubscriber))
			comes(t, "the dial", asked)
			_ = conn.Close()
			comes(t, "the end of the dial", left)
		},
		"the grant ends meanwhile": func() {
			served(echo)
			w.grants.confirm = func(s grant.Session) error { s.End(ending.New(ending.Revoked, "")); return s.Err() }
			w.ask("/echo/1.0.0", asSubscriber)
			w.grants.confirm = nil
		},
		"the client closes": func() { served(echo); _ = w.open(asSubscriber).Close() },
		"an operator closes": func() {
			served(echo)
			w.open(asSubscriber)
			w.sessions.EndAllOn(ending.New(ending.OperatorClose, ""), "grants/a")
		},
	} {
		f()
		eventually(t, "the seats are back after: "+name, free)
	}
	served(echo)
	w.open(asSubscriber)
}

// TestCloseOldest: from another network the same application gets in, and its oldest session
// ends with 4003 and why.
func TestCloseOldest(t *testing.T) {
	w := newWorld(t, nil)
	w.plan("two", connections(2, catalogv1.Limit_REACTION_CLOSE_OLDEST))
	w.subscribe("plans/two", "")
	w.serve(newEcho(t, nil).url)
	first, second := w.open(asSubscriber), w.open(asSubscriber)
	w.open(asSubscriber)
	if got := first.closed(w); got != "4003 REPLACED" {
		t.Errorf("the oldest got %q, want 4003 REPLACED", got)
	}
	_ = first.Close()
	r := <-w.records
	if r.Ending.Reason != ending.Replaced || r.Ending.Limit == nil || r.Ending.Limit.Name != "connections" || r.Plans == nil || r.Plans.Plan != "plans/two" {
		t.Errorf("the record says %+v of %+v", r.Ending, r.Plans)
	}
	_ = second.Close()
}

// TestSilentHolder: a session whose client is gone without a word makes room for one that
// comes again, and one whose client answers does not.
func TestSilentHolder(t *testing.T) {
	w := newWorld(t, nil)
	w.plan("one", connections(1, catalogv1.Limit_REACTION_REFUSE))
	w.subscribe("plans/one", "")
	w.serve(newEcho(t, nil).url)
	holder := w.open(asSubscriber)
	var pinged atomic.Int32
	answering := make(chan struct{})
	go func() {
		defer close(answering)
		for {
			f, err := readFrame(holder.br)
			if err != nil || f.Header.OpCode == ws.OpClose {
				return
			}
			if f.Header.OpCode == ws.OpPing {
				pinged.Add(1)
				_ = ws.WriteFrame(holder.Conn, ws.MaskFrame(ws.NewPongFrame(f.Payload)))
			}
		}
	}()
	live := w.sessions.RestingOn("grants/a")[0]
	eventually(t, "the holder is asked", func() bool {
		if a := w.ask("/echo/1.0.0", asSubscriber); a.Code != "CONNECTIONS_FULL" {
			t.Errorf("while the holder answers pings: %d %s, want CONNECTIONS_FULL", a.StatusCode, a.Code)
		}
		return pinged.Load() > 1
	})
	_ = holder.SetReadDeadline(time.Unix(1, 0)) // from now on it reads nothing
	<-answering
	eventually(t, "its seat is free", func() bool {
		conn := w.dial(false)
		w.send(conn, request("/echo/1.0.0", asSubscriber))
		return w.receive(conn).StatusCode == 101
	})
	eventually(t, "the silent session has ended", func() bool { return live.Err() != nil })
	_ = holder.Close()
	r := <-w.records
	if r.Ending.Reason != ending.Idle || !strings.Contains(r.Ending.Detail, "its seat was needed") {
		t.Errorf("the record says %+v, want IDLE", r.Ending)
	}
}

// TestTighterLimitEndsTheNewest over real sockets.
func TestTighterLimitEndsTheNewest(t *testing.T) {
	w := newWorld(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.throttle.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	}()
	w.plan("p", connections(2, catalogv1.Limit_REACTION_REFUSE))
	w.subscribe("plans/p", "")
	w.serve(newEcho(t, nil).url)
	first, second := w.open(asSubscriber), w.open(asSubscriber)
	w.plan("p", connections(1, catalogv1.Limit_REACTION_REFUSE))
	if got := second.closed(w); got != "4003 THROTTLED" {
		t.Errorf("the newest got %q, want 4003 THROTTLED", got)
	}
	w.send(first.Conn, textFrame("hello"))
	if f, err := readFrame(first.br); err != nil || f.Header.OpCode == ws.OpClose {
		t.Errorf("the oldest got %v, %v, want its echo", f, err)
	}
}

// messages is a limit of n messages in an hour, which drops.
func messages(n int64) *catalogv1.Limit {
	return &catalogv1.Limit{Name: "messages-rate", Reaction: catalogv1.Limit_REACTION_DROP, Kind: &catalogv1.Limit_Rate{Rate: &catalogv1.Rate{
		Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: n, Per: durationpb.New(time.Hour),
	}}}
}

// says returns what comes to the client next: a text message, or an error frame as its code.
func (p *peer) says(w *world) string {
	w.t.Helper()
	for {
		f, err := readFrame(p.br)
		if err != nil {
			w.t.Fatalf("nothing came: %v", err)
		}
		if f.Header.OpCode == ws.OpText {
			if strings.HasPrefix(string(f.Payload), `{"error":`) {
				return "error"
			}
			return string(f.Payload)
		}
	}
}

// TestLimitsOfALiveSession: what is changed holds for a session that lives, for the next
// message, without a close: a plan that is edited, a subscription that is moved, an
// application that is given a plan, and a version's own. What was taken stays taken.
func TestLimitsOfALiveSession(t *testing.T) {
	w := newWorld(t, nil)
	w.plan("p", messages(1))
	w.plan("big", messages(1000))
	w.plan("none")
	w.subscribe("plans/p", "")
	url := newEcho(t, nil).url
	w.serve(url)
	p := w.open(asSubscriber)
	live := w.sessions.RestingOn("grants/a")[0]
	moved := func(plan, applicationPlan string) {
		g := *live.Grant()
		g.Plan, g.ApplicationPlan = plan, applicationPlan
		live.SetGrant(&g)
	}
	n := 0
	talk := func(why, want string) {
		t.Helper()
		n++
		text := fmt.Sprint("message ", n)
		w.send(p.Conn, textFrame(text))
		got := p.says(w)
		if got == text {
			got = "echo"
		}
		if got != want {
			t.Fatalf("%s: %s came, want %s", why, got, want)
		}
	}
	// The echo is dropped, but an error frame a second at most says so: this is the first.
	talk("a plan of one message", "error")
	w.plan("p", messages(100))
	talk("a plan of 100", "echo")
	w.plan("p")
	w.plan("p", messages(100))
	moved("plans/big", "")
	talk("moved to another plan", "echo")
	moved("plans/big", "plans/p")
	talk("the application has one", "echo")
	moved("plans/none", "")
	talk("a plan without limits", "echo")
	w.serve(url, func(r *routes.Route) { r.Limits = throttle.Version{MaxMessage: 3} })
	w.send(p.Conn, textFrame("too long"))
	if got := p.closed(w); got != "1009 TOO_BIG" {
		t.Errorf("a message over the version's greatest got %q, want 1009 TOO_BIG", got)
	}
}

// TestErrorFrames: JSON where no sub-protocol was agreed, else none, unless the version says
// what they are.
func TestErrorFrames(t *testing.T) {
	for _, tt := range []struct {
		protocol string
		frames   *ending.ErrorFrames
		want     string
	}{
		{"", nil, "error"},
		{"", &ending.ErrorFrames{Template: ending.WSO2Frames}, "Error code: 4003 reason: Websocket frame throttled out"},
		{"b", &ending.ErrorFrames{Template: ending.TextFrames, Text: "slow down"}, "slow down"},
		{"b", nil, "after"},
		{"", &ending.ErrorFrames{}, "after"},
	} {
		w := newWorld(t, nil)
		w.plan("p", messages(2))
		w.subscribe("plans/p", "")
		w.serve(newEcho(t, func(e *echo) { e.protocols = []string{"b"} }).url, func(r *routes.Route) { r.Frames = tt.frames })
		more := asSubscriber
		if tt.protocol != "" {
			more += "Sec-WebSocket-Protocol: " + tt.protocol + "\r\n"
		}
		p := w.open(more)
		w.send(p.Conn, textFrame("hello"))
		if got := p.says(w); got != "hello" {
			t.Fatalf("%s came, want the echo", got)
		}
		w.send(p.Conn, textFrame("dropped"))
		if tt.want == "after" { // nothing is said of it
			live := w.sessions.RestingOn("grants/a")[0]
			eventually(t, "the message is dropped", func() bool {
				did, _ := live.Limits()
				return len(did) > 0 && did[0].Dropped == 1
			})
			w.plan("p", messages(100))
			w.send(p.Conn, textFrame("after"))
		}
		if got := p.says(w); got != tt.want {
			t.Errorf("sub-protocol %q, frames %+v: %q came, want %q", tt.protocol, tt.frames, got, tt.want)
		}
	}
}
