package metrics

import (
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := New(reg)
	m.Gauges(func() int { return 3 }, func() int { return 9 }, func() int { return 2 }, func() int { return 1 })
	m.Watch(Routes, func() error { return nil }, func() uint64 { return 9 })
	m.Watch(Grants, func() error { return errors.New("away") }, func() uint64 { return 4 })
	m.Handshake(101)
	m.Handshake(0)
	m.Handshake(7777)
	m.SessionEnded(ending.Revoked)
	m.SessionEnded(255)
	m.Relayed(Inbound, 2, 30)
	m.Lookup(Hit)
	m.Dropped(Records, 5)
	want := `
# HELP tidegate_backend_dials Connections to backends that are being opened.
# TYPE tidegate_backend_dials gauge
tidegate_backend_dials 1
# HELP tidegate_bytes_total Bytes of data frames relayed, headers too, by direction.
# TYPE tidegate_bytes_total counter
tidegate_bytes_total{direction="inbound"} 30
# HELP tidegate_grant_lookups_total Look-ups of grants, by result.
# TYPE tidegate_grant_lookups_total counter
tidegate_grant_lookups_total{result="hit"} 1
# HELP tidegate_handshakes_in_progress Handshakes that are not answered yet.
# TYPE tidegate_handshakes_in_progress gauge
tidegate_handshakes_in_progress 2
# HELP tidegate_handshakes_total Handshakes answered, by HTTP status; 0 is a client that left.
# TYPE tidegate_handshakes_total counter
tidegate_handshakes_total{status="0"} 1
tidegate_handshakes_total{status="101"} 1
tidegate_handshakes_total{status="other"} 1
# HELP tidegate_messages_total Data messages relayed, by direction.
# TYPE tidegate_messages_total counter
tidegate_messages_total{direction="inbound"} 2
# HELP tidegate_reports_dropped_total Rows of usage and session records that were dropped instead of reported.
# TYPE tidegate_reports_dropped_total counter
tidegate_reports_dropped_total{kind="records"} 5
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
