package upstream

import (
	"net/http"
	"strings"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
)

// Each proxy that a request passes appends itself to Via (RFC 9110 section 7.6.3) and,
// for proxies that remove or hide that, to CDN-Loop (RFC 8586). Neither can be taken
// out by naming it in Connection.

// Passed reports whether a request with this header has passed an installation
// already.
func Passed(h http.Header, installation string) bool {
	if installation == "" {
		return false
	}
	for element := range head.List(h["Via"]) {
		if f := strings.Fields(element); len(f) > 1 && strings.EqualFold(f[1], installation) {
			return true
		}
	}
	for element := range head.List(h["Cdn-Loop"]) {
		name, _, _ := strings.Cut(element, ";")
		if strings.EqualFold(strings.TrimSpace(name), installation) {
			return true
		}
	}
	return false
}

// appendVia appends the client's Via and CDN-Loop with this installation at the end.
func (r *Request) appendVia(b []byte) []byte {
	b = appendList(b, "Via", r.Header["Via"], "1.1 ", r.Installation)
	return appendList(b, "CDN-Loop", r.Header["Cdn-Loop"], "", r.Installation)
}

// appendList appends a list header of these lines and one more element, which is
// begin and end; without an end there is none.
func appendList(b []byte, name string, lines []string, begin, end string) []byte {
	for _, line := range lines {
		b = head.AppendField(b, name, line)
	}
	if end == "" {
		return b
	}
	return head.AppendField(b, name, begin+end)
}
