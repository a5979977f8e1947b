package upstream

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/netip"
	"strings"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// Request is what a backend is asked for.
type Request struct {
	Endpoint  *routes.Endpoint
	Rest      string      // of the client's path, behind the endpoint's
	Query     string      // the client's, without credentials
	Header    http.Header // the client's, without credentials
	Protocols []string    // offered by the client
	Client    netip.Addr  // who asks
	Secure    bool        // the client speaks TLS
	Host      string      // that the client asked for
}

// newKey returns a Sec-WebSocket-Key.
func newKey() string {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // does not fail
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// appendTo appends the request as it is sent.
func (r *Request) appendTo(b []byte, key string) []byte {
	b = append(b, "GET "...)
	b = r.Endpoint.Target(b, r.Rest, r.Query)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, r.Endpoint.Host...)
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
	b = r.appendForwarded(b)
	connection := r.Header["Connection"]
	for name, values := range r.Header {
		if !passes(name, connection) {
			continue
		}
		for _, v := range values {
			b = appendField(b, name, v)
		}
	}
	return append(b, "\r\n"...)
}

func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// passes reports whether a client's header goes on to the backend. What says
// who and where the client is, is ours to say.
func passes(name string, connection []string) bool {
	if strings.IndexByte(name, '_') >= 0 {
		// Many servers take X_Tidegate_User for X-Tidegate-User.
		read := http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
		return passes(read, connection) && head.EndToEnd(name, connection)
	}
	switch {
	case name == "Host", name == "Forwarded", name == "Expect",
		strings.HasPrefix(name, "X-Forwarded-"), strings.HasPrefix(name, "X-Tidegate-"):
		return false
	}
	return head.EndToEnd(name, connection)
}

// appendForwarded says who the client is and what it asked for, for backends
// that read the old headers and for those that read RFC 7239.
func (r *Request) appendForwarded(b []byte) []byte {
	proto, client := "http", "unknown"
	if r.Secure {
		proto = "https"
	}
	if r.Client.IsValid() {
		client = r.Client.String()
	}
	b = appendField(b, "X-Forwarded-For", client)
	b = appendField(b, "X-Forwarded-Proto", proto)
	b = appendField(b, "X-Forwarded-Host", r.Host)
	b = append(b, "Forwarded: for="...)
	if r.Client.Is6() {
		b = append(append(append(b, `"[`...), client...), `]"`...)
	} else {
		b = append(b, client...)
	}
	b = append(append(b, `;host="`...), r.Host...)
	return append(append(append(b, `";proto=`...), proto...), "\r\n"...)
}
