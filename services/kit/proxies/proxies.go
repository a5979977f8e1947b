// Package proxies says who a client is when proxies stand between it and a listener.
// An operator lists the networks of the proxies that are trusted. What they say about
// a client counts: in the headers X-Forwarded-For and Forwarded (RFC 7239), and in the
// PROXY protocol, versions 1 and 2. Nobody else's word counts.
package proxies

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/tidegatehq/tidegate/services/kit/netaddr"
)

// Config says which proxies are trusted, and what they send. Its zero value trusts
// nobody.
type Config struct {
	// Trusted are the networks of the proxies.
	Trusted Networks
	// Protocol says that connections from trusted proxies begin with a header of the
	// PROXY protocol.
	Protocol bool

	prefix string
}

// Flags registers the options, with prefix before their names. Their defaults are
// what the Config holds.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	fs.Var(&c.Trusted, prefix+"trusted-proxies",
		"`networks` of proxies whose X-Forwarded-For, Forwarded and PROXY protocol are believed, such as 10.0.0.0/8,fd00::/8; empty for none")
	fs.BoolVar(&c.Protocol, prefix+"proxy-protocol", c.Protocol,
		"connections from trusted proxies begin with a header of the PROXY protocol, version 1 or 2")
}

// Check reports what is wrong with the configuration.
func (c *Config) Check() error {
	if c.Protocol && len(c.Trusted) == 0 {
		return fmt.Errorf("-%sproxy-protocol: needs -%strusted-proxies, the networks that may send it", c.prefix, c.prefix)
	}
	return nil
}

// Trusts reports whether addr is that of a trusted proxy. A nil Config trusts nobody.
func (c *Config) Trusts(addr netip.Addr) bool {
	if c == nil || !addr.IsValid() {
		return false
	}
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(c.Trusted, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// Networks is a list of networks. It is a flag.Value.
type Networks []netip.Prefix

// String returns the networks, separated by commas.
func (n *Networks) String() string {
	names := make([]string, len(*n))
	for i, p := range *n {
		names[i] = p.String()
	}
	return strings.Join(names, ",")
}

// IsList says that it is a list (run.List).
func (*Networks) IsList() {}

// Set reads networks that are separated by commas. An address alone is the network
// of that address.
func (n *Networks) Set(text string) error {
	var list Networks
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		network, err := netaddr.ParseNetwork(name)
		if err != nil {
			return err
		}
		list = append(list, network)
	}
	*n = list
	return nil
}

// ErrMalformed is returned for what a trusted proxy says in a form that says nothing.
var ErrMalformed = errors.New("a trusted proxy's X-Forwarded-For or Forwarded is malformed")

// ErrContradiction is returned when X-Forwarded-For and Forwarded name different
// clients. A proxy that writes one of them and passes on the other as a client sent it
// would else let clients choose who they are.
var ErrContradiction = errors.New("X-Forwarded-For and Forwarded name different clients")
