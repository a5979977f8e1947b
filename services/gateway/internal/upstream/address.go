package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/tidegatehq/tidegate/services/kit/netaddr"
)

// addressError says that a backend's address must not be dialled.
type addressError struct {
	Addr netip.Addr
	Kind string // such as "link-local"
}

// Error says why the address is refused.
func (e *addressError) Error() string {
	return fmt.Sprintf("%s address %s is not allowed", e.Kind, e.Addr)
}

// metadata returns the addresses of the clouds' metadata services, from which a
// machine gets its secrets, except link-local ones, which are refused anyway.
func metadata() []netip.Addr {
	return []netip.Addr{
		netip.MustParseAddr("fd00:ec2::254"),   // AWS
		netip.MustParseAddr("fd00:ec2::23"),    // AWS, credentials of containers
		netip.MustParseAddr("fd20:ce::254"),    // Google
		netip.MustParseAddr("100.100.100.200"), // Alibaba
		netip.MustParseAddr("192.0.0.192"),     // Oracle
		netip.MustParseAddr("168.63.129.16"),   // Azure
	}
}

// policy says which addresses may be dialled.
type policy struct {
	loopback    bool
	denyPrivate bool
	never       []netip.Addr
	sample      netip.AddrPort // dialled whatever the rest says; zero for none

	mu  sync.Mutex
	own map[uint16]struct{} // ports of this process's listeners
}

// addOwn makes a port of this process's one that is never dialled.
func (p *policy) addOwn(listener net.Addr) {
	tcp, ok := listener.(*net.TCPAddr)
	if !ok {
		return // in memory, or none
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own[tcp.AddrPort().Port()] = struct{}{}
}

// isOwn reports whether an address is this process's. A listener on one address of
// this machine makes its port own on all of them: by which of its names, networks and
// forwardings the machine leads back to it is not for a publisher to find out.
func (p *policy) isOwn(target netip.AddrPort) bool {
	p.mu.Lock()
	_, known := p.own[target.Port()]
	p.mu.Unlock()
	if !known {
		return false
	}
	inner, ok := embedded(target.Addr())
	return netaddr.OnThisMachine(target.Addr()) || ok && netaddr.OnThisMachine(inner)
}

// isSample reports whether an address is that of the sample's backend.
func (p *policy) isSample(target netip.AddrPort) bool {
	if !p.sample.IsValid() || target.Port() != p.sample.Port() {
		return false
	}
	at := p.sample.Addr().Unmap()
	return at == target.Addr() || at.IsUnspecified() && netaddr.OnThisMachine(target.Addr())
}

// control checks the address that is actually dialled, after name resolution.
func (p *policy) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("check address %q: %w", address, err)
	}
	target := netip.AddrPortFrom(ap.Addr().WithZone("").Unmap(), ap.Port())
	switch {
	case p.isSample(target):
		return nil
	case p.isOwn(target):
		return &addressError{Addr: target.Addr(), Kind: "own"}
	}
	return p.check(target.Addr())
}

// check refuses an address that must not be dialled. An IPv6 address that leads to
// an IPv4 one is checked as both.
func (p *policy) check(addr netip.Addr) error {
	addr = addr.WithZone("").Unmap()
	if kind := p.refused(addr); kind != "" {
		return &addressError{Addr: addr, Kind: kind}
	}
	if inner, ok := embedded(addr); ok {
		if kind := p.refused(inner); kind != "" {
			return &addressError{Addr: addr, Kind: kind}
		}
	}
	return nil
}

// refused returns why an address must not be dialled, "" if it may.
func (p *policy) refused(a netip.Addr) string {
	switch {
	case slices.Contains(p.never, a):
		return "metadata"
	case a.IsUnspecified() || a.Is4() && a.As4()[0] == 0:
		return "unspecified"
	case a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "multicast"
	case a.IsLinkLocalUnicast():
		return "link-local"
	case a.IsLoopback() && !p.loopback:
		return "loopback"
	case p.denyPrivate && (a.IsPrivate() || isShared(a)):
		return "private"
	default:
		return ""
	}
}

// isShared reports whether a is in 100.64.0.0/10 (RFC 6598).
func isShared(a netip.Addr) bool {
	return a.Is4() && a.As4()[0] == 100 && a.As4()[1]&0xc0 == 64
}

// embedded returns the IPv4 address that an IPv6 one leads to: that of NAT64
// (64:ff9b::/96, and 64:ff9b:1::/48 as networks use it), of SIIT (::ffff:0:0:0/96),
// of 6to4 (2002::/16) and the old IPv4-compatible form (::/96).
func embedded(a netip.Addr) (netip.Addr, bool) {
	if !a.Is6() {
		return netip.Addr{}, false
	}
	b := a.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a), netip.MustParsePrefix("64:ff9b:1::/48").Contains(a),
		netip.MustParsePrefix("::ffff:0:0:0/96").Contains(a),
		netip.MustParsePrefix("::/96").Contains(a) && !a.IsLoopback() && !a.IsUnspecified():
		return netip.AddrFrom4([4]byte(b[12:16])), true
	case b[0] == 0x20 && b[1] == 0x02:
		return netip.AddrFrom4([4]byte(b[2:6])), true
	default:
		return netip.Addr{}, false
	}
}
