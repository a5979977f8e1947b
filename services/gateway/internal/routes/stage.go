package routes

import (
	"cmp"
	"errors"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
)

// Endpoints are where a version's backends are reached.
type Endpoints struct {
	Production *Stage       // nil: none
	Sandbox    *Stage       // nil: none
	Timeouts   Timeouts     // of backends
	Check      *HealthCheck // nil: none
}

// For returns the endpoints that a grant leads to; without one, those for production, or else
// the sandbox's. It is nil if there are none of that stage.
func (e *Endpoints) For(g *grant.Grant) *Stage {
	switch {
	case g == nil && e.Production != nil:
		return e.Production
	case g == nil:
		return e.Sandbox
	case g.Stage == grant.Production:
		return e.Production
	case g.Stage == grant.Sandbox:
		return e.Sandbox
	default:
		return nil
	}
}

// inherit takes over what is known of the endpoints that there have been before.
func (e *Endpoints) inherit(old *Endpoints) {
	e.Production.inherit(old.Production)
	e.Sandbox.inherit(old.Sandbox)
}

// Stage has a version's endpoints of one stage, which take each other's place. It is not
// changed once its route is in a table; what is known of its endpoints changes with every
// handshake.
type Stage struct {
	Endpoints []*Endpoint
	members   []*balance.Member // of the endpoints, in their order
	cfg       balance.Config
}

// NewStage returns a stage of endpoints of which nothing is known yet; nil for none.
func NewStage(cfg balance.Config, endpoints ...*Endpoint) *Stage {
	if len(endpoints) == 0 {
		return nil
	}
	s, group := &Stage{Endpoints: endpoints, cfg: cfg}, &balance.Group{}
	for range endpoints {
		s.members = append(s.members, group.NewMember(cfg))
	}
	return s
}

// Connection says how its endpoints are connected to; nil: by default.
func (s *Stage) Connection() *Connection { return s.Endpoints[0].Connection }

// Turn returns a search for the endpoint that takes a handshake.
func (s *Stage) Turn() balance.Turn { return balance.NewTurn(s.members) }

// Member returns what is known of the endpoint at this index.
func (s *Stage) Member(i int) *balance.Member { return s.members[i] }

// inherit takes over what is known of the endpoints that the stage has had before, so that
// a change of a version forgets nothing. Both may be nil.
func (s *Stage) inherit(old *Stage) {
	if s == nil || old == nil || s == old {
		return
	}
	s.Connection().inherit(old.Connection())
	group := old.members[0].Group()
	for i, e := range s.Endpoints {
		s.members[i] = group.NewMember(s.cfg)
		for j, before := range old.Endpoints {
			if before.key == e.key {
				s.members[i] = old.members[j]
				s.members[i].SetConfig(s.cfg)
			}
		}
	}
}

// Timeouts says how long a version's backends may take; 0 is what the gateway allows.
type Timeouts struct {
	Dial      time.Duration // TLS included
	Handshake time.Duration // of one endpoint, dial included
}

// HealthCheck says how a version's endpoints are checked.
type HealthCheck struct {
	HTTPPath          string // of a GET; empty: a WebSocket handshake
	Interval, Timeout time.Duration
}

// endpoints converts endpoints. Its error is that of those that have no form.
func (r *Route) endpoints(p *catalogv1.Endpoints) (e Endpoints, err error) {
	cfg := r.balanced(&e, p)
	var errs [2]error
	e.Production, errs[0] = r.stage(p.GetProduction(), p.GetProductionConnection(), cfg)
	e.Sandbox, errs[1] = r.stage(p.GetSandbox(), p.GetSandboxConnection(), cfg)
	if err = errors.Join(errs[:]...); err == nil && e.Production == nil && e.Sandbox == nil && len(r.Requires) == 0 {
		err = errors.New("no endpoint")
	}
	return e, err
}

// balanced sets how endpoints are checked, and returns how they are chosen and given up.
func (r *Route) balanced(to *Endpoints, e *catalogv1.Endpoints) balance.Config {
	to.Timeouts = Timeouts{Dial: e.GetTimeouts().GetDial().AsDuration(), Handshake: e.GetTimeouts().GetHandshake().AsDuration()}
	cfg, s := balance.Default(), e.GetSuspension()
	cfg.Failures = int(cmp.Or(s.GetFailures(), int32(cfg.Failures)))
	cfg.First = cmp.Or(s.GetFirst().AsDuration(), cfg.First)
	cfg.Longest = cmp.Or(s.GetLongest().AsDuration(), cfg.Longest)
	cfg.Factor = cmp.Or(s.GetFactor(), cfg.Factor)
	c := e.GetHealthCheck()
	if c == nil {
		return cfg
	}
	cfg.Checked = true
	cfg.Healthy = int(cmp.Or(c.GetHealthyAfter(), int32(cfg.Healthy)))
	cfg.Unhealthy = int(cmp.Or(c.GetUnhealthyAfter(), int32(cfg.Unhealthy)))
	to.Check = &HealthCheck{
		Interval: cmp.Or(c.GetInterval().AsDuration(), 10*time.Second), Timeout: cmp.Or(c.GetTimeout().AsDuration(), 3*time.Second),
	}
	switch c.GetKind() {
	case catalogv1.HealthCheck_KIND_WEBSOCKET:
	case catalogv1.HealthCheck_KIND_HTTP:
		to.Check.HTTPPath = c.GetHttpPath()
	default:
		r.lacks("kind of health check")
	}
	return cfg
}

// stage converts the endpoints of a stage, which are connected to so; one without any gives
// nil.
func (r *Route) stage(list []*catalogv1.Endpoint, connection *catalogv1.Connection, cfg balance.Config) (*Stage, error) {
	var all []*Endpoint
	c := r.connection(connection)
	for _, p := range list[:min(len(list), balance.MaxMembers)] {
		url, ok := p.GetEndpoint().(*catalogv1.Endpoint_Url)
		if !ok {
			r.lacks("endpoint")
			continue
		}
		e, err := ParseEndpoint(url.Url)
		if err != nil {
			return nil, err
		}
		e.Connection = c
		all = append(all, e)
	}
	return NewStage(cfg, all...), nil
}
