package listener

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
	"github.com/tidegatehq/tidegate/services/kit/ref"
)

// Config is the configuration of the listener. Default makes it.
type Config struct {
	Addr    string // for plain connections; empty: none
	TLSAddr string // for TLS connections; empty: none
	// CertFile and KeyFile are read again when they change. If they are empty, the
	// self-signed pair in CertDir is used, which is made if it does not exist.
	CertFile, KeyFile string
	CertDir           string
	// HostCertDir is a folder with the certificates of virtual hosts; empty for none. CertFile
	// is for every other name.
	HostCertDir   string
	Timeout       time.Duration // of a whole handshake, TLS and head included
	MaxHandshakes int           // in progress at once, 0 for any number; further clients are refused
	MaxPerAddress int           // of these, of one address; at most half of them, which 0 means too
	MaxRate       int           // handshakes of one address in a second, ten times as many after a pause; 0: any number
	Spare         int           // connections beyond these, which are only refused
	MaxHead       int           // bytes of a request's head
	Proxies       proxies.Config
	// Listener and TLSListener, if set, are used instead of the addresses.
	Listener, TLSListener net.Listener
	// Inside, if set, has plain connections of this process, which is believed about its
	// clients as a trusted proxy is, whatever Proxies say.
	Inside net.Listener
	// Own, if set, answers requests below /-/ that are for clients with credentials. It
	// returns the whole response, or nil where there is no such endpoint.
	Own func(ctx context.Context, r *Request, method string) []byte
	// Tag is that of the gateway's boot, which refs of refusals have.
	Tag ref.Tag
	// Beside, if set, serves requests that ask for no upgrade, one at a time on a connection,
	// which waits for the Idle time for the next one. Where it is not set they are refused.
	Beside func(ctx context.Context, r *Request) Served
	Idle   time.Duration

	prefix string
}

// minHead and maxHead are the bounds of Config.MaxHead: what a browser without
// cookies sends fits the least; the most is what all handshakes in progress may hold
// at once.
const minHead, maxHead = 4 << 10, 1 << 20

// maxRate is the most that Config.MaxRate may be.
const maxRate = 1_000_000

// Default returns the default configuration.
func Default() Config {
	return Config{
		Addr: "127.0.0.1:9099", TLSAddr: "127.0.0.1:8099", Timeout: 10 * time.Second, MaxHandshakes: 16384, MaxPerAddress: 1024, MaxRate: 100, Spare: 256,
		MaxHead: head.DefaultMax, Idle: 30 * time.Second, Tag: ref.NoTag,
	}
}

// Flags registers the options, each name after prefix. Their defaults are what the
// Config holds.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	fs.StringVar(&c.Addr, prefix+"ws", c.Addr, "`address` of WebSocket without TLS, host:port; empty for none")
	fs.StringVar(&c.TLSAddr, prefix+"wss", c.TLSAddr, "`address` of WebSocket over TLS, host:port; empty for none")
	fs.StringVar(&c.CertFile, prefix+"tls-cert", c.CertFile, "PEM `file` of the certificate of -"+prefix+"wss, read again when it changes; empty for a self-signed one")
	fs.StringVar(&c.KeyFile, prefix+"tls-key", c.KeyFile, "PEM `file` of the certificate's key")
	fs.StringVar(&c.HostCertDir, prefix+"tls-dir", c.HostCertDir,
		"`folder` with certificates of virtual hosts, each NAME.crt with its key NAME.key in PEM, for the DNS names in it; followed while the gateway runs; empty for none. Every other name gets the one certificate of all others")
	fs.DurationVar(&c.Timeout, prefix+"handshake-timeout", c.Timeout, "`time` for a whole handshake, including its head")
	fs.IntVar(&c.MaxHead, prefix+"max-head", c.MaxHead, "largest head of a request or of a backend's answer in `bytes`, 4096 to 1048576")
	fs.IntVar(&c.MaxHandshakes, prefix+"max-handshakes", c.MaxHandshakes, "`number` of handshakes in progress at once; further ones are answered with 503; 0 for no limit")
	fs.IntVar(&c.MaxPerAddress, prefix+"max-handshakes-per-address", c.MaxPerAddress,
		"`number` of handshakes of one address (IPv6: /64) in progress at once, at most half of -"+prefix+"max-handshakes, which is also what 0 means; further ones are answered with 429")
	fs.IntVar(&c.MaxRate, prefix+"max-handshake-rate", c.MaxRate,
		"`number` of handshakes of one address (IPv6: /64) in a second, ten times as many after a pause; further ones are answered with 429; 0 for no limit")
	fs.DurationVar(&c.Idle, prefix+"http-idle", c.Idle, "`time` for which a connection of HTTP beside the socket is kept for another request")
	c.Proxies.Flags(fs, prefix)
}

// Check reports everything that is wrong with the configuration.
func (c *Config) Check() error {
	var errs []error
	fail := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	p := "-" + c.prefix
	if (c.CertFile == "") != (c.KeyFile == "") {
		fail("%stls-cert and %stls-key go together", p, p)
	}
	if c.Addr == "" && c.TLSAddr == "" && c.Listener == nil && c.TLSListener == nil {
		fail("%sws and %swss are both empty: nobody could connect", p, p)
	}
	if err := netaddr.Check(c.Addr); err != nil && c.Addr != "" {
		fail("%sws: %w", p, err)
	}
	if err := netaddr.Check(c.TLSAddr); err != nil && c.TLSAddr != "" {
		fail("%swss: %w", p, err)
	}
	if c.Timeout <= 0 {
		fail("%shandshake-timeout: must be more than 0, or silent clients would stay for ever", p)
	}
	if c.Idle <= 0 {
		fail("%shttp-idle: must be more than 0, or silent clients would stay for ever", p)
	}
	if c.MaxHead < minHead || c.MaxHead > maxHead {
		fail("%smax-head: must be %d to %d bytes", p, minHead, maxHead)
	}
	if c.MaxHandshakes < 0 {
		fail("%smax-handshakes: must not be negative", p)
	}
	if c.MaxPerAddress < 0 {
		fail("%smax-handshakes-per-address: must not be negative", p)
	}
	if c.MaxRate < 0 || c.MaxRate > maxRate {
		fail("%smax-handshake-rate: must be 0 to %d", p, maxRate)
	}
	return errors.Join(append(errs, c.Proxies.Check())...)
}
