// Package permit has the places that an API key can be good from: the addresses of
// clients, and the pages whose scripts connect. The subscription service reads what users
// write, and a gateway judges every handshake.
package permit

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// errAddress is what is said of what is no address at all.
var errAddress = errors.New("must be an address such as 192.0.2.1 or 2001:db8::1, or a network such as 192.0.2.0/24 or 2001:db8::/48")

// ParseAddress reads a permitted address: an IP address, or a network in CIDR notation
// without bits behind its prefix. An IPv4 address that is written as one of IPv6 counts as
// IPv4. The error says what it must be.
func ParseAddress(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, errAddress
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return netip.Prefix{}, errAddress
	case p.Addr().Is4In6() && p.Bits() < 96:
		return netip.Prefix{}, errAddress
	case p.Addr().Is4In6():
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("must have no bits behind its prefix: %s", p.Masked())
	}
	return p, nil
}

// AddressText returns a permitted address as it is shown: a single one without its
// length.
func AddressText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// Address reports whether a client's address is in one of the networks. Where there are
// none every address is permitted; one that is not known is permitted only then.
func Address(permitted []netip.Prefix, client netip.Addr) bool {
	if len(permitted) == 0 {
		return true
	}
	client = client.Unmap().WithZone("")
	for _, p := range permitted {
		if p.Contains(client) {
			return true
		}
	}
	return false
}
