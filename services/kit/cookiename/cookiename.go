// Package cookiename has the names of Tidegate's own cookies. Cookies know no port:
// what the portal sets, a browser sends to a gateway on the same host too, and what
// the gateway passes on from a backend, it sends to the portal. So gateways keep the
// names that are reserved here to the portal and to its pages.
package cookiename

import "strings"

// Prefix begins the name of every cookie of ours, behind one of the prefixes that
// browsers give a meaning to where there is one: "tidegate", "__Host-tidegate",
// "__Secure-tidegate-theme".
const Prefix = "tidegate"

// browserPrefixes returns the prefixes that browsers give a meaning to (RFC 6265bis
// section 4.1.3), longer ones first.
func browserPrefixes() [4]string {
	return [4]string{"__Host-Http-", "__Host-", "__Secure-", "__Http-"}
}

// Reserved reports whether a cookie of this name is ours, without regard to case:
// some servers and browsers compare the names so.
func Reserved(name string) bool {
	for _, p := range browserPrefixes() {
		if hasPrefix(name, p) {
			name = name[len(p):]
			break
		}
	}
	return hasPrefix(name, Prefix)
}

func hasPrefix(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}
