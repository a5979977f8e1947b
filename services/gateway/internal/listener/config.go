package listener

import (
	"errors"
	"flag"
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
	MaxHandshakes     int           // in progress at once, further clients wait; 16384
	// Listener and TLSListener, when set, are used instead of the addresses.
	Listener, TLSListener net.Listener
}

// Flags registers the options, each name after prefix.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	fs.StringVar(&c.Addr, prefix+"ws", ":9099", "plain WebSocket `address`; empty for none")
	fs.StringVar(&c.TLSAddr, prefix+"wss", ":8099", "TLS WebSocket `address`; empty for none")
	fs.StringVar(&c.CertFile, prefix+"wss-cert", "", "certificate `file` for -"+prefix+"wss, PEM, read again when it changes; empty for a self-signed one")
	fs.StringVar(&c.KeyFile, prefix+"wss-key", "", "private key `file` for -"+prefix+"wss-cert")
	fs.StringVar(&c.CertDir, prefix+"wss-self-signed", ".", "`folder` where the self-signed certificate is kept")
	fs.DurationVar(&c.Timeout, prefix+"handshake-timeout", 10*time.Second, "`time` that a whole handshake has, its head included")
	fs.IntVar(&c.MaxHandshakes, prefix+"max-handshakes", 16384, "`number` of handshakes in progress at once; further clients wait")
}

// Check reports what is wrong, all of it at once.
func (c *Config) Check() error {
	var errs []error
	if (c.CertFile == "") != (c.KeyFile == "") {
		errs = append(errs, errors.New("-wss-cert and -wss-key go together"))
	}
	if c.Addr == "" && c.TLSAddr == "" && c.Listener == nil && c.TLSListener == nil {
		errs = append(errs, errors.New("-ws and -wss are both empty: nobody could connect"))
	}
	if c.Timeout < 0 {
		errs = append(errs, errors.New("-handshake-timeout is negative"))
	}
	if c.MaxHandshakes < 0 {
		errs = append(errs, errors.New("-max-handshakes is negative"))
	}
	return errors.Join(errs...)
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
