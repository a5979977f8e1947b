package beside

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
)

func rate(unit catalogv1.Unit, n int64, more func(*catalogv1.Limit)) *catalogv1.Limit {
	l := &catalogv1.Limit{Name: "rate", Reaction: catalogv1.Limit_REACTION_PAUSE, Kind: &catalogv1.Limit_Rate{Rate: &catalogv1.Rate{Unit: unit, Amount: n, Burst: n, Per: durationpb.New(time.Hour)}}}
	if more != nil {
		more(l)
	}
	return l
}

func quota(unit catalogv1.Unit, n int64) *catalogv1.Limit {
	return &catalogv1.Limit{Name: "quota", Reaction: catalogv1.Limit_REACTION_CLOSE, Kind: &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{Unit: unit, Amount: n, Window: catalogv1.Quota_WINDOW_DAY}}}
}

// TestPlans has a plan that passes some of what a client sends: what is refused is refused
// before its body is read, whatever the limit's reaction is.
func TestPlans(t *testing.T) {
	reaction := func(r catalogv1.Limit_Reaction) func(*catalogv1.Limit) {
		return func(l *catalogv1.Limit) { l.Reaction = r }
	}
	direction := func(d catalogv1.Direction) func(*catalogv1.Limit) {
		return func(l *catalogv1.Limit) { l.GetRate().Direction = d }
	}
	for name, tt := range map[string]struct {
		limit  *catalogv1.Limit
		bodies []int // of requests, which pass; the next one is refused
		code   string
	}{
		"messages, paused":         {rate(catalogv1.Unit_UNIT_MESSAGES, 3, nil), []int{0, 10, 0}, "REQUEST_RATE"},
		"messages, closed":         {rate(catalogv1.Unit_UNIT_MESSAGES, 2, reaction(catalogv1.Limit_REACTION_CLOSE)), []int{0, 10}, "REQUEST_RATE"},
		"messages, dropped":        {rate(catalogv1.Unit_UNIT_MESSAGES, 2, reaction(catalogv1.Limit_REACTION_DROP)), []int{10, 10}, "REQUEST_RATE"},
		"a quota of messages":      {quota(catalogv1.Unit_UNIT_MESSAGES, 3), []int{0, 0, 0}, "REQUEST_QUOTA"},
		"bytes both ways":          {rate(catalogv1.Unit_UNIT_BYTES, 1000, nil), []int{250, 250}, "REQUEST_RATE"},
		"bytes, into debt":         {rate(catalogv1.Unit_UNIT_BYTES, 1000, nil), []int{900}, "REQUEST_RATE"},
		"bytes from the client":    {rate(catalogv1.Unit_UNIT_BYTES, 1000, direction(catalogv1.Direction_DIRECTION_FROM_CLIENT)), []int{500, 500}, "REQUEST_RATE"},
		"bytes from the backend":   {rate(catalogv1.Unit_UNIT_BYTES, 1000, direction(catalogv1.Direction_DIRECTION_FROM_BACKEND)), []int{500, 500}, "REQUEST_RATE"},
		"a quota of bytes":         {quota(catalogv1.Unit_UNIT_BYTES, 1000), []int{500}, "REQUEST_QUOTA"},
		"bytes of a great message": {rate(catalogv1.Unit_UNIT_BYTES, 1000, nil), []int{5000}, "REQUEST_RATE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.throttle.SetPlans([]*catalogv1.Plan{{Name: "plans/gold", Limits: []*catalogv1.Limit{tt.limit}}}, nil)
			asked := make(chan struct{}, 100)
			w.serve(w.route(backend(t, func(rw http.ResponseWriter, r *http.Request) {
				asked <- struct{}{}
				echo(rw, r)
			})))
			c := w.dial()
			for i, n := range tt.bodies {
				if a := c.ask("POST", "/echo/1.0.0", good+"Content-Length: "+strconv.Itoa(n)+"\r\n\r\n"+strings.Repeat("x", n)); a.StatusCode != 200 || len(a.text) != n {
					t.Fatalf("request %d with %d bytes: %s %s", i, n, a.Status, a.text)
				}
			}
			a := c.ask("GET", "/echo/1.0.0", good+"\r\n")
			if a.StatusCode != 429 || a.Code != tt.code || a.Header.Get("Retry-After") == "" || a.Close || !strings.Contains(a.text, `"limit":{"name":"`+tt.limit.GetName()) {
				t.Errorf("the next one: %s %s %v", a.Status, a.text, a.Header)
			}
			a = c.ask("POST", "/echo/1.0.0", good+"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n") // whose body never comes
			if a.StatusCode != 429 || !a.Close {
				t.Errorf("one with a body: %s %s", a.Status, a.text)
			}
			c.ends()
			if n := len(asked); n != len(tt.bodies) {
				t.Errorf("the backend was asked %d times, want %d", n, len(tt.bodies))
			}
			if taken := w.throttle.SeatsTaken(); len(taken) > 0 {
				t.Errorf("requests have taken connections: %v", taken)
			}
		})
	}
}

// TestOthersAreNotHeldBack: a plan's limits are its subscription's, and a plan that is edited
// lets a client go on.
func TestOthersAreNotHeldBack(t *testing.T) {
	w := newWorld(t, nil)
	set := func(n int64) {
		w.throttle.SetPlans([]*catalogv1.Plan{{Name: "plans/gold", Limits: []*catalogv1.Limit{rate(catalogv1.Unit_UNIT_MESSAGES, n, nil)}}}, nil)
	}
	set(1)
	w.serve(w.route(backend(t, echo)))
	c := w.dial()
	ask := func(token string) int {
		return c.ask("GET", "/echo/1.0.0", "Authorization: Bearer "+token+"\r\n\r\n").StatusCode
	}
	if first, second, other := ask("good"), ask("good"), ask("other"); first != 200 || second != 429 || other != 200 {
		t.Errorf("two requests of an application and one of another: %d, %d, %d", first, second, other)
	}
	set(5)
	if again := ask("good"); again != 200 {
		t.Errorf("under the greater plan: %d", again)
	}
}

// TestObserve has a limit on observe count what it would have refused, and refuse nothing.
func TestObserve(t *testing.T) {
	w := newWorld(t, nil)
	w.throttle.SetPlans([]*catalogv1.Plan{{Name: "plans/gold", Limits: []*catalogv1.Limit{
		rate(catalogv1.Unit_UNIT_MESSAGES, 1, func(l *catalogv1.Limit) { l.Observe = true }),
	}}}, nil)
	w.serve(w.route(backend(t, echo)))
	c := w.dial()
	for range 3 {
		if a := c.ask("GET", "/echo/1.0.0", good+"\r\n"); a.StatusCode != 200 {
			t.Errorf("a request: %s", a.Status)
		}
	}
	w.stop()
	w.meter.mu.Lock()
	defer w.meter.mu.Unlock()
	if len(w.meter.limits) != 1 || w.meter.limits[0].Hits != 2 || w.meter.limits[0].Limit.Kind() != limits.KindRate {
		t.Errorf("what limits did is %+v, want 2 hits", w.meter.limits)
	}
}

// TestQuotaIsWaitedFor has the slice of a quota come while a request waits for it, and not come.
func TestQuotaIsWaitedFor(t *testing.T) {
	w := newWorld(t, nil)
	w.ledger.Silent = true
	w.throttle.SetPlans([]*catalogv1.Plan{{Name: "plans/gold", Limits: []*catalogv1.Limit{quota(catalogv1.Unit_UNIT_MESSAGES, 5)}}}, nil)
	w.serve(w.route(backend(t, echo)))
	if a := w.dial().ask("GET", "/echo/1.0.0", good+"\r\n"); a.StatusCode != 503 || a.Code != "PLAN_UNKNOWN" {
		t.Errorf("without a slice: %s %s", a.Status, a.text)
	}
}

// TestBodiesAreBounded sends bodies of and over the bounds of the gateway, of a version and of a
// plan.
func TestBodiesAreBounded(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *listener.Config) { c.MaxBody = 1000 })
	second := open(w.route(backend(t, echo)))
	second.Name, second.Segment, second.Default = "apis/echo/versions/2", "2.0.0", false
	second.HTTP.MaxBody = 100
	w.serve(w.route(backend(t, echo)), second)
	post := func(c *clientConn, target string, n int, chunked bool) answer {
		if !chunked {
			return c.ask("POST", target, good+"Content-Length: "+strconv.Itoa(n)+"\r\n\r\n"+strings.Repeat("x", n))
		}
		c.send("POST " + target + " HTTP/1.1\r\nHost: h\r\n" + good + "Transfer-Encoding: chunked\r\n\r\n")
		for sent := 0; sent < n; sent += 10 {
			if _, err := io.WriteString(c, "a\r\n"+strings.Repeat("x", 10)+"\r\n"); err != nil {
				break // refused meanwhile
			}
		}
		_, _ = io.WriteString(c, "0\r\n\r\n")
		return c.receive("POST")
	}
	w.throttle.SetPlans([]*catalogv1.Plan{{Name: "plans/gold"}}, nil)
	for _, chunked := range []bool{false, true} {
		for target, most := range map[string]int{"/echo/1.0.0": 1000, "/echo/2.0.0": 100} {
			if a := post(w.dial(), target, most, chunked); a.StatusCode != 200 || len(a.text) != most {
				t.Errorf("%s, chunked %t: %d bytes: %s", target, chunked, most, a.Status)
			}
			if a := post(w.dial(), target, most+10, chunked); a.StatusCode != 413 || a.Code != "BODY_TOO_LARGE" || !a.Close {
				t.Errorf("%s, chunked %t: %d bytes: %s %s", target, chunked, most+10, a.Status, a.text)
			}
		}
	}
	w.throttle.SetPlans([]*catalogv1.Plan{{Name: "plans/gold", Limits: []*catalogv1.Limit{
		{Name: "size", Reaction: catalogv1.Limit_REACTION_CLOSE, Kind: &catalogv1.Limit_MessageSize{MessageSize: &catalogv1.MessageSize{Bytes: 50}}},
	}}}, nil)
	if a := post(w.dial(), "/echo/1.0.0", 60, false); a.StatusCode != 413 {
		t.Errorf("over the greatest message of the plan: %s", a.Status)
	}
}
