// Package metrics names what a gateway measures. Its callers decide what is
// counted, and when. No metric has a label whose values grow with the number of
// APIs, applications or sessions; that of plans grows with those in use.
package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// Values of the label "watch".
const (
	Routes = "routes"
	Grants = "grants"
	Users  = "users"
)

// Results of a look-up of a grant.
const (
	Hit         = "hit"         // a cached grant
	HitDenial   = "hit_denial"  // a cached denial
	Miss        = "miss"        // asked the control plane, or waited for the same question
	Busy        = "busy"        // refused: too many look-ups under way
	Unavailable = "unavailable" // the control plane gave no answer
)

// Kinds of what is dropped.
const (
	Usage   = "usage"
	Records = "records"
	LeftOut = "left_out" // counts of records
)

// What came of an attempt at an endpoint.
const (
	Connected = "connected" // it took the handshake
	Refused   = "refused"   // its answer was for the client
	Failed    = "failed"    // the next one was tried, if there was one
	TooMany   = "too_many"  // it was passed over: too many handshakes for it in progress
	GivenUp   = "given_up"  // the handshake ended otherwise meanwhile
)

// What came of a health check.
const (
	good   = "good"
	failed = "failed"
)

// Directions of traffic.
const (
	Inbound  = "inbound"  // from clients to backends
	Outbound = "outbound" // from backends to clients
)

// other is the label's value for a status that is not among the known ones.
const other = "other"

// Metrics are the gateway's counters. They are safe for concurrent use.
type Metrics struct {
	handshakes *prometheus.CounterVec
	refused    *prometheus.CounterVec
	requests   *prometheus.CounterVec
	ended      *prometheus.CounterVec
	messages   *prometheus.CounterVec
	bytes      *prometheus.CounterVec
	lookups    *prometheus.CounterVec
	dropped    *prometheus.CounterVec
	throttles  *prometheus.CounterVec
	paused     *prometheus.CounterVec
	attempts   *prometheus.CounterVec
	suspended  prometheus.Counter
	checks     *prometheus.CounterVec
	reg        prometheus.Registerer
}

// New registers the counters.
func New(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		reg.MustRegister(c)
		return c
	}
	m := &Metrics{
		reg:        reg,
		handshakes: counter("tidegate_handshakes_total", "Handshakes answered, by HTTP status; 0 is a client that left.", "status"),
		refused:    counter("tidegate_handshakes_refused_total", "Handshakes and plain requests refused, by the code of the answer.", "code"),
		requests: counter("tidegate_requests_total",
			"Plain requests that are over, by HTTP status; 0 is one whose client left or that was cut before its answer began.", "status"),
		ended:    counter("tidegate_sessions_ended_total", "Sessions ended, by end reason.", "reason"),
		messages: counter("tidegate_messages_total", "Data messages relayed, by direction.", "direction"),
		bytes:    counter("tidegate_bytes_total", "Bytes of data frames relayed, headers too, by direction.", "direction"),
		lookups:  counter("tidegate_grant_lookups_total", "Look-ups of grants, by result.", "result"),
		dropped:  counter("tidegate_reports_dropped_total", "Rows of usage and session records that were dropped instead of reported.", "kind"),
		throttles: counter("tidegate_throttles_total",
			"What limits of plans did: pauses, messages dropped, sessions closed, handshakes and plain requests refused, and hits of limits on observe, by kind of limit and reaction.", "limit", "reaction"),
		paused:   counter("tidegate_paused_seconds_total", "How long sessions were paused, by kind of limit.", "limit"),
		attempts: counter("tidegate_backend_attempts_total", "Attempts of handshakes and plain requests at endpoints, by result.", "result"),
		checks:   counter("tidegate_endpoint_checks_total", "Health checks of endpoints, by result.", "result"),
		suspended: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidegate_endpoint_suspensions_total", Help: "Suspensions of endpoints that failed.",
		}),
	}
	reg.MustRegister(m.suspended)
	for _, result := range []string{Connected, Refused, Failed, TooMany, GivenUp} {
		m.attempts.WithLabelValues(result)
	}
	m.requests.WithLabelValues("200")
	for _, result := range []string{good, failed} {
		m.checks.WithLabelValues(result)
	}
	for limit, reactions := range throttles {
		for _, reaction := range reactions {
			m.throttles.WithLabelValues(limit, reaction)
			if reaction == pause {
				m.paused.WithLabelValues(limit)
			}
		}
	}
	return m
}

// Gauges registers the gauges, whose values are read at each scrape: live sessions and
// how many there may be, handshakes in progress, dials of backends in progress, deny rules.
func (m *Metrics) Gauges(sessions, most, handshakes, dials, rules func() int) {
	gauge := func(name, help string, value func() int) {
		m.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(value()) }))
	}
	gauge("tidegate_sessions", "Live sessions, each with a connection to its client and one to its backend.", sessions)
	gauge("tidegate_sessions_max", "Sessions that there may be at once; 0 is any number.", most)
	gauge("tidegate_handshakes_in_progress", "Handshakes that are not answered yet.", handshakes)
	gauge("tidegate_backend_dials", "Connections to backends that are being opened.", dials)
	gauge("tidegate_deny_rules", "Deny rules that are held, those that have expired and are not deleted yet too.", rules)
}

// Certificates registers the gauge of certificates of the gateway's own whose files cannot be
// used as they are; failed looks at them at each scrape.
func (m *Metrics) Certificates(failed func() int) {
	m.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tidegate_certificates_failed", Help: "Certificates for clients whose files cannot be used as they are now; what they had before stays in use.",
	}, func() float64 { return float64(failed()) }))
}

// HTTP registers the gauges of plain requests, whose values are read at each scrape: requests
// in progress, connections of their clients, and connections to their backends.
func (m *Metrics) HTTP(requests, clients, backends func() int) {
	gauge := func(name, help string, value func() int) {
		m.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(value()) }))
	}
	gauge("tidegate_requests_in_progress", "Plain requests that are not answered yet, or not to the end.", requests)
	gauge("tidegate_request_connections", "Connections of clients that have sent plain requests, also those that are kept for another one.", clients)
	gauge("tidegate_request_backend_connections", "Connections to backends for plain requests, also those that are kept for another one.", backends)
}

// Endpoints registers the gauges of endpoints by state, whose values count returns at each
// scrape.
func (m *Metrics) Endpoints(count func(balance.State) int) {
	for state, label := range map[balance.State]string{balance.Healthy: "healthy", balance.Suspended: "suspended", balance.OnTrial: "on_trial"} {
		m.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tidegate_endpoints", Help: "Endpoints of published versions, by whether they work.", ConstLabels: prometheus.Labels{"state": label},
		}, func() float64 { return float64(count(state)) }))
	}
}

// Handshake counts a handshake by the status it was answered with.
func (m *Metrics) Handshake(status int) { m.handshakes.WithLabelValues(statusLabel(status)).Inc() }

// Request counts a plain request by the status it was answered with, 0 for none.
func (m *Metrics) Request(status int) { m.requests.WithLabelValues(statusLabel(status)).Inc() }

// RequestRefused counts a plain request that was refused, by the status and the
// code of the answer.
func (m *Metrics) RequestRefused(status int, code string) {
	m.Request(status)
	m.refused.WithLabelValues(code).Inc()
}

func statusLabel(status int) string {
	if status == 0 || status >= 100 && status < 600 {
		return strconv.Itoa(status)
	}
	return other
}

// Refused counts a handshake that was refused, by the status and the code of the answer.
func (m *Metrics) Refused(status int, code string) {
	m.Handshake(status)
	m.refused.WithLabelValues(code).Inc()
}

// Attempt counts an attempt of a handshake at an endpoint by what came of it.
func (m *Metrics) Attempt(result string) { m.attempts.WithLabelValues(result).Inc() }

// Suspended counts the suspension of an endpoint.
func (m *Metrics) Suspended() { m.suspended.Inc() }

// EndpointChecked counts a health check of an endpoint.
func (m *Metrics) EndpointChecked(works bool) {
	result := failed
	if works {
		result = good
	}
	m.checks.WithLabelValues(result).Inc()
}

// SessionEnded counts the end of a session.
func (m *Metrics) SessionEnded(reason ending.Reason) {
	m.ended.WithLabelValues(reason.Label()).Inc()
}

// Relayed counts messages and bytes of one direction.
func (m *Metrics) Relayed(direction string, messages, bytes uint64) {
	m.messages.WithLabelValues(direction).Add(float64(messages))
	m.bytes.WithLabelValues(direction).Add(float64(bytes))
}

// Limited counts what a limit did.
func (m *Metrics) Limited(c *ending.LimitCount) {
	limit := limitLabel(c.Limit.Kind(), c.Limit.Unit)
	m.throttled(limit, pause, c.Pauses)
	m.throttled(limit, drop, c.Dropped)
	m.throttled(limit, closing, c.Closed)
	m.throttled(limit, observe, c.Hits)
	if c.Paused > 0 {
		m.paused.WithLabelValues(limit).Add(c.Paused.Seconds())
	}
}

// RefusedByLimit counts a handshake that a limit refused.
func (m *Metrics) RefusedByLimit(kind limits.Kind, unit limits.Unit) {
	m.throttled(limitLabel(kind, unit), refuse, 1)
}

func (m *Metrics) throttled(limit, reaction string, n uint64) {
	if n > 0 {
		m.throttles.WithLabelValues(limit, reaction).Add(float64(n))
	}
}

// Reactions, as values of a label.
const (
	pause   = "pause"
	drop    = "drop"
	closing = "close"
	refuse  = "refuse"
	observe = "observe"
)

// throttles are what each kind of limit can do. These counters begin with 0, so that the
// first time is seen as a rise.
var throttles = map[string][]string{
	"messages_rate":   {pause, drop, closing, refuse, observe},
	"bytes_rate":      {pause, drop, closing, refuse, observe},
	"handshakes_rate": {refuse, observe},
	"messages_quota":  {drop, closing, refuse, observe},
	"bytes_quota":     {drop, closing, refuse, observe},
	"sessions_quota":  {refuse, observe},
	"connections":     {closing, refuse, observe},
	"message_size":    {closing},
	"session_age":     {closing},
}

// limitLabel is the kind of a limit as the value of a label.
func limitLabel(kind limits.Kind, unit limits.Unit) string {
	label := other
	switch kind {
	case limits.KindRate:
		label = unitLabel(unit) + "_rate"
	case limits.KindQuota:
		label = unitLabel(unit) + "_quota"
	case limits.KindConnections:
		label = "connections"
	case limits.KindMessageSize:
		label = "message_size"
	case limits.KindSessionAge:
		label = "session_age"
	}
	if throttles[label] == nil {
		return other
	}
	return label
}

func unitLabel(unit limits.Unit) string {
	switch unit {
	case limits.Messages:
		return "messages"
	case limits.Bytes:
		return "bytes"
	case limits.Handshakes:
		return "handshakes"
	case limits.Sessions:
		return "sessions"
	}
	return other
}

// Plans registers the gauge of sessions by plan, which has a value for each plan that
// holds for one: inUse returns them at each scrape.
func (m *Metrics) Plans(inUse func() map[string]int) { m.reg.MustRegister(plans(inUse)) }

// plans is a Collector, because the values of its label come and go.
type plans func() map[string]int

var planConnections = prometheus.NewDesc("tidegate_plan_connections",
	"Connections of clients, in their handshake or live, by a plan that holds for them.", []string{"plan"}, nil)

// Describe implements prometheus.Collector.
func (plans) Describe(to chan<- *prometheus.Desc) { to <- planConnections }

// Collect implements prometheus.Collector.
func (inUse plans) Collect(to chan<- prometheus.Metric) {
	for plan, n := range inUse() {
		to <- prometheus.MustNewConstMetric(planConnections, prometheus.GaugeValue, float64(n), plan)
	}
}

// Lookup counts a look-up of a grant by its result.
func (m *Metrics) Lookup(result string) { m.lookups.WithLabelValues(result).Inc() }

// Dropped counts rows or records that were dropped instead of reported.
func (m *Metrics) Dropped(kind string, n int) { m.dropped.WithLabelValues(kind).Add(float64(n)) }

// Watch registers the gauges of a watch: health returns nil while it is open,
// applied the number of the last change applied.
func (m *Metrics) Watch(watch string, health func() error, applied func() uint64) {
	gauge := func(name, help string, value func() float64) {
		m.reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: name, Help: help, ConstLabels: prometheus.Labels{"watch": watch},
		}, value))
	}
	gauge("tidegate_watch_connected", "1 while a watch of the control plane is open.", func() float64 {
		if health() != nil {
			return 0
		}
		return 1
	})
	gauge("tidegate_watch_applied", "Number of the last change that a watch applied.", func() float64 { return float64(applied()) })
}
