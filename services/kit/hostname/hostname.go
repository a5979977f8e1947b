// Package hostname knows the names of virtual hosts: exact ones, such as
// "chat.example.com", and wildcards such as "*.apps.example.com", which stand for one label.
package hostname

import (
	"errors"
	"net/netip"
	"strings"
)

// Longest is how many characters a name may have (RFC 1035 section 2.3.4).
const Longest = 253

var errName = errors.New("must be a host name in lower case without a port, as chat.example.com, or *.example.com for all names with one label more")

// Check reports why a text is not the name of a virtual host. It is in lower case, in ASCII,
// and no IP address: those have no names in TLS (RFC 6066 section 3).
func Check(name string) error {
	if len(name) > Longest {
		return errName
	}
	rest := strings.TrimPrefix(name, "*.")
	last := ""
	for label := range strings.SplitSeq(rest, ".") {
		if !isLabel(label) {
			return errName
		}
		last = label
	}
	if strings.Trim(last, "0123456789") == "" { // what a URL would read as an address
		return errName
	}
	return nil
}

func isLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; ('a' > c || c > 'z') && ('0' > c || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// IsWildcard reports whether a name stands for others.
func IsWildcard(name string) bool { return strings.HasPrefix(name, "*.") }

// Above returns the wildcard that stands for a name among others, "" for none: of
// "chat.example.com" it is "*.example.com". A wildcard has none.
func Above(name string) string {
	if rest := Rest(name); rest != "" && !IsWildcard(name) {
		return "*" + rest
	}
	return ""
}

// Rest returns a name from its first dot on, ".example.com"; "" where there is none.
func Rest(name string) string {
	if i := strings.IndexByte(name, '.'); i > 0 {
		return name[i:]
	}
	return ""
}

// Covers reports whether a name is that of a pattern, or one that the pattern stands for.
func Covers(pattern, name string) bool { return pattern == name || pattern == Above(name) }

// Of returns the name in the value of the header Host: in lower case, without the port and
// the dot at the end. What is not a name is returned as it is, or "": it is that of no virtual
// host. It allocates only for a value with capitals.
func Of(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.Trim(host[i+1:], "0123456789") == "" {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// IsAddress reports whether the value of a header Host names an IP address.
func IsAddress(host string) bool {
	_, err := netip.ParseAddr(strings.Trim(Of(host), "[]"))
	return err == nil
}
