package head

import (
	"crypto/sha1"
	"encoding/base64"
	"iter"
	"strings"
)

// Field is one header line.
type Field struct{ Name, Value string }

// AppendField appends a header line, with its end, to b.
func AppendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// AcceptKey returns the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key
// (RFC 6455 section 4.2.2).
func AcceptKey(key string) string {
	var room [64]byte // a key has 24 bytes, the identifier 36
	sum := sha1.Sum(append(append(room[:0], key...), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	return base64.StdEncoding.EncodeToString(sum[:])
}

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

// List iterates over the elements of a comma-separated header, over all of its
// lines. Empty elements are skipped (RFC 9110 section 5.6.1).
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

// Has reports whether a comma-separated header has this element, whatever its
// case.
func Has(lines []string, element string) bool {
	for e := range List(lines) {
		if strings.EqualFold(e, element) {
			return true
		}
	}
	return false
}

// hopByHop reports whether a header concerns one connection only, or is one that
// every proxy writes anew (RFC 9110 section 7.6.1).
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Authentication-Info",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings", "Content-Length":
		return true
	}
	return false
}

// EndToEnd reports whether a header with this canonical name may be forwarded;
// connection is the Connection header that came with it. Headers of the WebSocket
// handshake concern one connection only.
func EndToEnd(name string, connection []string) bool {
	return !hopByHop(name) && !strings.HasPrefix(name, "Sec-Websocket-") && !Has(connection, name)
}
