// Package permit has the places that an API key can be good from: the addresses of
// clients, and the pages whose scripts connect. The subscription service reads what users
// write, and a gateway judges every handshake.
package permit

import "net/netip"

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
