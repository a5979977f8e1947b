package credential

import (
	"strconv"
	"strings"
)

// tokens are the parameters access_token that were cut out of a query, and the rest
// of it.
type tokens struct {
	count int
	last  string // the value of the last one, escaped
	held  bool   // at least one has a value
	rest  string // the query without them
}

// cutTokens cuts the parameters access_token out of a query, in one pass.
func cutTokens(query string) tokens {
	var t tokens
	var room [16]string // so that most queries are cut without allocating a list
	kept := room[:0]
	for piece := range strings.SplitSeq(query, "&") {
		if !isParameter(piece) {
			kept = append(kept, piece)
			continue
		}
		_, t.last, _ = strings.Cut(piece, "=")
		t.held = t.held || t.last != ""
		t.count++
	}
	t.rest = query
	if t.count > 0 {
		t.rest = strings.Join(kept, "&")
	}
	return t
}

// one returns the token, if there is exactly one.
func (t *tokens) one() (string, error) {
	switch {
	case !t.held:
		return "", ErrMissing
	case t.count > 1:
		return "", errMalformed
	}
	token, ok := unescape(t.last)
	if !ok {
		return "", errMalformed
	}
	return check(token)
}

// isParameter reports whether a piece of a query is the access_token as a
// backend would read it, which decodes the name.
func isParameter(piece string) bool {
	name, _, _ := strings.Cut(piece, "=")
	if strings.IndexByte(name, '%') < 0 {
		return name == parameter
	}
	decoded, ok := unescape(name)
	return ok && decoded == parameter
}

// unescape undoes percent-encoding and nothing else. A plus stays a plus, because
// no token and no name that matters here contains a space.
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
