// Package cors lets pages of listed origins read what the portal answers (the CORS
// protocol of the Fetch standard). Tokens are sent in a header, so credentials in the
// sense of that standard, as cookies are, are never allowed.
package cors

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/tidegatehq/tidegate/gen"
)

// Origins are the origins whose pages are let in; none by default. It is a flag.Value.
type Origins []string

// String returns the origins as Set takes them.
func (o Origins) String() string { return strings.Join(o, ",") }

// IsList says that it is a list (run.List).
func (Origins) IsList() {}

// Set reads origins separated by commas. Each is written as browsers send it:
// scheme://host, with the port where it is not that of the scheme.
func (o *Origins) Set(text string) error {
	var all Origins
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		if err := check(part); err != nil {
			return err
		}
		if !slices.Contains(all, part) {
			all = append(all, part)
		}
	}
	*o = all
	return nil
}

// check refuses what no page's origin is. So that nobody has to ask which pages a list
// lets in, there are no wildcards: "*" would let every page on the Internet reach a
// portal that only its users' network does.
func check(origin string) error {
	if strings.Contains(origin, "*") {
		return fmt.Errorf("%q: a wildcard is not allowed: list each origin, as https://app.example.com", origin)
	}
	if origin == "null" {
		return errors.New(`"null" is the origin of pages without one, and every page can be such: list origins, as https://app.example.com`)
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || origin != u.Scheme+"://"+u.Host || strings.HasSuffix(u.Host, ":") {
		return fmt.Errorf("%q is not an origin, scheme://host or scheme://host:port", origin)
	}
	if origin != strings.ToLower(origin) {
		return fmt.Errorf("%q: browsers send it in lower case, %s", origin, strings.ToLower(origin))
	}
	if u.Scheme == "http" && u.Port() == "80" || u.Scheme == "https" && u.Port() == "443" {
		return fmt.Errorf("%q: browsers send it without the port, %s://%s", origin, u.Scheme, u.Hostname())
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil && a.String() != u.Hostname() {
		return fmt.Errorf("%q: browsers send the address as %s", origin, a)
	}
	return nil
}

// What pages may send, and read beside what they always may.
const (
	methods = "GET, HEAD, POST, PATCH, DELETE"
	headers = "Authorization, Content-Type, Traceparent, Tracestate"
	exposed = gen.ChangeHeader + ", WWW-Authenticate, Retry-After"
	// maxAge is how long a browser remembers the answer to a preflight, in seconds.
	maxAge = "600"
)

// Handler lets pages of the origins read the answers of next, and answers their
// preflights. To all others it changes nothing, so that browsers keep answers from
// their pages.
func (o Origins) Handler(next http.Handler) http.Handler {
	if len(o) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Add("Vary", "Origin")
		sent := r.Header.Values("Origin")
		if len(sent) != 1 || !slices.Contains(o, sent[0]) {
			next.ServeHTTP(w, r)
			return
		}
		h.Set("Access-Control-Allow-Origin", sent[0])
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", methods)
			h.Set("Access-Control-Allow-Headers", headers)
			h.Set("Access-Control-Max-Age", maxAge)
			w.WriteHeader(http.StatusNoContent)
			return
		}
		h.Set("Access-Control-Expose-Headers", exposed)
		next.ServeHTTP(w, r)
	})
}
