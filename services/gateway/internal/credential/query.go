package credential

import (
	"strings"

	"github.com/tidegatehq/tidegate/services/gateway/internal/pieces"
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
	token, ok := pieces.Unescape(t.last)
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
	decoded, ok := pieces.Unescape(name)
	return ok && decoded == parameter
}
