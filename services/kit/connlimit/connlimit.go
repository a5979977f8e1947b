// Package connlimit bounds how many connections listeners have at once, in all and of
// one address, so that nobody takes all file descriptors of the process.
package connlimit

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/pires/go-proxyproto"

	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/openfiles"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
)

// Config says how many connections there may be. Default makes it.
type Config struct {
	// Max is how many there may be at once; 0 is any number. Further ones wait to be
	// accepted.
	Max int
	// PerAddress is how many of one address there may be, at most half of Max; 0 is any
	// number. Further ones are closed. Trusted proxies have no such bound, but the clients
	// have that their PROXY headers name.
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
		"`number` of connections of one address (IPv6: /64) at once, at most half of all, not of trusted proxies; further ones are closed; 0 for any number")
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

// others is how many descriptors a process keeps for what it opens beside users'
// connections: its database, other services, operators.
const others = 64

// Fit keeps Max within what the process may have open. Call it when nothing is open yet
// that users cause. The error says why the limit of open files is too low.
func (c *Config) Fit() error {
	limit, limited := openfiles.Limit()
	if !limited {
		return nil
	}
	return c.within(limit, openfiles.Open()+others)
}

// minRoom is the least room for connections with which a service starts.
const minRoom = 8

// within keeps Max within a limit of open files of which some are taken.
func (c *Config) within(limit, taken int) error {
	room := limit - taken
	if room < minRoom {
		return fmt.Errorf("the limit of open files is %d, and at least %d are needed: raise it with ulimit -n or LimitNOFILE=", limit, taken+minRoom)
	}
	if c.Max == 0 || c.Max > room {
		c.Max = room
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
		l.cfg.PerAddress = min(cfg.PerAddress, max(cfg.Max/2, 1))
	}
	return l
}

// Listener returns a listener whose connections count, and which reads the PROXY headers
// of trusted proxies; lis itself if it or the limit is nil.
func (l *Limit) Listener(lis net.Listener) net.Listener {
	if l == nil || lis == nil {
		return lis
	}
	below := &listener{Listener: lis, limit: l, closed: make(chan struct{})}
	if above := l.proxies.Listener(below); above != below {
		return &proxied{Listener: above, limit: l}
	}
	return below
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

// Accept returns the next connection of an address that may have one more, once there is
// room for it. The room is taken only then: listeners that have no client keep none from
// each other.
func (l *listener) Accept() (net.Conn, error) {
	for {
		accepted, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		network := l.limit.networkOf(accepted)
		if !l.limit.take(network) {
			_ = accepted.Close()
			continue
		}
		if !l.enter() {
			l.limit.give(network)
			_ = accepted.Close()
			return nil, net.ErrClosed
		}
		return &conn{Conn: accepted, limit: l.limit, network: network}, nil
	}
}

// enter waits for room. It returns false once the listener is closed.
func (l *listener) enter() bool {
	if l.limit.room == nil {
		return true
	}
	select {
	case l.limit.room <- struct{}{}:
		return true
	case <-l.closed:
		return false
	}
}

// networkOf returns what a connection counts for: not valid if it is a trusted proxy's,
// which stands for many clients. Of a connection with a PROXY header it waits for that.
func (l *Limit) networkOf(c net.Conn) netip.Prefix {
	addr := proxies.AddrOf(c.RemoteAddr()).Addr()
	if l.proxies.Trusts(addr) {
		return netip.Prefix{}
	}
	return clientaddr.Network(addr)
}

type conn struct {
	net.Conn
	limit *Limit

	mu      sync.Mutex
	closed  bool
	network netip.Prefix // it counts for
}

// Close closes the connection, which counts no more.
func (c *conn) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		c.limit.give(c.network)
		c.limit.leave()
	}
	c.mu.Unlock()
	return c.Conn.Close()
}

// count counts a trusted proxy's connection for its client. It returns false if that has
// as many as it may, or the connection is closed.
func (c *conn) count(network netip.Prefix) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || !c.limit.take(network) {
		return false
	}
	c.network = network
	return true
}

// proxied is a listener above one that reads PROXY headers, which is above ours.
type proxied struct {
	net.Listener
	limit *Limit
}

// Accept returns the next connection. It does not wait for its header.
func (l *proxied) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	with, ok := accepted.(*proxyproto.Conn)
	if !ok {
		return accepted, nil // from nobody's proxy
	}
	below, ok := with.Raw().(*conn)
	if !ok {
		_ = accepted.Close()
		return nil, fmt.Errorf("accept: %T is not one of ours", with.Raw())
	}
	return &client{Conn: with, below: below}, nil
}

// client is a connection that a trusted proxy made for a client.
type client struct {
	net.Conn
	below *conn
	once  sync.Once
	err   error
}

// errShare is what reading from a connection leads to whose address has its share.
var errShare = errors.New("the client's address has as many connections as it may")

// Read reads, the first time not before the connection counts for its client.
func (c *client) Read(p []byte) (int, error) {
	c.once.Do(func() {
		if !c.below.count(c.below.limit.networkOf(c.Conn)) {
			c.err = errShare
			_ = c.Close()
		}
	})
	if c.err != nil {
		return 0, c.err
	}
	return c.Conn.Read(p)
}
