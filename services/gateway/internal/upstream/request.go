package upstream

import (
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/deflate"
	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
)

// Request is the handshake that a backend gets on behalf of a client.
type Request struct {
	Endpoint  *routes.Endpoint
	Backends  routes.Backends // what the backend gets as Host and Origin
	Suffix    string          // of the client's path, appended to the endpoint's
	Query     string          // the client's, without credentials
	Header    http.Header     // the client's, without credentials
	Protocols []string        // offered by the client
	Offers    deflate.Offers  // of compression, by the client; nil: none are passed on
	Way       proxies.Chain   // how the client's request has come
	Secure    bool            // it came over TLS
	Host      string          // the Host that it asked for
	// DialTimeout is how long a connection may take, where that is less than the dialler's
	// own time; 0: it is not.
	DialTimeout time.Duration

	// Authorization is what the backend gets in that header, whatever the client sends in it;
	// empty: what the client sends. Dialer.Authorize says which.
	Authorization string
	// Own are headers of the gateway's own for the backend, in canonical form; what the
	// client sends under their names is dropped.
	Own []head.Field

	// Installation is what this installation is called in Via and CDN-Loop.
	Installation string
}

// newKey returns a new Sec-WebSocket-Key.
func newKey() string {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // does not fail
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// appendTo appends the head of the request to b.
func (r *Request) appendTo(b []byte, key string) []byte {
	b = append(b, "GET "...)
	b = r.Endpoint.AppendTarget(b, r.Suffix, r.Query)
	host := r.host()
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	b = append(b, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "...)
	b = append(append(b, key...), "\r\n"...)
	if len(r.Protocols) > 0 {
		b = append(b, "Sec-WebSocket-Protocol: "...)
		for i, p := range r.Protocols {
			if i > 0 {
				b = append(b, ", "...)
			}
			b = append(b, p...)
		}
		b = append(b, "\r\n"...)
	}
	if len(r.Offers) > 0 {
		b = append(r.Offers.AppendTo(append(b, "Sec-WebSocket-Extensions: "...)), "\r\n"...)
	}
	return append(r.appendFields(b, host), "\r\n"...)
}

// appendFields appends the headers that a backend gets, of a handshake and of a plain request
// alike, but for those of the protocol and Host, which it gets as host.
func (r *Request) appendFields(b []byte, host string) []byte {
	b = r.appendVia(r.appendForwarded(b))
	if origin := r.origin(host); origin != "" {
		b = head.AppendField(b, "Origin", origin)
	}
	connection := r.Header["Connection"]
	for name, values := range r.Header {
		if !forwarded(name, connection) || name == "Origin" || r.Backends.Rules(name) || r.owns(name) {
			continue
		}
		for _, v := range values {
			b = head.AppendField(b, name, v)
		}
	}
	b = r.appendAuthorization(b)
	for _, own := range r.Own {
		b = head.AppendField(b, own.Name, own.Value)
	}
	return r.appendRuled(b, connection)
}

// appendAuthorization appends what the gateway proves who it is with, if anything.
func (r *Request) appendAuthorization(b []byte) []byte {
	if r.Authorization == "" {
		return b
	}
	return head.AppendField(b, "Authorization", r.Authorization)
}

// owns reports whether the gateway has a header of its own of this name.
func (r *Request) owns(name string) bool {
	if r.Authorization != "" && routes.HeaderKey(name) == "Authorization" {
		return true
	}
	return len(r.Own) > 0 && slices.ContainsFunc(r.Own, func(own head.Field) bool { return own.Name == routes.HeaderKey(name) })
}

// appendRuled appends the headers that the version has rules for.
func (r *Request) appendRuled(b []byte, connection []string) []byte {
	for i := range r.Backends.Headers {
		rule := &r.Backends.Headers[i]
		if rule.Value != "" {
			b = head.AppendField(b, rule.Name, rule.Value)
		}
		if rule.From == "" || !forwarded(rule.From, connection) {
			continue
		}
		for _, v := range r.Header[rule.From] {
			b = head.AppendField(b, rule.Name, v)
		}
	}
	return b
}

// host returns what the backend gets as Host.
func (r *Request) host() string {
	secure := r.Secure
	if r.Way.Proto != "" {
		secure = r.Way.Proto == "https" || r.Way.Proto == "wss"
	}
	return r.Backends.HostFor(r.Endpoint, cmp.Or(r.Way.Host, r.Host), secure)
}

// origin returns what the backend that gets this Host gets as Origin; empty for
// nothing. A client's second Origin was refused before.
func (r *Request) origin(host string) string {
	switch r.Backends.Origin {
	case routes.EndpointOrigin:
		return r.Endpoint.OriginFor(host)
	case routes.ClientOrigin:
		return r.Header.Get("Origin")
	default:
		return ""
	}
}

// forwarded reports whether a header of the client is passed on to the backend.
// Headers that say who and where the client is are not, because the gateway writes
// its own.
func forwarded(name string, connection []string) bool {
	if strings.IndexByte(name, '_') >= 0 {
		// Many servers, following CGI, read X_Tidegate_User as X-Tidegate-User.
		return forwarded(routes.HeaderKey(name), connection) && head.EndToEnd(name, connection)
	}
	switch {
	case name == "Host", name == "Forwarded", name == "Expect", name == "Via", name == "Cdn-Loop",
		strings.HasPrefix(name, "X-Forwarded-"), strings.HasPrefix(name, "X-Tidegate-"):
		return false
	}
	return head.EndToEnd(name, connection)
}

// appendForwarded appends the headers that say who the client is and what it asked
// for: the X-Forwarded ones and that of RFC 7239. They begin with the client, as far
// as trusted proxies say who that is, and end with whoever connected.
func (r *Request) appendForwarded(b []byte) []byte {
	proto := "http"
	if r.Secure {
		proto = "https"
	}
	b = append(b, "X-Forwarded-For: "...)
	for i, from := range r.Way.Addrs {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendAddr(b, from.Addr())
	}
	b = append(b, "\r\n"...)
	b = head.AppendField(b, "X-Forwarded-Proto", cmp.Or(r.Way.Proto, proto))
	b = head.AppendField(b, "X-Forwarded-Host", cmp.Or(r.Way.Host, r.Host))
	b = append(b, "Forwarded: "...)
	last := len(r.Way.Addrs) - 1
	for i, from := range r.Way.Addrs {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(b, "for="...)
		if from.Addr().Is6() {
			b = append(appendAddr(append(b, `"[`...), from.Addr()), `]"`...)
		} else {
			b = appendAddr(b, from.Addr())
		}
		switch i {
		case last:
			b = appendAsked(b, r.Host, proto)
		case 0:
			b = appendAsked(b, r.Way.Host, r.Way.Proto)
		}
	}
	return append(b, "\r\n"...)
}

func appendAddr(b []byte, addr netip.Addr) []byte {
	if !addr.IsValid() {
		return append(b, "unknown"...)
	}
	return addr.AppendTo(b)
}

// appendAsked appends what the one before was asked for, as far as that is known.
func appendAsked(b []byte, host, proto string) []byte {
	if host != "" {
		b = append(append(append(b, `;host="`...), host...), '"')
	}
	if proto != "" {
		b = append(append(b, ";proto="...), proto...)
	}
	return b
}
