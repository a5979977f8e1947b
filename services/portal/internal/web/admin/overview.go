package admin

import (
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// overviewView is the state of the installation.
type overviewView struct {
	Gateways []*gatewayv1.Gateway
	// Unreachable are the gateways that did not answer; Unknown says that nobody knows
	// which there are.
	Unreachable []string
	Unknown     bool
	More        string
	Services    []serviceState
	// Pending is how many have signed up and wait, at most a page of them.
	Pending  int
	Waiting  bool
	Catalog  uint64 // number of the last change
	Granting uint64 // of the subscription service
}

// serviceState is a service that stores something, and who follows it.
type serviceState struct {
	Name string
	// Away says that it did not answer.
	Away bool
	// Newest is the number of its last change.
	Newest   uint64
	Watchers []watcher
}

// watcher is who follows a service.
type watcher struct {
	*changev1.Watcher
	// Lag is how many changes it has not applied.
	Lag uint64
}

// overview shows gateways and services.
func (p *pages) overview() ui.Route {
	t := ui.Parse[overviewView](files, "templates/overview.html")
	return ui.Page("/admin", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v := overviewView{}
		list, err := p.Sessions.ListGateways(r.Context(), &gatewayv1.ListGatewaysRequest{ReturnPartialSuccess: true, PageToken: r.FormValue("page")})
		if err != nil && !ui.Away(err) {
			return nil, err
		}
		v.Gateways, v.Unreachable, v.Unknown = list.GetGateways(), list.GetUnreachable(), err != nil
		v.More = r.Next(list.GetNextPageToken())
		for _, name := range []string{"catalog", "subscription"} {
			state, err := p.service(r, name)
			if err != nil {
				return nil, err
			}
			v.Services = append(v.Services, state)
		}
		v.Catalog, v.Granting = v.Services[0].Newest, v.Services[1].Newest
		waiting, err := p.Users.ListUsers(r.Context(), &identityv1.ListUsersRequest{Filter: pending})
		if err != nil && !ui.Away(err) {
			return nil, err
		}
		v.Pending, v.Waiting = len(waiting.GetUsers()), waiting.GetNextPageToken() != ""
		return t.Page(head("System", "System", "The gateways, the services, and how far each has got with what was changed."), v), nil
	})
}

// service asks a service for its last change and its watchers.
func (p *pages) service(r *ui.Request, name string) (serviceState, error) {
	parent := "services/" + name
	s := serviceState{Name: name}
	changes, err := p.Changes.ListChanges(r.Context(), &changev1.ListChangesRequest{Parent: parent, PageSize: 1})
	var list *changev1.ListWatchersResponse
	if err == nil {
		list, err = p.Changes.ListWatchers(r.Context(), &changev1.ListWatchersRequest{Parent: parent})
	}
	if ui.Away(err) {
		s.Away = true
		return s, nil
	}
	if err != nil {
		return s, err
	}
	for _, c := range changes.GetChanges() {
		s.Newest = c.GetChangeNumber()
	}
	for _, w := range list.GetWatchers() {
		s.Watchers = append(s.Watchers, watcher{Watcher: w, Lag: behind(s.Newest, w.GetAppliedChangeNumber())})
	}
	return s, nil
}

// behind is how many changes are missing. What was applied may be newer than what was
// read as the newest before.
func behind(newest, applied uint64) uint64 {
	if applied >= newest {
		return 0
	}
	return newest - applied
}

// Lag is how many changes of catalog and subscription a gateway has not applied.
func (v overviewView) Lag(g *gatewayv1.Gateway) uint64 {
	return behind(v.Catalog, g.GetRoutesAppliedChangeNumber()) + behind(v.Granting, g.GetGrantsAppliedChangeNumber())
}

// SessionsOf is the address of a gateway's live sessions.
func (overviewView) SessionsOf(g *gatewayv1.Gateway) string {
	return ui.Filtered(sessionsPath, "gateway", ui.ID(g.GetName()))
}
