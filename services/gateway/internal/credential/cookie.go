package credential

import (
	"slices"
	"strings"

	"github.com/tidegatehq/tidegate/services/gateway/internal/pieces"
)

// cutCookie cuts the cookies of a name out of the Cookie header, and returns the value of
// the one that there is. Browsers send two of one name where another page, of a parent
// domain or of another path, has set one of them: which of them is meant cannot be told, so
// that is malformed.
func (h *Handshake) cutCookie(name string) (string, error) {
	lines, count, held, value := h.Header["Cookie"], 0, false, ""
	is := func(cookie string) bool {
		own, _, _ := strings.Cut(cookie, "=")
		return strings.Trim(own, " \t") == name
	}
	for _, line := range lines {
		for _, cookie := range pieces.All(line, pieces.OfCookies) {
			if is(cookie) {
				_, text, _ := strings.Cut(cookie, "=")
				value = unquote(strings.Trim(text, " \t"))
				held = held || value != ""
				count++
			}
		}
	}
	if count > 0 {
		keep(h.Header, "Cookie", withoutCookies(lines, is))
	}
	switch {
	case !held:
		return "", ErrMissing
	case count > 1:
		return "", errMalformed
	}
	return value, nil
}

// withoutCookies returns Cookie lines without the cookies that drop is true for. All other
// bytes stay, but for the space before the first cookie.
func withoutCookies(lines []string, drop func(cookie string) bool) []string {
	kept := slices.Clone(lines)
	for i, line := range kept {
		kept[i] = strings.TrimLeft(pieces.Cut(line, pieces.OfCookies, drop), " \t")
	}
	return slices.DeleteFunc(kept, func(line string) bool { return line == "" })
}

// unquote returns what a cookie's value has between quotes (RFC 6265 section 4.1.1), or
// itself.
func unquote(value string) string {
	if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
		return value[1 : len(value)-1]
	}
	return value
}
