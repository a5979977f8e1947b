package publisher

import (
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// Kinds of health checks, as the form has them.
const (
	byHandshake = "WEBSOCKET"
	byHTTP      = "HTTP"
)

// healthEntries are the names of the entries that say more about a health check.
func healthEntries() []string {
	return []string{"health_path", "health_interval", "health_timeout", "healthy_after", "unhealthy_after"}
}

// balanceFields are the entries that say how gateways check endpoints, when they pass them
// over, and how long backends may take. Empty is always what holds by default.
func balanceFields(e *catalogv1.Endpoints) []ui.Field {
	at := []string{"version.endpoints."}
	check, timeouts := e.GetHealthCheck(), e.GetTimeouts()
	fields := []ui.Field{
		{Name: "health", Label: "Health check", Kind: "select", Value: ui.EnumEntry(check.GetKind(), "KIND_", ""), Options: []ui.Option{
			{Value: "", Text: "None"}, {Value: byHandshake, Text: "A WebSocket handshake"}, {Value: byHTTP, Text: "A GET of a path"},
		}, Hint: "Each gateway checks each endpoint, whether or not clients connect. Without one, handshakes of clients tell whether it works.",
			Paths: []string{"version.endpoints.health_check"}},
		{Name: "health_path", Label: "Path of the health check", Code: true, Max: 1024, Value: check.GetHttpPath(), Placeholder: "/healthz",
			Hint: "Only for a GET. Its answer must be a status from 200 to 299.", Paths: []string{"version.endpoints.health_check", "version.endpoints.health_check.http_path"}},
	}
	return append(append(fields, choiceFields(at, e)...),
		choiceField(at, "handshake", "Handshake time-out", span(timeouts.GetHandshake()), "", "To connect and to answer the handshake; 100 ms to 1 min.", "timeouts", "handshake"))
}

// choiceField is an entry about a field of a message of endpoints, which are at a path: the last
// of at; a change of it is one of the first.
func choiceField(at []string, name, label, value, byDefault, hint, message, field string) ui.Field {
	of := at[len(at)-1] + message
	paths := append(slices.Clone(at[:len(at)-1]), of, of+"."+field)
	return ui.Field{Name: name, Label: label, Max: 20, Value: value, Placeholder: byDefault, Hint: hint, Paths: paths}
}

// choiceFields are those entries that endpoints for plain requests have, too.
func choiceFields(at []string, e *catalogv1.Endpoints) []ui.Field {
	check, suspension, timeouts := e.GetHealthCheck(), e.GetSuspension(), e.GetTimeouts()
	factor := ""
	if suspension.GetFactor() != 0 {
		factor = strconv.FormatFloat(suspension.GetFactor(), 'g', -1, 64)
	}
	entry := func(name, label, value, byDefault, hint, message, field string) ui.Field {
		return choiceField(at, name, label, value, byDefault, hint, message, field)
	}
	return []ui.Field{
		entry("health_interval", "Interval", span(check.GetInterval()), "10 s", "From a check to the next, 1 s to 1 h.", "health_check", "interval"),
		entry("health_timeout", "Time-out of a check", span(check.GetTimeout()), "3 s", "100 ms to 30 s.", "health_check", "timeout"),
		entry("healthy_after", "Checks that must succeed", number(check.GetHealthyAfter()), "1", "In a row, before a suspended endpoint is taken again; 1 to 10.", "health_check", "healthy_after"),
		entry("unhealthy_after", "Checks that must fail", number(check.GetUnhealthyAfter()), "3", "In a row, before an endpoint is suspended; 1 to 10.", "health_check", "unhealthy_after"),
		entry("failures", "Failures before suspension", number(suspension.GetFailures()), "1", "In a row; 1 to 100.", "suspension", "failures"),
		entry("first", "Initial duration", span(suspension.GetFirst()), "1 s", "How long an endpoint is suspended first, 100 ms to 1 h.", "suspension", "first"),
		entry("longest", "Maximum duration", span(suspension.GetLongest()), "30 s", "How long it is suspended at most, 100 ms to 1 h.", "suspension", "longest"),
		entry("factor", "Factor", factor, "2", "By which each suspension is longer than the one before, 1 to 10.", "suspension", "factor"),
		entry("dial", "Connection time-out", span(timeouts.GetDial()), "", "To connect, TLS included; 100 ms to 1 min, and never more than gateways allow.", "timeouts", "dial"),
	}
}

// setBalance puts the entries into next; was is what is stored. What is wrong with one is
// said at the entry.
func setBalance(form *ui.Form, was, next *catalogv1.Endpoints) {
	next.HealthCheck = healthCheck(form, was)
	setChoice(form, next)
	if handshake := form.Span("handshake"); handshake != nil {
		if next.Timeouts == nil {
			next.Timeouts = &catalogv1.Timeouts{}
		}
		next.Timeouts.Handshake = handshake
	}
}

// setChoice puts the entries about suspensions and connecting into next.
func setChoice(form *ui.Form, next *catalogv1.Endpoints) {
	next.Suspension, next.Timeouts = nil, nil
	s := &catalogv1.Suspension{Failures: count(form, "failures", 100), First: form.Span("first"), Longest: form.Span("longest"), Factor: form.Decimal("factor")}
	if proto.Size(s) > 0 {
		next.Suspension = s
	}
	if dial := form.Span("dial"); dial != nil {
		next.Timeouts = &catalogv1.Timeouts{Dial: dial}
	}
}

// healthCheck is the one that the entries say, nil for none. What is left over of the one
// that is stored goes with it.
func healthCheck(form *ui.Form, was *catalogv1.Endpoints) *catalogv1.HealthCheck {
	kind := form.Enum("health", "KIND_", catalogv1.HealthCheck_Kind_value)
	if form.Get("health") == "" {
		noCheck(form, balanceFields(was), healthEntries(), "choose one")
		return nil
	}
	if form.Get("health") != byHTTP {
		form.Leave("health_path", was.GetHealthCheck().GetHttpPath())
	}
	switch path := form.Get("health_path"); {
	case form.Get("health") == byHTTP && path == "":
		form.Wrong("health_path", "is needed for a GET, such as /healthz")
	case form.Get("health") == byHandshake && path != "":
		form.Wrong("health_path", "must be empty where the check is a WebSocket handshake")
	}
	return checkEntries(form, catalogv1.HealthCheck_Kind(kind))
}

// httpCheck is the health check of endpoints for plain requests: a GET of a path, nil for none.
func httpCheck(form *ui.Form, was *catalogv1.Endpoints) *catalogv1.HealthCheck {
	if form.Get("health_path") == "" {
		noCheck(form, choiceFields([]string{""}, was), healthEntries()[1:], "say its path")
		return nil
	}
	return checkEntries(form, catalogv1.HealthCheck_KIND_HTTP)
}

// noCheck says what is wrong with entries that say more about a health check where there is
// none. What is left over of the one that is stored is not.
func noCheck(form *ui.Form, stored []ui.Field, names []string, how string) {
	for _, f := range stored {
		if !slices.Contains(names, f.Name) {
			continue
		}
		if form.Leave(f.Name, f.Value); form.Get(f.Name) != "" {
			form.Wrong(f.Name, "is only for a health check: "+how+", or leave this empty")
		}
	}
}

// checkEntries is the health check of a kind that the entries say.
func checkEntries(form *ui.Form, kind catalogv1.HealthCheck_Kind) *catalogv1.HealthCheck {
	return &catalogv1.HealthCheck{
		Kind: kind, HttpPath: form.Get("health_path"), Interval: form.Span("health_interval"), Timeout: form.Span("health_timeout"),
		HealthyAfter: count(form, "healthy_after", 10), UnhealthyAfter: count(form, "unhealthy_after", 10),
	}
}

// count returns an entry that is a number from 1 to most, 0 for none. What is none is said at
// the entry.
func count(form *ui.Form, name string, most int32) int32 {
	n := form.Number(name)
	if n < 0 || n > int64(most) || n == 0 && form.Get(name) != "" {
		form.Wrong(name, "must be a whole number from 1 to "+strconv.Itoa(int(most)))
		return 0
	}
	return int32(n)
}

// span is a length of time as the form has it, empty for none.
func span(d *durationpb.Duration) string {
	if d == nil {
		return ""
	}
	return ui.Span(d.AsDuration())
}

// number is a number as the form has it, empty for 0.
func number(n int32) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(int(n))
}
