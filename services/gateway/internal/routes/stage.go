package routes

import (
	"cmp"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
)

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

// balanced sets how endpoints are chosen, checked and given up.
func (r *Route) balanced(e *catalogv1.Endpoints) balance.Config {
	r.Timeouts = Timeouts{Dial: e.GetTimeouts().GetDial().AsDuration(), Handshake: e.GetTimeouts().GetHandshake().AsDuration()}
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
	r.Check = &HealthCheck{
		Interval: cmp.Or(c.GetInterval().AsDuration(), 10*time.Second), Timeout: cmp.Or(c.GetTimeout().AsDuration(), 3*time.Second),
	}
	switch c.GetKind() {
	case catalogv1.HealthCheck_KIND_WEBSOCKET:
	case catalogv1.HealthCheck_KIND_HTTP:
		r.Check.HTTPPath = c.GetHttpPath()
	default:
		r.lacks("kind of health check")
	}
	return cfg
}

// stage converts the endpoints of a stage; one without any gives nil.
func (r *Route) stage(list []*catalogv1.Endpoint, cfg balance.Config) (*Stage, error) {
	var all []*Endpoint
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
		all = append(all, e)
	}
	return NewStage(cfg, all...), nil
}
