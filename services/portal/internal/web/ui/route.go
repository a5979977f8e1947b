package ui

import (
	"net/http"

	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Handler answers a request for a page. It calls services and converts; an error with a
// gRPC status becomes a page that says what to do.
type Handler func(*Request) (Answer, error)

// Answer is what a handler answers with: a page, a Redirect, a File or a Resume.
type Answer interface {
	write(s *Site, w http.ResponseWriter, r *Request) error
}

// Route is a page or what a form on it does.
type Route struct {
	// Method is GET, POST, or both for a form: "GET POST".
	Method string
	// Pattern is that of http.ServeMux, without method and host.
	Pattern string
	// Public pages are for those too who have not signed in.
	Public bool
	// Roles are those of which a user needs one to see the page; none for every user.
	Roles []Role
	// Template is what the handler shows, or nil where it shows nothing.
	Template Checked
	// Handler answers.
	Handler Handler
}

// Page is a route that shows.
func Page(pattern string, roles []Role, t Checked, h Handler) Route {
	return Route{Method: http.MethodGet, Pattern: pattern, Roles: roles, Template: t, Handler: h}
}

// FormPage is a route that shows a form, and does what the form says: see
// Request.Submitted.
func FormPage(pattern string, roles []Role, t Checked, h Handler) Route {
	return Route{Method: "GET POST", Pattern: pattern, Roles: roles, Template: t, Handler: h}
}

// Action is a route that does something and then leads to a page.
func Action(pattern string, roles []Role, h Handler) Route {
	return Route{Method: http.MethodPost, Pattern: pattern, Roles: roles, Handler: h}
}

// allowed reports why the viewer may not see the route's page, or nil.
func (route Route) allowed(v *Viewer) error {
	switch {
	case route.Public:
		return nil
	case v == nil:
		return fault.Unauthenticated("sign in first")
	case !v.May(route.Roles...):
		return fault.Denied("this page is for others: %s", roleNames(route.Roles))
	}
	return nil
}

// mustSignIn reports whether signing in, or refreshing the sign-in, may help.
func mustSignIn(err error) bool { return fault.Is(err, codes.Unauthenticated) }
