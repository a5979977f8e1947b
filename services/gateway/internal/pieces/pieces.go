// Package pieces takes queries and Cookie headers apart without changing a byte of
// what is left: both are pieces NAME=VALUE between separators.
package pieces

import (
	"iter"
	"strconv"
	"strings"
)

// Separators of the pieces, in the order of their strength. In a query some backends
// take a semicolon for one too.
const (
	OfQuery   = "&;"
	OfCookies = ";"
)

// Cut removes from s the pieces that drop is true for. Pieces are separated by any of
// the characters in separators, in the order of their strength: where pieces are gone
// between two that are kept, the strongest separator there stays. drop may be called
// twice for a piece.
func Cut(s, separators string, drop func(piece string) bool) string {
	if !Any(s, separators, drop) {
		return s
	}
	kept, begun, strongest := make([]byte, 0, len(s)), false, byte(0)
	for separator, piece := range All(s, separators) {
		if strongest == 0 || strings.IndexByte(separators, separator) < strings.IndexByte(separators, strongest) {
			strongest = separator
		}
		if drop(piece) {
			continue
		}
		if begun {
			kept = append(kept, strongest)
		}
		kept, begun, strongest = append(kept, piece...), true, 0
	}
	return string(kept)
}

// Any reports whether is is true for a piece of s.
func Any(s, separators string, is func(piece string) bool) bool {
	for _, piece := range All(s, separators) {
		if is(piece) {
			return true
		}
	}
	return false
}

// All iterates over the pieces of s, each with the separator before it; the first has
// none, 0.
func All(s, separators string) iter.Seq2[byte, string] {
	return func(yield func(byte, string) bool) {
		separator, rest := byte(0), s
		for {
			end := strings.IndexAny(rest, separators)
			if end < 0 {
				yield(separator, rest)
				return
			}
			if !yield(separator, rest[:end]) {
				return
			}
			separator, rest = rest[end], rest[end+1:]
		}
	}
}

// Unescape undoes percent-encoding and nothing else: a plus stays a plus. It returns
// false when an escape is not valid.
func Unescape(s string) (string, bool) {
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
