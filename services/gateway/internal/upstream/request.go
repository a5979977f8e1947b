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

// Request is the handshake that a backend gets on behalf of a client.
type Request struct {
	Endpoint  *routes.Endpoint
	Suffix    string      // of the client's path, appended to the endpoint's
	Query     string      // the client's, without credentials
	Header    http.Header // the client's, without credentials
	Protocols []string    // offered by the client
	Client    netip.Addr  // the client's address
	Secure    bool        // the client came over TLS
	Host      string      // the Host that the client asked for
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
		if !forwarded(name, connection) {
			continue
		}
		for _, v := range values {
			b = head.AppendField(b, name, v)
		}
	}
	return append(b, "\r\n"...)
}

// forwarded reports whether a header of the client is passed on to the backend.
// Headers that say who and where the client is are not, because the gateway writes
// its own.
func forwarded(name string, connection []string) bool {
	if strings.IndexByte(name, '_') >= 0 {
		// Many servers, following CGI, read X_Tidegate_User as X-Tidegate-User.
		read := http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
		return forwarded(read, connection) && head.EndToEnd(name, connection)
	}
	switch {
	case name == "Host", name == "Forwarded", name == "Expect",
		strings.HasPrefix(name, "X-Forwarded-"), strings.HasPrefix(name, "X-Tidegate-"):
		return false
	}
	return head.EndToEnd(name, connection)
}

// appendForwarded appends the headers that say who the client is and what it asked
// for: the X-Forwarded ones and that of RFC 7239.
func (r *Request) appendForwarded(b []byte) []byte {
	proto, client := "http", "unknown"
	if r.Secure {
		proto = "https"
	}
	if r.Client.IsValid() {
		client = r.Client.String()
	}
	b = head.AppendField(b, "X-Forwarded-For", client)
	b = head.AppendField(b, "X-Forwarded-Proto", proto)
	b = head.AppendField(b, "X-Forwarded-Host", r.Host)
	b = append(b, "Forwarded: for="...)
	if r.Client.Is6() {
		b = append(append(append(b, `"[`...), client...), `]"`...)
	} else {
		b = append(b, client...)
	}
	b = append(append(b, `;host="`...), r.Host...)
	return append(append(append(b, `";proto=`...), proto...), "\r\n"...)
}
