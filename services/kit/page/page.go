// Package page has what every list and update shares: page sizes and tokens,
// filters and update masks. Which fields there are, and the SQL that reads a
// page, belong to the lists themselves.
package page

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Sizes of a page.
const (
	DefaultSize = 50
	MaxSize     = 1000
)

// Size returns how many rows a page has: 50 when asked for 0, at most 1000.
func Size(asked int32) (int, error) {
	switch {
	case asked < 0:
		return 0, fault.Invalid("page_size", "must not be negative")
	case asked == 0:
		return DefaultSize, nil
	}
	return min(int(asked), MaxSize), nil
}

// Scope is what a page token is bound to: the parts of the request that say
// which list it is, for example parent and filter.
func Scope(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		n := len(p)
		h.Write([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)})
		h.Write([]byte(p))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:12])
}

// token is what a page token says.
type token struct {
	Scope string   `json:"s"`
	Keys  []string `json:"k"`
}

// Token returns the page token of the page after the row with these keys.
func Token(scope string, keys ...string) string {
	text, err := json.Marshal(token{Scope: scope, Keys: keys})
	if err != nil {
		panic(err) // strings always encode
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// maxToken is the longest page token that is read.
const maxToken = 4 << 10

// Keys returns the n keys that a page token was made of, nil for the first page,
// or a fault when the token is not one of this scope.
func Keys(text, scope string, n int) ([]string, error) {
	if text == "" {
		return nil, nil
	}
	var t token
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(text) > maxToken || json.Unmarshal(raw, &t) != nil || len(t.Keys) != n || hasNUL(t.Keys) {
		return nil, fault.Invalid("page_token", "is not a token that a list has returned")
	}
	if t.Scope != scope {
		return nil, fault.Invalid("page_token", "belongs to another list or filter")
	}
	return t.Keys, nil
}

// hasNUL reports whether a key has a character that no database key has.
func hasNUL(keys []string) bool {
	for _, k := range keys {
		if strings.IndexByte(k, 0) >= 0 {
			return true
		}
	}
	return false
}
