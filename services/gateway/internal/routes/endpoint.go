package routes

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Endpoint is the address of a backend, parsed once.
type Endpoint struct {
	TLS   bool   // wss or https
	Host  string // for the Host header, with the port if the URL has one
	Name  string // the host alone, without brackets
	Addr  string // host:port to dial
	Path  string // as in the URL, escaped; "" or starts with "/"
	Query string // as in the URL, without "?"
}

// ParseEndpoint parses an absolute ws, wss, http or https URL.
func ParseEndpoint(raw string) (*Endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("endpoint %q is not a URL", raw)
	}
	e := &Endpoint{Host: u.Host, Name: u.Hostname(), Path: u.EscapedPath(), Query: u.RawQuery}
	port := u.Port()
	switch strings.ToLower(u.Scheme) {
	case "ws", "http":
		port = orDefault(port, "80")
	case "wss", "https":
		e.TLS, port = true, orDefault(port, "443")
	default:
		return nil, fmt.Errorf("endpoint %q: the scheme must be ws, wss, http or https", raw)
	}
	switch {
	case e.Name == "" || !printable(u.Host):
		return nil, fmt.Errorf("endpoint %q needs a host in ASCII", raw)
	case u.User != nil:
		return nil, fmt.Errorf("endpoint of host %q must not have user info", u.Host)
	case u.Fragment != "":
		return nil, fmt.Errorf("endpoint %q must not have a fragment", raw)
	case !printable(e.Path) || !printable(e.Query):
		return nil, fmt.Errorf("endpoint %q has a space or a character outside ASCII", raw)
	}
	e.Addr = net.JoinHostPort(e.Name, port)
	return e, nil
}

func orDefault(port, standard string) string {
	if port == "" {
		return standard
	}
	return port
}

// printable reports whether s can be written into a request line as it is.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// AppendTarget appends the request target for the backend to dst: the endpoint's
// path followed by the suffix of the client's, and both queries.
func (e *Endpoint) AppendTarget(dst []byte, suffix, query string) []byte {
	path := e.Path
	if suffix != "" {
		path = strings.TrimSuffix(path, "/")
	}
	if path == "" && suffix == "" {
		path = "/"
	}
	dst = append(append(dst, path...), suffix...)
	for i, q := range [2]string{e.Query, query} {
		if q == "" {
			continue
		}
		if i == 0 || e.Query == "" {
			dst = append(dst, '?')
		} else {
			dst = append(dst, '&')
		}
		dst = append(dst, q...)
	}
	return dst
}
