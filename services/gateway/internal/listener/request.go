package listener

import (
	"cmp"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
)

// Request is a well-formed WebSocket handshake, or a plain request. Its receiver
// owns the connection, from which nobody else reads.
type Request struct {
	Conn      net.Conn
	Secure    bool           // TLS
	Remote    netip.AddrPort // the client's address; the port is 0 where a trusted proxy does not say it
	Proxy     bool           // the client is a trusted proxy itself
	Way       proxies.Chain  // how the request has come, from the client to whoever connected
	Host      string
	Path      string      // undecoded
	Query     string      // undecoded, without "?"
	Header    http.Header // without Host
	Key       string      // Sec-WebSocket-Key
	Protocols []string    // sub-protocols offered, in the client's order
	Buffered  []byte      // what was read after the head, at most head.MaxBuffered bytes
	Deadline  time.Time   // of the whole handshake; the connection's too
	Beside    *Beside     // nil: it is a handshake

	peer    netip.AddrPort  // whoever connected, as far as the header of a PROXY protocol says it
	proxies *proxies.Config // those that are believed about this connection
}

// AskedHost is the host that the client asked for, as the header Host has it: of the first
// of the trusted proxies that the request has come through, if they say it. It chooses
// between virtual hosts.
func (r *Request) AskedHost() string { return cmp.Or(r.Way.Host, r.Host) }

// maxTarget is the longest request target.
const maxTarget = 8 << 10

// maxLine is the longest request line with such a target, with room to spare.
const maxLine = maxTarget + 64

// fillTarget splits the request target, which may be in absolute form (RFC 9112
// section 3.2.2).
func (r *Request) fillTarget(h *http.Request) {
	target := h.RequestURI
	if !strings.HasPrefix(target, "/") && h.URL.Host != "" {
		_, target, _ = strings.Cut(target, "://")
		if i := strings.IndexAny(target, "/?"); i >= 0 {
			target = target[i:]
		} else {
			target = "/"
		}
	}
	r.Host = h.Host
	r.Path, r.Query, _ = strings.Cut(target, "?")
}

// checkHead refuses heads that net/http accepts although they are not valid HTTP/1.
func checkHead(raw []byte, h *http.Request) *problem.Problem {
	switch hosts := head.Count(raw, "Host"); {
	case h.ProtoMajor != 1:
		return malformed("the version of HTTP must be 1.1")
	case hosts != 1 && (hosts > 0 || h.ProtoAtLeast(1, 1)):
		return malformed("there must be exactly one Host header")
	case h.ProtoAtLeast(1, 1) && !validHost(h.Host):
		return malformed("the Host header is not a host")
	case strings.Contains(h.RequestURI, "#"):
		return malformed("the request target has a fragment")
	case h.URL.User != nil: // which could pass for the host (RFC 9110 section 4.2.4)
		return malformed("the request target has user information")
	}
	return nil
}

// checkUpgrade refuses what is not a WebSocket handshake (RFC 6455 section 4.2.1),
// and fills in the fields that are particular to one.
func (r *Request) checkUpgrade(h *http.Request) *problem.Problem {
	switch {
	case h.Method != http.MethodGet:
		return methodNotAllowed("GET")
	case h.ContentLength != 0 || len(h.TransferEncoding) > 0:
		return malformed("a handshake must not have a body")
	case !h.ProtoAtLeast(1, 1) || !head.Has(h.Header["Upgrade"], "websocket") || !head.Has(h.Header["Connection"], "upgrade"):
		return upgradeRequired("this address speaks WebSocket only: the request needs the headers Upgrade: websocket and Connection: Upgrade")
	}
	switch version := h.Header["Sec-Websocket-Version"]; {
	case len(version) > 1:
		return malformed("there must be exactly one Sec-WebSocket-Version header")
	case len(version) == 0 || version[0] != "13":
		return upgradeRequired("the Sec-WebSocket-Version must be 13")
	}
	keys := h.Header["Sec-Websocket-Key"]
	if len(keys) != 1 || !validKey(keys[0]) {
		return malformed("there must be exactly one Sec-WebSocket-Key header with 16 bytes in base64")
	}
	r.Key = keys[0]
	protocols, err := parseProtocols(h.Header["Sec-Websocket-Protocol"])
	if err != nil {
		return malformed(err.Error())
	}
	r.Protocols = protocols
	return nil
}

// validKey reports whether a key is 16 bytes in base64. Bits of its last character
// beyond them may be set: the key is never decoded for its bytes, and some clients
// make it of random characters.
func validKey(key string) bool {
	var decoded [18]byte
	if len(key) != base64.StdEncoding.EncodedLen(16) {
		return false
	}
	n, err := base64.StdEncoding.Decode(decoded[:], []byte(key))
	return err == nil && n == 16
}

func parseProtocols(lines []string) ([]string, error) {
	var list []string
	for p := range head.List(lines) {
		if !head.IsToken(p) {
			return nil, errors.New("a name in Sec-WebSocket-Protocol is not a token")
		}
		if slices.Contains(list, p) {
			return nil, errors.New("a name appears twice in Sec-WebSocket-Protocol")
		}
		list = append(list, p)
	}
	return list, nil
}

// validHost reports whether s can be a host with or without a port. It is
// forwarded in headers, in one of them as a quoted string.
func validHost(s string) bool {
	for i := range len(s) {
		c := s[i]
		if ('a' > c || c > 'z') && ('A' > c || c > 'Z') && ('0' > c || c > '9') && strings.IndexByte("-._~%!$&'()*+,;=:[]", c) < 0 {
			return false
		}
	}
	return s != ""
}

func malformed(detail string) *problem.Problem {
	return &problem.Problem{Status: http.StatusBadRequest, Code: problem.BadRequest, Detail: detail}
}

func methodNotAllowed(allow string) *problem.Problem {
	return &problem.Problem{
		Status: http.StatusMethodNotAllowed, Code: problem.MethodNotAllowed, Detail: "the method must be " + allow,
		Header: []head.Field{{Name: "Allow", Value: allow}},
	}
}

func upgradeRequired(detail string) *problem.Problem {
	return &problem.Problem{
		Status: http.StatusUpgradeRequired, Code: problem.UpgradeRequired, Detail: detail,
		Header: []head.Field{{Name: "Upgrade", Value: "websocket"}, {Name: "Sec-WebSocket-Version", Value: "13"}},
	}
}
