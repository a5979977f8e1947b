package routes

import (
	"errors"
	"net/url"
	"strconv"
	"strings"

	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/hostname"
)

// ErrBadPath means that backends could interpret the path in more than one way.
var ErrBadPath = errors.New("the path has a dot segment, an empty segment in its middle, or an encoded slash, backslash or NUL")

// Why there is no route.
var (
	errNoAPI        = errors.New("no API has a context that the path begins with")
	errNoVersion    = errors.New("the API has no version with this version string, and no default version that takes the path")
	errNotPublished = errors.New("the version is not published")
)

// Match is where a host and a path lead to.
type Match struct {
	Route *Route
	// Suffix is what backends get of the path, undecoded, "" or "/…": what follows the
	// version, the context of the default version, or the prefix of a further address that
	// is cut; the whole path where that is kept.
	Suffix string
	// Serves is what is served at this address.
	Serves Serves
	// Near is what was found where there is no such route: the API, and a version that is
	// not published; nil for neither. It is for the record of the refusal.
	Near *session.Route
	// Hidden is the route of a version that is not published, nil for none; Suffix is that
	// after it. Only the version's try-out tokens lead there.
	Hidden *Route
}

// Match finds the route of a host, as the header Host has it, and an undecoded path. First
// the host decides: a virtual host by its name, then by its wildcard, has what versions
// have there, and nothing else; every other host is the shared one. Then the longest prefix
// that the path starts with, a context or that of a further address, and after a context the
// version. The context alone, with or without a slash at its
// end, is the address of the default version. If that takes paths, it gets what
// follows the context, too, unless it begins with what ever was a version string:
// what was meant for one version must not reach another. There is no backtracking:
// when the longest context has no such version, shorter ones are not tried, and when a
// virtual host has no such prefix, the shared one is not.
// Unpublished routes are not found. The error is ErrBadPath or says, for the record, why
// there is no such route; then Route is not set.
func (t *Table) Match(host, path string) (Match, error) {
	if !cleanPath(path) {
		return Match{}, ErrBadPath
	}
	found, end := t.at(host).longest(path)
	if found == nil {
		return Match{}, errNoAPI
	}
	m := found.match(path, end)
	switch {
	case m.Route == nil:
		return Match{Near: found.api}, errNoVersion
	case !m.Route.Published:
		return Match{Suffix: m.Suffix, Serves: m.Serves, Near: m.Route.Shared(), Hidden: m.Route}, errNotPublished
	}
	return m, nil
}

// match finds the version of a path whose prefix, which is that of the mount, ends at end.
// What is a context is no other prefix.
func (m *mount) match(path string, end int) Match {
	if m.further != nil && len(m.versions) == 0 {
		a := m.further.address
		found := Match{Route: m.further.route, Suffix: path[end:], Serves: a.Serves}
		switch {
		case path == "/":
			found.Suffix = "" // what clients ask for who name no path
		case a.Keep:
			found.Suffix = path
		}
		return found
	}
	if end < len(path)-1 {
		segment, after := nextSegment(path, end)
		if r := m.versions[segment]; r != nil || !m.standard.takes(segment) {
			return Match{Route: r, Suffix: path[after:]}
		}
	}
	return Match{Route: m.standard, Suffix: path[end:]}
}

// at returns what is mounted on the host of a request; nil for nothing.
func (t *Table) at(host string) *site {
	if len(t.exact) == 0 && len(t.wildcards) == 0 {
		return t.shared
	}
	name := hostname.Of(host)
	if s := t.exact[name]; s != nil {
		return s
	}
	if s := t.wildcards[hostname.Rest(name)]; s != nil {
		return s
	}
	return t.shared
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

// longest returns what is mounted under the longest prefix that the path starts
// with, and where that prefix ends in the path. s may be nil.
func (s *site) longest(path string) (found *mount, end int) {
	if s == nil {
		return nil, 0
	}
	found = s.mounts[""]
	for depth, i := 0, 0; depth < s.depth && i < len(path); depth++ {
		_, i = nextSegment(path, i)
		if i > s.length {
			break
		}
		if m := s.mounts[path[:i]]; m != nil {
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
