package listener

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"time"
)

// Config is all that the listener can be told.
type Config struct {
	Addr    string // plain; empty: none
	TLSAddr string // empty: none
	// CertFile and KeyFile are read again when they change. When they are empty
	// a self-signed pair is made in CertDir, or used if it is there.
	CertFile, KeyFile string
	CertDir           string
	Timeout           time.Duration // of a whole handshake, and of its head; 10 s
	MaxHandshakes     int           // in progress at once, further clients are refused; 16384
	// Listener and TLSListener, when set, are used instead of the addresses.
	Listener, TLSListener net.Listener

	prefix string
}

// Flags registers the options, each name after prefix.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	fs.StringVar(&c.Addr, prefix+"ws", "127.0.0.1:9099", "plain WebSocket `address`, host:port; empty for none")
	fs.StringVar(&c.TLSAddr, prefix+"wss", "127.0.0.1:8099", "TLS WebSocket `address`, host:port; empty for none")
	fs.StringVar(&c.CertFile, prefix+"tls-cert", "", "PEM `file` of the certificate of -"+prefix+"wss, read again when it changes; empty for a self-signed one")
	fs.StringVar(&c.KeyFile, prefix+"tls-key", "", "PEM `file` of that certificate's key")
	fs.DurationVar(&c.Timeout, prefix+"handshake-timeout", 10*time.Second, "`time` that a whole handshake has, its head included")
	fs.IntVar(&c.MaxHandshakes, prefix+"max-handshakes", 16384, "`number` of handshakes in progress at once; further clients are answered 503")
}

// Check reports what is wrong, all of it at once.
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
	if !isAddr(c.Addr) {
		fail("%sws: %q is not host:port", p, c.Addr)
	}
	if !isAddr(c.TLSAddr) {
		fail("%swss: %q is not host:port", p, c.TLSAddr)
	}
	if c.Timeout < 0 {
		fail("%shandshake-timeout: must not be negative", p)
	}
	if c.MaxHandshakes < 0 {
		fail("%smax-handshakes: must not be negative", p)
	}
	return errors.Join(errs...)
}

// isAddr reports whether s is an address to listen at, or empty.
func isAddr(s string) bool {
	_, _, err := net.SplitHostPort(s)
	return s == "" || err == nil
}

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.MaxHandshakes == 0 {
		c.MaxHandshakes = 16384
	}
	return c
}
