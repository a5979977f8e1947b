package beside

import (
	"net/http"
	"strings"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
)

// preflightAge is how long a browser may keep the answer to a preflight, in seconds.
const preflightAge = "600"

// exposed are the headers that pages read, beside those that every page may.
const exposed = "X-Tidegate-Ref, Retry-After, WWW-Authenticate, RateLimit, RateLimit-Policy"

// preflight answers what a browser asks before a page's request (the Fetch standard, CORS
// protocol), whose origin was found good. What the request may do is for its own credential to
// say.
func (x *exchange) preflight() {
	x.allowReader()
	vary := "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
	x.header["Vary"] = []string{vary}
	methods := "GET, HEAD, POST, PUT, PATCH, DELETE"
	if asked := x.r.Header.Get("Access-Control-Request-Method"); head.IsToken(asked) && !head.Has([]string{methods}, asked) {
		methods += ", " + asked
	}
	x.header.Set("Access-Control-Allow-Methods", methods)
	allowed := []string{"Authorization", "apikey", "Content-Type"}
	for name := range head.List(x.r.Header["Access-Control-Request-Headers"]) {
		if head.IsToken(name) && !head.Has(allowed, name) {
			allowed = append(allowed, name)
		}
	}
	x.header.Set("Access-Control-Allow-Headers", strings.Join(allowed, ", "))
	x.header.Set("Access-Control-Max-Age", preflightAge)
	x.WriteHeader(http.StatusNoContent)
	_ = x.finish()
}

// allowReader lets the page that sent the request read the answer, if the version takes pages
// of its origin. Cookies, and other credentials that browsers send on their own, are good only
// where the version lists its origins: not for whatever page there is.
func (x *exchange) allowReader() {
	if x.of.HTTP() == nil {
		return
	}
	x.header.Add("Vary", "Origin")
	switch origins := x.of.Route().Origins; {
	case x.of.Reader == "":
		return
	case origins.Any() || x.of.Reader == "null" || x.of.Reader == "file://":
		x.header.Set("Access-Control-Allow-Origin", "*")
	default:
		x.header.Set("Access-Control-Allow-Origin", x.of.Reader)
		x.header.Set("Access-Control-Allow-Credentials", "true")
	}
}

// share replaces what the backend says of pages of other origins in the header of its answer,
// unless the version leaves that to its backends.
func (x *exchange) share(h http.Header) {
	if x.of.HTTP().BackendCORS {
		return
	}
	expose := exposed
	if more := strings.Join(h["Access-Control-Expose-Headers"], ", "); more != "" && more != "*" {
		expose += ", " + more
	}
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
	before := x.header
	x.header = h
	x.allowReader()
	x.header = before
	if x.of.Reader != "" {
		h.Set("Access-Control-Expose-Headers", expose)
	}
}
