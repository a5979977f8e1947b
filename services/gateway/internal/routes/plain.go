package routes

import "github.com/tidegatehq/tidegate/services/gateway/internal/session"

// Plain returns the route as plain requests see it, with the endpoints and the schemes of its
// HTTP; nil if it has none. What a handshake's steps look at in a route they find in this one.
func (r *Route) Plain() *Route {
	if r.HTTP == nil {
		return nil
	}
	return r.HTTP.route
}

// share sets the part of the route that its sessions and plain requests keep.
func (r *Route) share(s *session.Route) {
	r.shared = s
	if r.HTTP == nil {
		return
	}
	plain := *r
	plain.Endpoints, plain.Schemes = r.HTTP.Endpoints, r.HTTP.Schemes
	r.HTTP.route = &plain
}
