// Package routes holds what the gateway serves: an immutable table of routes
// behind an atomic pointer, and the match of a request's path. It does not
// decide who may connect; package handshake does.
package routes

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// Scheme is a way for a client to prove who it is.
type Scheme uint8

// The schemes.
const (
	// SchemeOAuth2 asks for an access token of an application.
	SchemeOAuth2 Scheme = iota + 1
	// SchemeNone asks for nothing. It stands alone.
	SchemeNone
)

// Route is all that the gateway knows about one version of an API. Once it is
// in a table nobody changes it.
type Route struct {
	Name        string // apis/{api}/versions/{version}
	API         string // apis/{api}
	DisplayName string // the API's
	Owner       string // users/{user}
	Context     string // as "/echo" or "/team/echo"
	Version     string // as "1.0.0"
	Default     bool   // /{context} without a version leads here
	Published   bool   // new handshakes are taken

	Production *Endpoint // nil: none
	Sandbox    *Endpoint // nil: none
	Schemes    []Scheme
	Places     []credential.Place // in the order in which they are tried
	Origins    Origins            // the zero value allows any
	MaxAge     time.Duration      // of a session; 0: no bound
	Requires   []string           // features that a gateway must have to serve it
	Revision   uint64             // number of the change that made it as it is

	shared *session.Route
}

// Shared returns what all sessions of the route have in common.
func (r *Route) Shared() *session.Route { return r.shared }

// Open reports whether clients connect without a credential.
func (r *Route) Open() bool { return slices.Contains(r.Schemes, SchemeNone) }

// Accepts reports whether the route enables a scheme.
func (r *Route) Accepts(s Scheme) bool { return slices.Contains(r.Schemes, s) }

// check reports why a route cannot be in a table.
func (r *Route) check() error {
	switch {
	case r.Name == "" || r.API == "":
		return fmt.Errorf("route %q of %q: no name", r.Name, r.API)
	case !validContext(r.Context):
		return fmt.Errorf("route %s: context %q cannot be an address", r.Name, r.Context)
	case !validSegment(r.Version):
		return fmt.Errorf("route %s: version %q cannot be part of an address", r.Name, r.Version)
	}
	return nil
}

// validContext reports whether requests can be addressed to a context. Those
// that start with "/-" are the gateway's own.
func validContext(context string) bool {
	rest, ok := strings.CutPrefix(context, "/")
	if !ok || strings.HasPrefix(rest, "-") {
		return false
	}
	for segment := range strings.SplitSeq(rest, "/") {
		if !validSegment(segment) {
			return false
		}
	}
	return true
}

// validSegment reports whether s can be one segment of a path and stands there
// as it is, without percent-encoding.
func validSegment(s string) bool {
	if s == "" || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if ('a' > c || c > 'z') && ('A' > c || c > 'Z') && ('0' > c || c > '9') && strings.IndexByte("-._~", c) < 0 {
			return false
		}
	}
	return true
}
