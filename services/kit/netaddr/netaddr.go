// Package netaddr checks addresses of the form host:port, and listens on them.
package netaddr

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Check reports why addr is not host:port, or nil. An empty host means every
// interface.
func Check(addr string) error {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return fmt.Errorf("%q is not host:port", addr)
	}
	return nil
}

// CheckDialable reports why others cannot dial addr, or nil: it must name one host
// and a port.
func CheckDialable(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not host:port", addr)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("%s is every interface, not one host", addr)
	}
	if port == "" || port == "0" {
		return fmt.Errorf("%s has no port", addr)
	}
	return nil
}

// Host returns the host of host, host:port or [host]:port, without brackets.
func Host(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	if inner, ok := strings.CutPrefix(addr, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			return inner
		}
	}
	return addr
}

// IsLoopback reports whether only this machine can reach addr. Of names, only
// localhost counts.
func IsLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Local returns host:port at which this machine reaches a listener at addr. One on
// every interface is reached on loopback, over IPv4 if it has that.
func Local(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	// Go's listeners on [::] take IPv4 too.
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcp.Port))
}

// OnThisMachine reports whether an address is one of this machine's. It is when that
// cannot be found out.
func OnThisMachine(addr netip.Addr) bool {
	addr = addr.WithZone("").Unmap()
	if addr.IsLoopback() || addr.IsUnspecified() {
		return true
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().WithZone("").Unmap() == addr
	})
}

// ParseNetwork reads a network such as 10.0.0.0/8 or fd00::/8. An address alone is the
// network of that address; addresses and networks of IPv4 in IPv6 are those of IPv4. Zones
// are refused, and bits beyond the length. The error says so and has the text.
func ParseNetwork(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	network, err := netip.ParsePrefix(text)
	if mapped := network.Bits() - 96; err == nil && network.Addr().Is4In6() && mapped >= 0 {
		network = netip.PrefixFrom(network.Addr().Unmap(), mapped)
	}
	switch {
	case err != nil, network.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q is not a network such as 10.0.0.0/8", text)
	case network != network.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its length: %s is meant", text, network.Masked())
	}
	return network, nil
}

// NetworkText returns a network as ParseNetwork reads it: a network of one address is
// written as the address.
func NetworkText(network netip.Prefix) string {
	if network.IsSingleIP() {
		return network.Addr().String()
	}
	return network.String()
}

// Listen returns given if it is not nil, otherwise a TCP listener on addr, which flag
// gives, or nil if addr is empty too.
func Listen(ctx context.Context, given net.Listener, flag, addr string) (net.Listener, error) {
	if given != nil || addr == "" {
		return given, nil
	}
	lis, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, Unusable(flag, addr, err)
	}
	return lis, nil
}

// Unusable returns the error for an address that cannot be listened on. flag gives it,
// such as -ops.
func Unusable(flag, addr string, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s: %s is taken by another program; give another", flag, addr)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%s: %s is not an address of this machine", flag, addr)
	case errors.As(err, &errno):
		return fmt.Errorf("%s: cannot listen on %s: %s", flag, addr, errno.Error())
	}
	return fmt.Errorf("%s: cannot listen on %s: %w", flag, addr, err)
}
