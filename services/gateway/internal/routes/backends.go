package routes

import (
	"net/http"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/hostname"
)

// Backends says what a version's backends get as Host and Origin. The zero value is
// the endpoint's host, and the client's origin.
type Backends struct {
	// FixedHost is what they get as Host, whatever else is said; empty: none.
	FixedHost string
	// ClientHosts are the hosts that they get as Host when the client asked for one
	// of them: lower case, without the port that the scheme implies. "*." at the beginning
	// stands for one label.
	ClientHosts []string
	// Origin is what they get as Origin.
	Origin Origin
	// Identity is how they are told who the client is.
	Identity Identity
	// Headers are the rules of headers, each for another.
	Headers []HeaderRule
}

// HeaderRule says what a backend gets in one header, whatever its client sends in it. With
// neither field after Name it gets none.
type HeaderRule struct {
	Name  string // as it is written
	Key   string // as HeaderKey gives it
	Value string // that it gets
	From  string // canonical name of the client's header whose values it gets instead
}

// HeaderKey returns the same for two names that backends may read as one: many, following
// CGI, read X_Own as X-Own.
func HeaderKey(name string) string {
	if strings.IndexByte(name, '_') >= 0 {
		name = strings.ReplaceAll(name, "_", "-")
	}
	return http.CanonicalHeaderKey(name)
}

// Rules reports whether there is a rule for a client's header.
func (b *Backends) Rules(name string) bool {
	if len(b.Headers) == 0 {
		return false
	}
	key := HeaderKey(name)
	for i := range b.Headers {
		if b.Headers[i].Key == key {
			return true
		}
	}
	return false
}

// Identity says how a backend is told who the client is.
type Identity uint8

// How a backend can be told.
const (
	NoIdentity      Identity = iota // not at all
	HeadersIdentity                 // in headers X-Tidegate-*, one for each thing
	JWTIdentity                     // in X-Tidegate-Identity, signed
)

// Origin says what a backend gets as Origin.
type Origin uint8

// What a backend can get as Origin.
const (
	ClientOrigin   Origin = iota // what the client sent
	NoOrigin                     // nothing
	EndpointOrigin               // that of a page of the backend's own
)

// HostFor returns what the backend at an endpoint gets as Host when the client asked
// for host, over TLS or not.
func (b *Backends) HostFor(e *Endpoint, host string, secure bool) string {
	switch {
	case b.FixedHost != "":
		return b.FixedHost
	case b.isClientHost(host, secure):
		return host
	}
	return e.Host
}

func (b *Backends) isClientHost(host string, secure bool) bool {
	port := ":80"
	if secure {
		port = ":443"
	}
	host = strings.TrimSuffix(host, port)
	for _, h := range b.ClientHosts {
		if strings.EqualFold(h, host) || strings.HasPrefix(h, "*.") && strings.EqualFold(h[1:], hostname.Rest(host)) {
			return true
		}
	}
	return false
}

// OriginFor returns the origin of a page of the backend's own, which gets this Host.
func (e *Endpoint) OriginFor(host string) string {
	if e.TLS {
		return "https://" + host
	}
	return "http://" + host
}
