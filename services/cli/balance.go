package cli

import (
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// balanceFlags say how gateways choose between the endpoints of a version's socket, check them
// and give them up.
type balanceFlags struct {
	HealthCheck      *string `placeholder:"CHECK" help:"How gateways check each endpoint while nobody connects: websocket (a handshake), a path such as /healthz (an HTTP GET), or off (the default)."`
	choiceFlags      `embed:"" set:"endpoint=endpoint"`
	BackendHandshake *time.Duration `placeholder:"DURATION" help:"How long a backend may take to connect and to answer the handshake; 0 for the default."`
}

// choiceFlags are those of them that the endpoints for plain requests have, too.
type choiceFlags struct {
	HealthInterval *time.Duration `placeholder:"DURATION" help:"Time between two checks of an ${endpoint}; 0 for the default: 10s."`
	HealthTimeout  *time.Duration `placeholder:"DURATION" help:"How long a check of an ${endpoint} may take; 0 for the default: 3s."`
	HealthyAfter   *int32         `placeholder:"NUMBER" help:"How many checks in a row must succeed before a suspended ${endpoint} is taken again; 0 for the default: 1."`
	UnhealthyAfter *int32         `placeholder:"NUMBER" help:"How many checks in a row must fail before an ${endpoint} is suspended; 0 for the default: 3."`

	SuspendAfter   *int32         `placeholder:"NUMBER" help:"How many times in a row an ${endpoint} must fail before it is suspended; 0 for the default: 1."`
	SuspendFirst   *time.Duration `placeholder:"DURATION" help:"How long the first suspension of an ${endpoint} is; 0 for the default: 1s."`
	SuspendLongest *time.Duration `placeholder:"DURATION" help:"How long the longest suspension of an ${endpoint} is; 0 for the default: 30s."`
	SuspendFactor  *float64       `placeholder:"NUMBER" help:"By how much each suspension of an ${endpoint} is longer than the one before; 0 for the default: 2."`

	BackendDial *time.Duration `placeholder:"DURATION" help:"How long a connection to an ${endpoint} may take; 0 for that of the gateway."`
}

// setBalance puts what is given into endpoints, beside what was there before, and returns the
// fields of the version that it is for.
func (f *balanceFlags) setBalance(e, was *catalogv1.Endpoints) (paths []string, err error) {
	check, given, err := f.check(was.GetHealthCheck(), f.HealthCheck, healthKind)
	switch {
	case err != nil:
		return nil, err
	case given && check == nil && f.HealthCheck == nil:
		return nil, usagef("--health-check: is needed, as --health-check websocket or --health-check /healthz")
	case given:
		e.HealthCheck = check
		paths = append(paths, "endpoints.health_check")
	}
	if suspension, given := f.suspension(was.GetSuspension()); given {
		e.Suspension = suspension
		paths = append(paths, "endpoints.suspension")
	}
	timeouts, given := f.timeouts(was.GetTimeouts())
	if given = setSpan(&timeouts.Handshake, f.BackendHandshake) || given; given {
		e.Timeouts = timeouts
		paths = append(paths, "endpoints.timeouts")
	}
	return paths, nil
}

// check returns the health check with what is given beside what was there before, nil for none,
// and whether something is given; kind reads what it is, where that is given.
func (f *choiceFlags) check(was *catalogv1.HealthCheck, is *string, kind func(string) (catalogv1.HealthCheck_Kind, string, error)) (check *catalogv1.HealthCheck, given bool, err error) {
	check = cloned(was)
	given = setSpan(&check.Interval, f.HealthInterval)
	given = setSpan(&check.Timeout, f.HealthTimeout) || given
	given = setValue(&check.HealthyAfter, f.HealthyAfter) || given
	given = setValue(&check.UnhealthyAfter, f.UnhealthyAfter) || given
	if is != nil {
		given = true
		if check.Kind, check.HttpPath, err = kind(*is); err != nil {
			return nil, false, err
		}
	}
	if check.GetKind() == catalogv1.HealthCheck_KIND_UNSPECIFIED {
		check = nil
	}
	return check, given, nil
}

// suspension returns the suspension with what is given, and whether something is.
func (f *choiceFlags) suspension(was *catalogv1.Suspension) (suspension *catalogv1.Suspension, given bool) {
	suspension = cloned(was)
	given = setValue(&suspension.Failures, f.SuspendAfter)
	given = setSpan(&suspension.First, f.SuspendFirst) || given
	given = setSpan(&suspension.Longest, f.SuspendLongest) || given
	given = setValue(&suspension.Factor, f.SuspendFactor) || given
	return suspension, given
}

// timeouts returns the time-outs with what is given, and whether something is.
func (f *choiceFlags) timeouts(was *catalogv1.Timeouts) (timeouts *catalogv1.Timeouts, given bool) {
	timeouts = cloned(was)
	given = setSpan(&timeouts.Dial, f.BackendDial)
	return timeouts, given
}

// healthKind reads websocket, a path or off.
func healthKind(text string) (catalogv1.HealthCheck_Kind, string, error) {
	switch {
	case text == "off":
		return catalogv1.HealthCheck_KIND_UNSPECIFIED, "", nil
	case text == "websocket":
		return catalogv1.HealthCheck_KIND_WEBSOCKET, "", nil
	case strings.HasPrefix(text, "/"):
		return catalogv1.HealthCheck_KIND_HTTP, text, nil
	}
	return 0, "", usagef("--health-check: must be websocket, a path such as /healthz, or off")
}

// cloned returns a copy of a message, an empty one of nil.
func cloned[M interface {
	*T
	proto.Message
}, T any](m M) M {
	if m == nil {
		return new(T)
	}
	return proto.CloneOf(m)
}

// setSpan sets a duration to what is given, and reports whether it is; 0 is none.
func setSpan(to **durationpb.Duration, given *time.Duration) bool {
	if given == nil {
		return false
	}
	if *to = nil; *given != 0 {
		*to = durationpb.New(*given)
	}
	return true
}

// setValue sets a number to what is given, and reports whether it is.
func setValue[N any](to, given *N) bool {
	if given == nil {
		return false
	}
	*to = *given
	return true
}

// healthWords says how endpoints are checked; empty for not at all.
func healthWords(c *catalogv1.HealthCheck) string {
	if c == nil {
		return ""
	}
	what := "websocket"
	if c.GetKind() == catalogv1.HealthCheck_KIND_HTTP {
		what = c.GetHttpPath()
	}
	if c.GetInterval() != nil {
		what += ", every " + c.GetInterval().AsDuration().String()
	}
	if c.GetTimeout() != nil {
		what += ", within " + c.GetTimeout().AsDuration().String()
	}
	if c.GetHealthyAfter() != 0 {
		what += fmt.Sprintf(", healthy after %d", c.GetHealthyAfter())
	}
	if c.GetUnhealthyAfter() != 0 {
		what += fmt.Sprintf(", unhealthy after %d", c.GetUnhealthyAfter())
	}
	return what
}

// suspensionWords says when endpoints are suspended; empty for the default.
func suspensionWords(s *catalogv1.Suspension) string {
	var words []string
	if s.GetFailures() != 0 {
		words = append(words, fmt.Sprintf("after %d failures", s.GetFailures()))
	}
	if s.GetFirst() != nil {
		words = append(words, "for "+s.GetFirst().AsDuration().String())
	}
	if s.GetLongest() != nil {
		words = append(words, "at most "+s.GetLongest().AsDuration().String())
	}
	if s.GetFactor() != 0 {
		words = append(words, fmt.Sprintf("times %g", s.GetFactor()))
	}
	return strings.Join(words, ", ")
}

// timeoutWords says how long backends may take; empty for the default.
func timeoutWords(t *catalogv1.Timeouts) string {
	var words []string
	if t.GetDial() != nil {
		words = append(words, "to connect "+t.GetDial().AsDuration().String())
	}
	if t.GetHandshake() != nil {
		words = append(words, "to answer "+t.GetHandshake().AsDuration().String())
	}
	return strings.Join(words, ", ")
}
