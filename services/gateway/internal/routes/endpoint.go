package routes

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/tidegatehq/tidegate/services/gateway/internal/pieces"
)

// Endpoint is the address of a backend, parsed once.
type Endpoint struct {
	TLS   bool   // wss or https
	Host  string // for the Host header, with the port if the URL has one
	Name  string // the host alone, without brackets
	Addr  string // host:port to dial
	Path  string // as in the URL, escaped; "" or starts with "/"
	Query string // as in the URL, without "?"
	// Connection says how it is connected to, as all endpoints of its stage are; nil: by
	// default.
	Connection *Connection

	key      string    // what tells it from the other endpoints of its stage
	own      []string  // names of the parameters in Query, as parameterName gives them
	template *template // of Path and Query; nil: they have no variables
}

// ParseEndpoint parses an absolute ws, wss, http or https URL. Its error, which is
// logged, has nothing of the URL but the host: the rest may have secrets.
func ParseEndpoint(raw string) (*Endpoint, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("the endpoint is not a URL")
	}
	e := &Endpoint{Host: u.Host, Name: u.Hostname(), Path: u.EscapedPath(), Query: u.RawQuery, key: raw, template: newTemplate(raw)}
	port := u.Port()
	switch strings.ToLower(u.Scheme) {
	case "ws", "http":
		port = orDefault(port, "80")
	case "wss", "https":
		e.TLS, port = true, orDefault(port, "443")
	default:
		return nil, fmt.Errorf("endpoint of host %q: the scheme must be ws, wss, http or https", u.Host)
	}
	switch {
	case e.Name == "" || !printable(u.Host):
		return nil, fmt.Errorf("endpoint of host %q needs a host in ASCII", u.Host)
	case u.User != nil:
		return nil, fmt.Errorf("endpoint of host %q must not have user info", u.Host)
	case u.Fragment != "":
		return nil, fmt.Errorf("endpoint of host %q must not have a fragment", u.Host)
	case !printable(e.Path) || !printable(e.Query):
		return nil, fmt.Errorf("endpoint of host %q has a space or a character outside ASCII", u.Host)
	}
	e.Addr = net.JoinHostPort(e.Name, port)
	for _, piece := range pieces.All(e.Query, pieces.OfQuery) {
		if piece != "" {
			e.own = append(e.own, parameterName(piece))
		}
	}
	return e, nil
}

// parameterName returns the name of a parameter as a backend reads it. What follows a
// bracket is left out: many read a[]=1 and a[b]=1 as more of a, or instead of it.
func parameterName(piece string) string {
	name, _, _ := strings.Cut(piece, "=")
	if strings.IndexByte(name, '%') >= 0 || strings.IndexByte(name, '+') >= 0 {
		if decoded, ok := pieces.Unescape(strings.ReplaceAll(name, "+", " ")); ok {
			name = decoded
		}
	}
	if at := strings.IndexByte(name, '['); at > 0 {
		name = name[:at]
	}
	return name
}

// URL returns the URL that the endpoint was parsed from, which may have secrets.
func (e *Endpoint) URL() string { return e.key }

// owns reports whether the endpoint's own query has a parameter of a piece's name,
// without regard to case.
func (e *Endpoint) owns(piece string) bool {
	if piece == "" {
		return false
	}
	name := parameterName(piece)
	return slices.ContainsFunc(e.own, func(own string) bool { return strings.EqualFold(own, name) })
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
// path followed by the suffix of the client's, and both queries. Of the client's query
// the parameters whose names the endpoint's has are left out: what a publisher put
// there, such as a key, no client overrides or adds to.
func (e *Endpoint) AppendTarget(dst []byte, suffix, query string) []byte {
	if len(e.own) > 0 && query != "" {
		query = pieces.Cut(query, pieces.OfQuery, e.owns)
	}
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
