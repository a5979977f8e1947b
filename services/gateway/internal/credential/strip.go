package credential

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// StripHeader removes the headers that are among the places, used or not.
func StripHeader(places []Place, h http.Header) {
	if slices.Contains(places, AuthorizationHeader) {
		delete(h, header)
	}
}

// StripQuery returns the query without the parameters that are among the
// places, used or not. All other bytes stay as they are, in their order.
func StripQuery(places []Place, query string) string {
	if !slices.Contains(places, AccessTokenQuery) || !holdsParameter(query) {
		return query
	}
	var kept strings.Builder
	first := true
	for piece := range strings.SplitSeq(query, "&") {
		if isParameter(piece) {
			continue
		}
		if !first {
			kept.WriteByte('&')
		}
		first = false
		kept.WriteString(piece)
	}
	return kept.String()
}

func holdsParameter(query string) bool {
	for piece := range strings.SplitSeq(query, "&") {
		if isParameter(piece) {
			return true
		}
	}
	return false
}

// isParameter reports whether a piece of a query is the access_token, as a
// backend that decodes names would read it.
func isParameter(piece string) bool {
	name, _, _ := strings.Cut(piece, "=")
	if strings.IndexByte(name, '%') < 0 {
		return name == parameter
	}
	decoded, ok := unescape(name)
	return ok && decoded == parameter
}

// unescape undoes percent-encoding and nothing else.
func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, true
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			out = append(out, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		out = append(out, byte(c))
		i += 2
	}
	return string(out), true
}
