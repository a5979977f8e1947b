package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

func connections(n int32) *catalogv1.Limit {
	return &catalogv1.Limit{Name: "connections", Kind: &catalogv1.Limit_Connections{Connections: &catalogv1.Connections{Most: n}}}
}

func greatestMessage(n int64) *catalogv1.Limit {
	return &catalogv1.Limit{Name: "message-size", Kind: &catalogv1.Limit_MessageSize{MessageSize: &catalogv1.MessageSize{Bytes: n}}}
}

// full checks that one more session is refused.
func (w *world) full(version, token string) {
	w.t.Helper()
	_, resp := w.ask(w.plain+"/x/"+version, bearer(token))
	if resp.status != http.StatusTooManyRequests || !strings.Contains(resp.body, "CONNECTIONS_FULL") {
		w.t.Errorf("one more: %d %s, want 429 CONNECTIONS_FULL", resp.status, resp.body)
	}
}

// TestPlansOfTheControlPlane: plans come with the watch of routes, and where they have not
// come are fetched; a plan that is edited, a subscription that is moved and an application
// that is given a plan reach sessions that live, within a second and without a close.
func TestPlansOfTheControlPlane(t *testing.T) {
	w := newWorld(t)
	w.plane.putPlan("one", connections(1))
	w.plane.put(w.route("1"))
	w.plane.issue("t", "subscriptions/1", time.Hour)
	w.plane.tokens["t"].plan = "plans/one"
	w.start()
	c := w.connect("1", "t")
	echoes(t, c, "hello")
	w.full("1", "t")
	w.plane.putPlan("one", connections(2))
	answers := func(want int) func() bool {
		return func() bool {
			second, status := w.dial("1", "t")
			if second != nil {
				_ = second.CloseNow()
			}
			return status == want
		}
	}
	eventually(t, "there is room for another", answers(http.StatusSwitchingProtocols))

	w.plane.mu.Lock()
	w.plane.plans["plans/fetched"] = &catalogv1.Plan{Name: "plans/fetched", Limits: []*catalogv1.Limit{connections(1)}} // no watch tells of it
	w.plane.mu.Unlock()
	w.plane.give("t", "plans/fetched", "")
	eventually(t, "it has moved to a plan that is fetched", answers(http.StatusTooManyRequests))
	w.plane.give("t", "plans/nobody-knows", "")
	eventually(t, "it has moved to a plan that nobody knows", answers(http.StatusServiceUnavailable))
	echoes(t, c, "still there")

	w.plane.putPlan("short", greatestMessage(5))
	w.plane.give("t", "plans/one", "plans/short")
	eventually(t, "the application has a plan", func() bool {
		second, _ := w.dial("1", "t")
		if second == nil {
			return false
		}
		defer func() { _ = second.CloseNow() }()
		if err := second.Write(t.Context(), websocket.MessageText, []byte("too long")); err != nil {
			return false
		}
		_, _, err := second.Read(t.Context())
		return websocket.CloseStatus(err) == websocket.StatusMessageTooBig
	})
	echoes(t, c, "short")
	if err := c.Write(t.Context(), websocket.MessageText, []byte("too long")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("the live session got %v for a message over the application's greatest, want 1009", err)
	}
}

// TestPlansOnDisk: a gateway that starts while the control plane is away holds the plan of
// a version that asks for no credential.
func TestPlansOnDisk(t *testing.T) {
	w := newWorld(t)
	w.plane.putPlan("one", connections(1))
	open := w.open()
	open.TrafficPlan = "plans/one"
	w.plane.put(open)
	w.start()
	echoes(t, w.connect("open", ""), "hello")
	w.full("open", "")
	if err := w.shut(); err != nil {
		t.Fatalf("Run = %v", err)
	}
	w.plane.away()
	w.start()
	echoes(t, w.connect("open", ""), "served from disk")
	w.full("open", "")
	w.plane.back()
}
