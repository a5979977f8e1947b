package routes

import (
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
)

// ErrBadPath means that backends could interpret the path in more than one way.
var ErrBadPath = errors.New("the path has a dot segment, an empty segment in its middle, or an encoded slash, backslash or NUL")

// Why there is no route.
var (
	errNoAPI        = errors.New("no API has a context that the path begins with")
	errNoVersion    = errors.New("the API has no version with this version string, and no default version that takes the path")
	errNotPublished = errors.New("the version is not published")
)

// Match is where a path leads to.
type Match struct {
	Route  *Route
	Suffix string // the path after the version or, of the default version, after the context, undecoded: "" or "/…"
	// Near is what was found where there is no such route: the API, and a version that is
	// not published; nil for neither. It is for the record of the refusal.
	Near *session.Route
	// Hidden is the route of a version that is not published, nil for none; Suffix is that
	// after it. Only the version's try-out tokens lead there.
	Hidden *Route
}

// Match finds the route of an undecoded path: the longest context that the path
// starts with, then the version. The context alone, with or without a slash at its
// end, is the address of the default version. If that takes paths, it gets what
// follows the context, too, unless it begins with what ever was a version string:
// what was meant for one version must not reach another. There is no backtracking:
// when the longest context has no such version, shorter ones are not tried.
// Unpublished routes are not found. The error is ErrBadPath or says, for the record, why
// there is no such route; then Route is not set.
func (t *Table) Match(path string) (Match, error) {
	if !cleanPath(path) {
		return Match{}, ErrBadPath
	}
	found, end := t.longest(path)
	if found == nil {
		return Match{}, errNoAPI
	}
	m := Match{Route: found.standard, Suffix: path[end:]}
	if end < len(path)-1 {
		segment, after := nextSegment(path, end)
		if r := found.versions[segment]; r != nil || !found.standard.takes(segment) {
			m = Match{Route: r, Suffix: path[after:]}
		}
	}
	switch {
	case m.Route == nil:
		return Match{Near: found.api}, errNoVersion
	case !m.Route.Published:
		return Match{Suffix: m.Suffix, Near: m.Route.Shared(), Hidden: m.Route}, errNotPublished
	}
	return m, nil
}

// takes reports whether a path after the context that begins with this segment is
// the default version's.
func (r *Route) takes(segment string) bool {
	if r == nil || !r.DefaultPaths {
		return false
	}
	if strings.IndexByte(segment, '%') >= 0 {
		if plain, err := url.PathUnescape(segment); err == nil {
			segment = plain
		}
	}
	_, isVersion := r.VersionStrings[strings.ToLower(segment)]
	return !isVersion
}

// longest returns what is mounted under the longest context that the path starts
// with, and where that context ends in the path.
func (t *Table) longest(path string) (found *mount, end int) {
	for depth, i := 0, 0; depth < t.depth && i < len(path); depth++ {
		_, i = nextSegment(path, i)
		if i > t.length {
			break
		}
		if m := t.mounts[path[:i]]; m != nil {
			found, end = m, i
		}
	}
	return found, end
}

// nextSegment returns the segment after the slash at i, and where it ends.
func nextSegment(path string, i int) (string, int) {
	segment := path[i+1:]
	if n := strings.IndexByte(segment, '/'); n >= 0 {
		segment = segment[:n]
	}
	return segment, i + 1 + len(segment)
}

// cleanPath reports whether every backend interprets the path as the gateway does.
// The root has no segments. The last segment of any other path may be empty: then
// the path ends in a slash.
func cleanPath(path string) bool {
	if path == "/" {
		return true
	}
	if !strings.HasPrefix(path, "/") {
		return false
	}
	for i := 0; i < len(path); {
		segment, end := nextSegment(path, i)
		if slashAtEnd := i > 0 && end == len(path) && segment == ""; !slashAtEnd && !cleanSegment(segment) {
			return false
		}
		i = end
	}
	return true
}

// cleanSegment reports whether a segment is not empty, is not a dot segment (even
// one with parameters after the dots), and is soundly encoded.
func cleanSegment(s string) bool {
	name, _, _ := strings.Cut(s, ";")
	return s != "" && !isDots(name) && soundlyEncoded(s)
}

// isDots reports whether a segment is "." or "..", encoded or not.
func isDots(s string) bool {
	n := 0
	for ; s != ""; n++ {
		switch {
		case s[0] == '.':
			s = s[1:]
		case len(s) >= 3 && strings.EqualFold(s[:3], "%2e"):
			s = s[3:]
		default:
			return false
		}
	}
	return n == 1 || n == 2
}

// soundlyEncoded reports whether every escape is valid and no byte of a segment,
// escaped or not, could be taken for the end of the segment or of the path.
func soundlyEncoded(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' {
			if i+2 >= len(s) {
				return false
			}
			v, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil || v == '/' || v == '\\' || v == 0 {
				return false
			}
			i += 2
			continue
		}
		if c <= ' ' || c == 0x7f || c == '\\' || c == '?' || c == '#' {
			return false
		}
	}
	return true
}
