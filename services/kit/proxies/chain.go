package proxies

import (
	"net/http"
	"net/netip"
	"strings"
)

// Chain is the way that a request has come, as far as it can be believed.
type Chain struct {
	// Addrs begins with the client and ends with the peer of the connection; between
	// them are trusted proxies. Ports are 0 where they are not known. It has one
	// element where no proxy has a part.
	Addrs []netip.AddrPort
	// Proto and Host are the scheme and the host that the client asked the first
	// trusted proxy for; empty where no proxy says it.
	Proto, Host string
}

// Client returns the client's address.
func (c Chain) Client() netip.AddrPort { return c.Addrs[0] }

// Chain returns the way of a request with these headers that came from peer. If peer
// is trusted, its headers are read from the right, because each proxy appends what it
// saw, up to the first address that is not trusted: that is the client, and what
// stands left of it is the client's own word. A proxy that hides what it saw
// (unknown, or a name that begins with _) counts as the client. The error is
// ErrMalformed or ErrContradiction.
func (c *Config) Chain(peer netip.AddrPort, h http.Header) (Chain, error) {
	chain := Chain{Addrs: []netip.AddrPort{peer}}
	if !c.Trusts(peer.Addr()) {
		return chain, nil
	}
	byFor, err := c.walk(peer, readFor(h["X-Forwarded-For"]))
	if err != nil {
		return chain, err
	}
	byForwarded, err := c.walk(peer, readForwarded(h["Forwarded"]))
	if err != nil {
		return chain, err
	}
	switch {
	case len(h["X-Forwarded-For"]) == 0:
		chain = byForwarded
	case len(h["Forwarded"]) == 0:
		chain = byFor
	case byFor.Client().Addr() != byForwarded.Client().Addr():
		return chain, ErrContradiction
	default:
		chain.Addrs, chain.Proto, chain.Host = byFor.Addrs, byForwarded.Proto, byForwarded.Host
	}
	if chain.Proto == "" {
		chain.Proto = only(h["X-Forwarded-Proto"], isProto)
	}
	if chain.Host == "" {
		chain.Host = only(h["X-Forwarded-Host"], isHost)
	}
	return chain, nil
}

// hop is what one proxy says that it saw.
type hop struct {
	from        netip.AddrPort // not valid: hidden
	proto, host string
}

// hops returns the hop that was appended last, then the one before, and so on. It
// returns false when there are no more.
type hops func() (hop, bool, error)

// walk goes from peer towards the client.
func (c *Config) walk(peer netip.AddrPort, next hops) (Chain, error) {
	chain := Chain{Addrs: []netip.AddrPort{peer}}
	for c.Trusts(chain.Client().Addr()) {
		h, ok, err := next()
		if err != nil {
			return chain, err
		}
		if !ok {
			break
		}
		chain.Proto, chain.Host = h.proto, h.host
		if !h.from.IsValid() {
			break
		}
		chain.Addrs = append([]netip.AddrPort{h.from}, chain.Addrs...)
	}
	return chain, nil
}

// backwards returns the elements of a list header, the last one first. Commas within
// quotes do not separate.
func backwards(lines []string) func() (string, bool) {
	n := len(lines)
	var rest string
	var more bool
	return func() (string, bool) {
		for {
			if !more {
				if n == 0 {
					return "", false
				}
				n--
				rest, more = lines[n], true
			}
			var element string
			if i := lastOutside(rest, ','); i >= 0 {
				element, rest = rest[i+1:], rest[:i]
			} else {
				element, more = rest, false
			}
			if element = strings.Trim(element, " \t"); element != "" {
				return element, true
			}
		}
	}
}

// lastOutside returns where the last separator outside quotes is, -1 if there is none.
func lastOutside(s string, separator byte) int {
	quoted := false
	for i := len(s) - 1; i >= 0; i-- {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == separator && !quoted:
			return i
		}
	}
	return -1
}

// readFor reads X-Forwarded-For.
func readFor(lines []string) hops {
	next := backwards(lines)
	return func() (hop, bool, error) {
		element, ok := next()
		if !ok {
			return hop{}, false, nil
		}
		from, err := parseNode(element, true)
		return hop{from: from}, true, err
	}
}

// readForwarded reads Forwarded.
func readForwarded(lines []string) hops {
	next := backwards(lines)
	return func() (hop, bool, error) {
		element, ok := next()
		if !ok {
			return hop{}, false, nil
		}
		h, err := parseElement(element)
		return h, true, err
	}
}

// parseElement parses an element of Forwarded, such as for=192.0.2.1;proto=https.
func parseElement(element string) (hop, error) {
	var h hop
	seen := map[string]bool{}
	for element != "" {
		var pair string
		if i := lastOutside(element, ';'); i >= 0 {
			element, pair = element[:i], element[i+1:]
		} else {
			element, pair = "", element
		}
		if pair = strings.Trim(pair, " \t"); pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		name = strings.ToLower(name)
		if value, ok = unquote(value, ok); !ok || seen[name] {
			return hop{}, ErrMalformed
		}
		seen[name] = true
		switch name {
		case "for":
			var err error
			if h.from, err = parseNode(value, false); err != nil {
				return hop{}, err
			}
		case "proto":
			h.proto = only([]string{value}, isProto)
		case "host":
			h.host = only([]string{value}, isHost)
		}
	}
	return h, nil
}

// unquote returns a value without its quotes. Nothing that is read here needs an
// escape, so a backslash is refused.
func unquote(s string, ok bool) (string, bool) {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	return s, ok && s != "" && !strings.ContainsAny(s, `"\`)
}

// parseNode parses who a proxy saw: an address, with a port or without, or not valid
// for one that it hides. An address of IPv6 stands in brackets, in X-Forwarded-For
// mostly without.
func parseNode(s string, bare bool) (netip.AddrPort, error) {
	if strings.EqualFold(s, "unknown") || strings.HasPrefix(s, "_") {
		return netip.AddrPort{}, nil
	}
	host, port := s, ""
	switch end := strings.LastIndexByte(s, ']'); {
	case s[0] == '[' && end > 0:
		host, port = s[1:end], s[end+1:]
		bare = true
	case strings.Count(s, ":") == 1:
		i := strings.IndexByte(s, ':')
		host, port = s[:i], s[i:]
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Is6() && !bare {
		return netip.AddrPort{}, ErrMalformed
	}
	number := uint16(0)
	if port != "" && !strings.HasPrefix(port, ":_") { // a port may be hidden too
		parsed, err := netip.ParseAddrPort("0.0.0.0" + port)
		if err != nil {
			return netip.AddrPort{}, ErrMalformed
		}
		number = parsed.Port()
	}
	return netip.AddrPortFrom(addr.Unmap().WithZone(""), number), nil
}

// only returns the one value of a header, if valid says that it can be used.
func only(lines []string, valid func(string) bool) string {
	if len(lines) != 1 {
		return ""
	}
	if value := strings.ToLower(strings.TrimSpace(lines[0])); valid(value) {
		return value
	}
	return ""
}

func isProto(s string) bool { return s == "http" || s == "https" || s == "ws" || s == "wss" }

// isHost reports whether s can be a host with or without a port. It is forwarded in
// headers, in one of them as a quoted string.
func isHost(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-._~%!$&'()*+;=:[]") == ""
}
