// Package connlimit bounds how many connections listeners have at once, in all and of
// one address, so that nobody takes all file descriptors of the process.
package connlimit

import (
	"flag"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
)

// Config says how many connections there may be. Default makes it.
type Config struct {
	// Max is how many there may be at once; 0 is any number. Further ones wait to be
	// accepted.
	Max int
	// PerAddress is how many of one address there may be; 0 is any number. Further ones
	// are closed. Trusted proxies have no such bound.
	PerAddress int

	prefix string
}

// Default returns the default configuration.
func Default() Config { return Config{Max: 4096, PerAddress: 256} }

// Flags registers the options, with prefix before their names. Their defaults are what
// the Config holds.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	fs.IntVar(&c.Max, prefix+"max-connections", c.Max,
		"`number` of connections at once; further ones wait; 0 for any number")
	fs.IntVar(&c.PerAddress, prefix+"max-connections-per-address", c.PerAddress,
		"`number` of connections of one address (IPv6: /64) at once, not of trusted proxies; further ones are closed; 0 for any number")
}

// Check reports what is wrong with the configuration.
func (c *Config) Check() error {
	for name, n := range map[string]int{"max-connections": c.Max, "max-connections-per-address": c.PerAddress} {
		if n < 0 {
			return fmt.Errorf("-%s%s: must not be negative", c.prefix, name)
		}
	}
	return nil
}

// Limit counts the connections of all its listeners together.
type Limit struct {
	cfg     Config
	proxies *proxies.Config
	room    chan struct{} // nil: any number

	mu        sync.Mutex
	addresses map[netip.Prefix]int
}

// New returns a limit that counts trusted proxies in all only.
func New(cfg Config, trusted *proxies.Config) *Limit {
	l := &Limit{cfg: cfg, proxies: trusted, addresses: map[netip.Prefix]int{}}
	if cfg.Max > 0 {
		l.room = make(chan struct{}, cfg.Max)
	}
	return l
}

// Listener returns a listener whose connections count; lis itself if it or the limit is
// nil.
func (l *Limit) Listener(lis net.Listener) net.Listener {
	if l == nil || lis == nil {
		return lis
	}
	return &listener{Listener: lis, limit: l, closed: make(chan struct{})}
}

// take counts a connection of an address. It returns false if the address has as many
// as it may.
func (l *Limit) take(network netip.Prefix) bool {
	if l.cfg.PerAddress == 0 || !network.IsValid() {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.addresses[network] >= l.cfg.PerAddress {
		return false
	}
	l.addresses[network]++
	return true
}

func (l *Limit) give(network netip.Prefix) {
	if l.cfg.PerAddress == 0 || !network.IsValid() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.addresses[network]--; l.addresses[network] <= 0 {
		delete(l.addresses, network)
	}
}

// leave makes room for another connection.
func (l *Limit) leave() {
	if l.room != nil {
		<-l.room
	}
}

type listener struct {
	net.Listener
	limit  *Limit
	once   sync.Once
	closed chan struct{}
}

// Close closes the listener. Its connections stay open, and go on to count.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// Accept waits until there is room, and returns the next connection of an address that
// may have one more.
func (l *listener) Accept() (net.Conn, error) {
	if l.limit.room != nil {
		select {
		case l.limit.room <- struct{}{}:
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			l.limit.leave()
			return nil, err
		}
		addr := proxies.AddrOf(accepted.RemoteAddr()).Addr()
		network := clientaddr.Network(addr)
		if l.limit.proxies.Trusts(addr) {
			network = netip.Prefix{}
		}
		if l.limit.take(network) {
			return &conn{Conn: accepted, limit: l.limit, network: network}, nil
		}
		_ = accepted.Close()
	}
}

type conn struct {
	net.Conn
	limit   *Limit
	network netip.Prefix
	once    sync.Once
}

// Close closes the connection, which counts no more.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.limit.give(c.network)
		c.limit.leave()
	})
	return c.Conn.Close()
}
