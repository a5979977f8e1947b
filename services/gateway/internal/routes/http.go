package routes

import (
	"fmt"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
)

// HTTP says what becomes of plain requests below a version's addresses.
type HTTP struct {
	Endpoints                     // http and https; Timeouts.Handshake is 0
	Schemes   []credential.Scheme // how clients authenticate, in the order tried
	// BackendCORS is whether the backend answers preflight requests, and says what pages of
	// other origins may read; otherwise the gateway does, from the route's Origins.
	BackendCORS bool
	MaxBody     int64         // of a request, in bytes; 0: what the gateway allows
	Timeout     time.Duration // until the backend's answer begins; 0: what the gateway allows

	route *Route // see Route.Plain
}

// beside converts what is said of plain requests; nil where nothing is.
func (r *Route) beside(p *catalogv1.HTTPOptions) (*HTTP, error) {
	if p == nil {
		return nil, nil //nolint:nilnil // no HTTP is not wrong
	}
	h := &HTTP{Schemes: r.schemes(p.GetSecurity()), MaxBody: p.GetMaxBodyBytes(), Timeout: p.GetTimeout().AsDuration()}
	switch p.GetCors() {
	case catalogv1.HTTPOptions_CORS_UNSPECIFIED, catalogv1.HTTPOptions_CORS_GATEWAY:
	case catalogv1.HTTPOptions_CORS_BACKEND:
		h.BackendCORS = true
	default:
		r.lacks("CORS")
	}
	var err error
	if h.Endpoints, err = r.endpoints(p.GetEndpoints()); err != nil {
		return nil, fmt.Errorf("HTTP: %w", err)
	}
	return h, nil
}

// EachEndpoints calls fn for the endpoints of the socket, and for those of HTTP if there are.
func (r *Route) EachEndpoints(fn func(*Endpoints)) {
	fn(&r.Endpoints)
	if r.HTTP != nil {
		fn(&r.HTTP.Endpoints)
	}
}
