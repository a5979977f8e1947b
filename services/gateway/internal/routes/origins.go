package routes

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Origins are the values of the Origin header that may connect. The zero value
// allows any.
type Origins struct {
	exact      []string    // scheme://host[:port], lower case, no default port; or null or file://
	subdomains []subdomain // at any depth
}

// subdomain is the pattern scheme://*.domain[:port], as "scheme://" and
// ".domain[:port]".
type subdomain struct{ scheme, suffix string }

// ParseOrigins parses origins such as "https://example.com" and patterns such as
// "https://*.example.com". An empty list allows any origin.
func ParseOrigins(list []string) (Origins, error) {
	var o Origins
	for _, s := range list {
		scheme, host, _ := strings.Cut(s, "://")
		wild, isWild := strings.CutPrefix(host, "*.")
		plain := s
		if isWild {
			plain = scheme + "://" + wild
		}
		norm, valid := normalOrigin(plain)
		switch {
		case !valid:
			return Origins{}, fmt.Errorf("%q is not an origin", s)
		case isWild:
			_, host, _ := strings.Cut(norm, "://")
			o.subdomains = append(o.subdomains, subdomain{strings.ToLower(scheme) + "://", "." + host})
		default:
			o.exact = append(o.exact, norm)
		}
	}
	return o, nil
}

// Any reports whether every origin may connect.
func (o Origins) Any() bool { return len(o.exact)+len(o.subdomains) == 0 }

// Allow reports whether a client that sends this Origin may connect.
func (o Origins) Allow(origin string) bool {
	if o.Any() {
		return true
	}
	norm, ok := normalOrigin(origin)
	if !ok {
		return false
	}
	if slices.Contains(o.exact, norm) {
		return true
	}
	for _, b := range o.subdomains {
		if host, ok := strings.CutPrefix(norm, b.scheme); ok && len(host) > len(b.suffix) && strings.HasSuffix(host, b.suffix) {
			return true
		}
	}
	return false
}

// normalOrigin returns an origin as browsers write it (RFC 6454 section 6.2).
// Anything that has more than a scheme, a host and a port is not an origin, but for
// "null" and "file://", which browsers send for pages that have none and for those
// from files.
func normalOrigin(s string) (string, bool) {
	if s == "null" || s == "file://" {
		return s, true
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.ForceQuery {
		return "", false
	}
	host := strings.ToLower(u.Hostname())
	web := u.Scheme == "https" || u.Scheme == "http"
	if web && strings.HasPrefix(host, ".") {
		return "", false
	}
	if strings.HasPrefix(u.Host, "[") {
		ip, err := netip.ParseAddr(host)
		if err != nil {
			return "", false
		}
		host = "[" + ip.String() + "]"
	}
	standard := map[string]string{"https": "443", "http": "80"}[u.Scheme]
	if port := u.Port(); port != "" && port != standard {
		host += ":" + port
	}
	return u.Scheme + "://" + host, true
}
