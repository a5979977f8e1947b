package head

import (
	"iter"
	"strings"
)

// IsToken reports whether s is a token of RFC 9110 section 5.6.2.
func IsToken(s string) bool { return isToken(s) }

func isToken[T string | []byte](s T) bool {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return false
		}
	}
	return len(s) > 0
}

func isTokenByte(c byte) bool {
	switch c {
	case '!', '#', '$', '%', '&', '\'', '*', '+', '-', '.', '^', '_', '`', '|', '~':
		return true
	}
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// List gives the elements of a header that is a list separated by commas, over
// all of its lines. Empty elements are left out.
func List(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range lines {
			for element := range strings.SplitSeq(line, ",") {
				element = strings.Trim(element, " \t")
				if element != "" && !yield(element) {
					return
				}
			}
		}
	}
}

// Has reports whether a list has this element, in any case.
func Has(lines []string, element string) bool {
	for e := range List(lines) {
		if strings.EqualFold(e, element) {
			return true
		}
	}
	return false
}

// hopByHop are the headers that end at each hop, with those that a proxy
// builds anew (RFC 9110 section 7.6.1).
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Authentication-Info",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Content-Length":
		return true
	}
	return false
}

// EndToEnd reports whether a header with this canonical name may be passed on,
// connection being the lines of the Connection header beside it. Headers of the
// WebSocket handshake belong to one hop.
func EndToEnd(name string, connection []string) bool {
	return !hopByHop(name) && !strings.HasPrefix(name, "Sec-Websocket-") && !Has(connection, name)
}
