package deny

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

// group has the rules of one key. Those for addresses are found by one look-up for each
// length of network that there is, the longest first: few lengths are used, however many
// networks there are, and there are at most 33 of IPv4 and 129 of IPv6.
type group struct {
	always   []*Rule // for any address
	networks map[netip.Prefix][]*Rule
	v4, v6   []length
}

// length is a length of networks, and how many networks have it.
type length struct{ bits, networks int }

func (g *group) clone() *group {
	return &group{
		always: slices.Clone(g.always), networks: maps.Clone(g.networks), v4: slices.Clone(g.v4), v6: slices.Clone(g.v6),
	}
}

// lengths returns the lengths of the networks of an address's kind.
func (g *group) lengths(addr netip.Addr) *[]length {
	if addr.Is4() {
		return &g.v4
	}
	return &g.v6
}

// place returns where a length is, or belongs, in lengths.
func place(all []length, bits int) (int, bool) {
	return slices.BinarySearchFunc(all, bits, func(l length, bits int) int { return cmp.Compare(bits, l.bits) })
}

func (g *group) add(r *Rule) {
	network := r.ClientAddress
	if !network.IsValid() {
		g.always = append(g.always, r)
		return
	}
	rules := g.networks[network]
	// Not in place: another table may share it.
	g.networks[network] = append(slices.Clip(rules), r)
	if len(rules) > 0 {
		return
	}
	all := g.lengths(network.Addr())
	i, ok := place(*all, network.Bits())
	if !ok {
		*all = slices.Insert(*all, i, length{bits: network.Bits()})
	}
	(*all)[i].networks++
}

// remove takes a rule out, and reports whether none is left.
func (g *group) remove(r *Rule) (empty bool) {
	network := r.ClientAddress
	is := func(other *Rule) bool { return other == r }
	if !network.IsValid() {
		g.always = slices.DeleteFunc(g.always, is)
		return len(g.always)+len(g.networks) == 0
	}
	if rules := slices.DeleteFunc(slices.Clone(g.networks[network]), is); len(rules) > 0 {
		g.networks[network] = rules
		return false
	}
	delete(g.networks, network)
	all := g.lengths(network.Addr())
	if i, ok := place(*all, network.Bits()); ok {
		if (*all)[i].networks--; (*all)[i].networks == 0 {
			*all = slices.Delete(*all, i, i+1)
		}
	}
	return len(g.always)+len(g.networks) == 0
}

// find returns the rule that matches a client: of the smallest network, or else one for any
// address.
func (g *group) find(c *Client) *Rule {
	if c.Addr.IsValid() && len(g.networks) > 0 {
		for _, l := range *g.lengths(c.Addr) {
			network, err := c.Addr.Prefix(l.bits)
			if err != nil {
				continue // no address of the kind has such a length
			}
			if r := match(g.networks[network], c); r != nil {
				return r
			}
		}
	}
	return match(g.always, c)
}

func match(rules []*Rule, c *Client) *Rule {
	for _, r := range rules {
		if r.matches(c) {
			return r
		}
	}
	return nil
}
