// Package routes holds what the gateway serves: an immutable table of routes behind
// an atomic pointer, the matching of paths against it, and the watch and the file
// on disk that fill it. Package handshake decides who may connect.
//
// While the catalog is away, the gateway serves its last table. A gateway that
// starts then serves the routes on disk (Disk); without them it is not ready.
package routes

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
)

// Route is all that the gateway knows about one version of an API. It is not
// changed once it is in a table.
type Route struct {
	Name      string // apis/{api}/versions/{version}
	API       string // apis/{api}
	Owner     string // users/{user}
	Context   string // such as "/echo" or "/team/echo"
	Segment   string // of the version in the path, such as "1.0.0"
	Default   bool   // /{context} without a version leads here
	Published bool   // new handshakes are accepted; otherwise only those with its try-out tokens
	// DefaultPaths is whether the default version also gets the paths that name no
	// version; VersionStrings has what was ever the version string of a version of
	// the API, in lower case: a version's address in another case is not that of the
	// version, but must not lead to another one either.
	DefaultPaths   bool
	VersionStrings map[string]struct{}

	Further        []Address            // where it is reached, too
	Endpoints                           // of its socket
	HTTP           *HTTP                // beside the socket; nil: plain requests are refused
	Schemes        []credential.Scheme  // how clients authenticate, in the order tried
	Origins        Origins              // the zero value allows any
	Backends       Backends             // how they are spoken to
	PassCredential bool                 // backends get the access token or the API key
	Pings          Pings                // whom the gateway sends pings
	Deflate        bool                 // clients and backends may agree on permessage-deflate
	MaxAge         time.Duration        // of a session; 0: no bound
	Limits         throttle.Version     // its plan and its greatest message
	Idle           time.Duration        // of a session without a message; 0: what the gateway allows
	Endings        ending.ClientEndings // what clients get at ends of sessions; nil: by default
	Frames         *ending.ErrorFrames  // of messages that are dropped; nil: by default
	Requires       []string             // features that a gateway must have to serve it
	ChangeNumber   uint64               // of the change that made the route what it is

	shared *session.Route
}

// Pings says whom the gateway sends pings; the zero value is both peers.
type Pings struct {
	NoClient, NoBackend bool
}

// Serves reports whether handshakes with a grant, nil for none, are let in, as far as it is
// up to whether the version is published. r may be nil.
func (r *Route) Serves(g *grant.Grant) bool { return r != nil && (r.Published || g.TryOut()) }

// Open reports whether a scheme is none.
func (r *Route) Open() bool {
	return slices.ContainsFunc(r.Schemes, func(s credential.Scheme) bool { return s.Type == credential.None })
}

// Shared returns the part of the route that its sessions keep.
func (r *Route) Shared() *session.Route { return r.shared }

// check reports why a route cannot be in a table.
func (r *Route) check() error {
	switch {
	case r.Name == "" || r.API == "":
		return fmt.Errorf("route %q of %q: no name", r.Name, r.API)
	case !validContext(r.Context):
		return fmt.Errorf("route %s: context %q cannot be an address", r.Name, r.Context)
	case !validSegment(r.Segment):
		return fmt.Errorf("route %s: version %q cannot be part of an address", r.Name, r.Segment)
	}
	for _, a := range r.Further {
		if err := a.check(); err != nil {
			return fmt.Errorf("route %s: %w", r.Name, err)
		}
	}
	return nil
}

// validContext reports whether requests can be addressed to a context. Paths
// under "/-" are the gateway's own.
func validContext(context string) bool {
	path, ok := strings.CutPrefix(context, "/")
	if !ok || strings.HasPrefix(path, "-") {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		if !validSegment(segment) {
			return false
		}
	}
	return true
}

// validSegment reports whether s can be one segment of a path without
// percent-encoding.
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
