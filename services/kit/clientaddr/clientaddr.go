// Package clientaddr carries the address of a client through a call: the address of
// whoever opened the connection, or the one that a trusted proxy says.
package clientaddr

import (
	"context"
	"net/netip"
)

type key struct{}

// With returns a context that carries a client's address.
func With(ctx context.Context, addr netip.Addr) context.Context {
	return context.WithValue(ctx, key{}, addr.Unmap())
}

// From returns the client's address that ctx carries; it is not valid if there is
// none, as in a call by a service for itself.
func From(ctx context.Context) netip.Addr {
	addr, _ := ctx.Value(key{}).(netip.Addr)
	return addr
}

// Network returns the network that counts as one client: an IPv4 address alone, an
// IPv6 address with its /64, because a host can have any address of that.
func Network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	if addr.Is4() {
		return netip.PrefixFrom(addr, addr.BitLen())
	}
	network, _ := addr.Prefix(64) // fails for an invalid address only, whose network is invalid too
	return network
}

// Wider returns the network that may be one owner's: the /24 of an IPv4 address, the /48
// of an IPv6 address.
func Wider(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	network, _ := addr.Prefix(bits) // as in Network
	return network
}

// Metadata is the metadata of a gRPC call in which the portal passes on a client's
// address. Package grpcserver believes it from the portal only.
const Metadata = "tidegate-client-address"
