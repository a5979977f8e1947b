package credential

import (
	"strings"

	"github.com/tidegatehq/tidegate/services/gateway/internal/pieces"
)

// tokens are the parameters of one name that were cut out of a query, and the rest of it.
type tokens struct {
	count int
	last  string // the value of the last one, escaped
	held  bool   // at least one has a value
	rest  string // the query without them
}

// cutTokens cuts the parameters of a name out of a query, in one pass.
func cutTokens(query, name string) tokens {
	var t tokens
	var room [16]string // so that most queries are cut without allocating a list
	kept := room[:0]
	for piece := range strings.SplitSeq(query, "&") {
		if !isParameter(piece, name) {
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

// one returns the credential, if there is exactly one, as a form has it. A plus is a plus.
func (t *tokens) one(form Form) (string, error) {
	switch {
	case !t.held:
		return "", ErrMissing
	case t.count > 1:
		return "", errMalformed
	}
	token, ok := pieces.Unescape(t.last)
	if ok && form == Base64 {
		token = decodeBase64(token)
	}
	if !ok || token == "" {
		return "", errMalformed
	}
	return token, nil
}

// isParameter reports whether a piece of a query is the parameter of a name as a
// backend would read it, which decodes the name.
func isParameter(piece, name string) bool {
	own, _, _ := strings.Cut(piece, "=")
	if strings.IndexByte(own, '%') < 0 {
		return own == name
	}
	decoded, ok := pieces.Unescape(own)
	return ok && decoded == name
}
