package metrics

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := New(reg)
	m.Gauges(func() int { return 3 }, func() int { return 9 }, func() int { return 2 }, func() int { return 1 }, func() int { return 4 })
	m.Watch(Routes, func() error { return nil }, func() uint64 { return 9 })
	m.Watch(Grants, func() error { return errors.New("away") }, func() uint64 { return 4 })
	m.Handshake(101)
	m.Handshake(0)
	m.Handshake(7777)
	m.Attempt(Failed)
	m.Suspended()
	m.EndpointChecked(true)
	m.Endpoints(func(s balance.State) int { return 5 + int(s) })
	m.SessionEnded(ending.Revoked)
	m.SessionEnded(255)
	m.Relayed(Inbound, 2, 30)
	m.Lookup(Hit)
	m.Dropped(Records, 5)
	m.Plans(func() map[string]int { return map[string]int{"plans/gold": 7, "plans/silver": 1} })
	m.Limited(&ending.LimitCount{
		Limit:  &limits.Limit{Terms: &limits.Terms{Unit: limits.Bytes}},
		Pauses: 2, Paused: 1500 * time.Millisecond, Dropped: 3, Closed: 1, Hits: 4,
	})
	m.Limited(&ending.LimitCount{Limit: limits.NewNamed(limits.KindConnections, limits.Terms{}), Closed: 1})
	m.Limited(&ending.LimitCount{Limit: limits.NewNamed(200, limits.Terms{}), Closed: 1})
	m.RefusedByLimit(limits.KindQuota, limits.Sessions)
	m.RefusedByLimit(limits.KindRate, limits.Messages)
	m.HTTP(func() int { return 11 }, func() int { return 12 }, func() int { return 13 })
	m.Request(204)
	m.RequestRefused(429, "REQUEST_RATE")
	m.RefusedByLimit(limits.KindRate, limits.Sessions) // there is no such limit
	want := `
# HELP tidegate_backend_attempts_total Attempts of handshakes and plain requests at endpoints, by result.
# TYPE tidegate_backend_attempts_total counter
tidegate_backend_attempts_total{result="connected"} 0
tidegate_backend_attempts_total{result="failed"} 1
tidegate_backend_attempts_total{result="given_up"} 0
tidegate_backend_attempts_total{result="refused"} 0
tidegate_backend_attempts_total{result="too_many"} 0
# HELP tidegate_backend_dials Connections to backends that are being opened.
# TYPE tidegate_backend_dials gauge
tidegate_backend_dials 1
# HELP tidegate_bytes_total Bytes of data frames relayed, headers too, by direction.
# TYPE tidegate_bytes_total counter
tidegate_bytes_total{direction="inbound"} 30
# HELP tidegate_deny_rules Deny rules that are held, those that have expired and are not deleted yet too.
# TYPE tidegate_deny_rules gauge
tidegate_deny_rules 4
# HELP tidegate_endpoint_checks_total Health checks of endpoints, by result.
# TYPE tidegate_endpoint_checks_total counter
tidegate_endpoint_checks_total{result="failed"} 0
tidegate_endpoint_checks_total{result="good"} 1
# HELP tidegate_endpoint_suspensions_total Suspensions of endpoints that failed.
# TYPE tidegate_endpoint_suspensions_total counter
tidegate_endpoint_suspensions_total 1
# HELP tidegate_endpoints Endpoints of published versions, by whether they work.
# TYPE tidegate_endpoints gauge
tidegate_endpoints{state="healthy"} 5
tidegate_endpoints{state="on_trial"} 7
tidegate_endpoints{state="suspended"} 6
# HELP tidegate_grant_lookups_total Look-ups of grants, by result.
# TYPE tidegate_grant_lookups_total counter
tidegate_grant_lookups_total{result="hit"} 1
# HELP tidegate_handshakes_in_progress Handshakes that are not answered yet.
# TYPE tidegate_handshakes_in_progress gauge
tidegate_handshakes_in_progress 2
# HELP tidegate_handshakes_refused_total Handshakes and plain requests refused, by the code of the answer.
# TYPE tidegate_handshakes_refused_total counter
tidegate_handshakes_refused_total{code="REQUEST_RATE"} 1
# HELP tidegate_handshakes_total Handshakes answered, by HTTP status; 0 is a client that left.
# TYPE tidegate_handshakes_total counter
tidegate_handshakes_total{status="0"} 1
tidegate_handshakes_total{status="101"} 1
tidegate_handshakes_total{status="other"} 1
# HELP tidegate_messages_total Data messages relayed, by direction.
# TYPE tidegate_messages_total counter
tidegate_messages_total{direction="inbound"} 2
# HELP tidegate_paused_seconds_total How long sessions were paused, by kind of limit.
# TYPE tidegate_paused_seconds_total counter
tidegate_paused_seconds_total{limit="bytes_rate"} 1.5
tidegate_paused_seconds_total{limit="messages_rate"} 0
# HELP tidegate_plan_connections Connections of clients, in their handshake or live, by a plan that holds for them.
# TYPE tidegate_plan_connections gauge
tidegate_plan_connections{plan="plans/gold"} 7
tidegate_plan_connections{plan="plans/silver"} 1
# HELP tidegate_reports_dropped_total Rows of usage and session records that were dropped instead of reported.
# TYPE tidegate_reports_dropped_total counter
tidegate_reports_dropped_total{kind="records"} 5
# HELP tidegate_request_backend_connections Connections to backends for plain requests, also those that are kept for another one.
# TYPE tidegate_request_backend_connections gauge
tidegate_request_backend_connections 13
# HELP tidegate_request_connections Connections of clients that have sent plain requests, also those that are kept for another one.
# TYPE tidegate_request_connections gauge
tidegate_request_connections 12
# HELP tidegate_requests_in_progress Plain requests that are not answered yet, or not to the end.
# TYPE tidegate_requests_in_progress gauge
tidegate_requests_in_progress 11
# HELP tidegate_requests_total Plain requests that are over, by HTTP status; 0 is one whose client left or that was cut before its answer began.
# TYPE tidegate_requests_total counter
tidegate_requests_total{status="200"} 0
tidegate_requests_total{status="204"} 1
tidegate_requests_total{status="429"} 1
# HELP tidegate_sessions Live sessions, each with a connection to its client and one to its backend.
# TYPE tidegate_sessions gauge
tidegate_sessions 3
# HELP tidegate_sessions_ended_total Sessions ended, by end reason.
# TYPE tidegate_sessions_ended_total counter
tidegate_sessions_ended_total{reason="REVOKED"} 1
tidegate_sessions_ended_total{reason="other"} 1
# HELP tidegate_sessions_max Sessions that there may be at once; 0 is any number.
# TYPE tidegate_sessions_max gauge
tidegate_sessions_max 9
# HELP tidegate_throttles_total What limits of plans did: pauses, messages dropped, sessions closed, handshakes and plain requests refused, and hits of limits on observe, by kind of limit and reaction.
# TYPE tidegate_throttles_total counter
tidegate_throttles_total{limit="bytes_quota",reaction="close"} 0
tidegate_throttles_total{limit="bytes_quota",reaction="drop"} 0
tidegate_throttles_total{limit="bytes_quota",reaction="observe"} 0
tidegate_throttles_total{limit="bytes_quota",reaction="refuse"} 0
tidegate_throttles_total{limit="bytes_rate",reaction="close"} 1
tidegate_throttles_total{limit="bytes_rate",reaction="drop"} 3
tidegate_throttles_total{limit="bytes_rate",reaction="observe"} 4
tidegate_throttles_total{limit="bytes_rate",reaction="pause"} 2
tidegate_throttles_total{limit="bytes_rate",reaction="refuse"} 0
tidegate_throttles_total{limit="connections",reaction="close"} 1
tidegate_throttles_total{limit="connections",reaction="observe"} 0
tidegate_throttles_total{limit="connections",reaction="refuse"} 0
tidegate_throttles_total{limit="handshakes_rate",reaction="observe"} 0
tidegate_throttles_total{limit="handshakes_rate",reaction="refuse"} 0
tidegate_throttles_total{limit="message_size",reaction="close"} 0
tidegate_throttles_total{limit="messages_quota",reaction="close"} 0
tidegate_throttles_total{limit="messages_quota",reaction="drop"} 0
tidegate_throttles_total{limit="messages_quota",reaction="observe"} 0
tidegate_throttles_total{limit="messages_quota",reaction="refuse"} 0
tidegate_throttles_total{limit="messages_rate",reaction="close"} 0
tidegate_throttles_total{limit="messages_rate",reaction="drop"} 0
tidegate_throttles_total{limit="messages_rate",reaction="observe"} 0
tidegate_throttles_total{limit="messages_rate",reaction="pause"} 0
tidegate_throttles_total{limit="messages_rate",reaction="refuse"} 1
tidegate_throttles_total{limit="other",reaction="close"} 1
tidegate_throttles_total{limit="other",reaction="refuse"} 1
tidegate_throttles_total{limit="session_age",reaction="close"} 0
tidegate_throttles_total{limit="sessions_quota",reaction="observe"} 0
tidegate_throttles_total{limit="sessions_quota",reaction="refuse"} 1
# HELP tidegate_watch_applied Number of the last change that a watch applied.
# TYPE tidegate_watch_applied gauge
tidegate_watch_applied{watch="grants"} 4
tidegate_watch_applied{watch="routes"} 9
# HELP tidegate_watch_connected 1 while a watch of the control plane is open.
# TYPE tidegate_watch_connected gauge
tidegate_watch_connected{watch="grants"} 0
tidegate_watch_connected{watch="routes"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
