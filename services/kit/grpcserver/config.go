package grpcserver

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/netaddr"
)

// Config says where and how a server listens. It is made by Default.
type Config struct {
	// Addr is the users' address, host:port; empty for none.
	Addr string
	// InternalAddr is the services' address, host:port; empty for none.
	InternalAddr string
	// TLSCert and TLSKey are PEM files of the server's certificate. Without
	// them both faces are plaintext.
	TLSCert, TLSKey string
	// TLSClientCA is a PEM file with the authority of the services' certificates. A
	// service is known by the first DNS name of its certificate. Without TLSClientCA,
	// InternalAddr is plaintext and must be on loopback.
	TLSClientCA string
	// Plaintext allows users' calls without TLS beyond loopback, for example behind a
	// proxy that terminates it.
	Plaintext bool
	// Drain is how long calls may still run when the server stops.
	Drain time.Duration
	// Listener and InternalListener, if set, are used instead of Addr and
	// InternalAddr, without TLS.
	Listener, InternalListener net.Listener
	// Listening, if set, is called with the address of each listener.
	Listening func(net.Addr)

	prefix string
	made   bool // by Default
}

// Default returns the configuration of a server for users at addr and for
// services at internalAddr, each host:port or empty.
func Default(addr, internalAddr string) Config {
	return Config{Addr: addr, InternalAddr: internalAddr, Drain: 10 * time.Second, made: true}
}

// Flags registers the options, with prefix before their names. Their defaults are
// what the Config holds.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	fs.StringVar(&c.Addr, prefix+"grpc", c.Addr, "`address` of gRPC for users, host:port; empty for none")
	fs.StringVar(&c.InternalAddr, prefix+"grpc-internal", c.InternalAddr, "`address` of gRPC for services, host:port; empty for none")
	fs.StringVar(&c.TLSCert, prefix+"grpc-cert", c.TLSCert, "PEM `file` of the certificate for both listeners; empty for plaintext")
	fs.StringVar(&c.TLSKey, prefix+"grpc-key", c.TLSKey, "PEM `file` of the certificate's key")
	fs.StringVar(&c.TLSClientCA, prefix+"grpc-client-ca", c.TLSClientCA, "PEM `file` of the authority that signs services' certificates; empty for plaintext on loopback")
	fs.BoolVar(&c.Plaintext, prefix+"grpc-plaintext", c.Plaintext, "serve users without TLS even beyond loopback")
	fs.DurationVar(&c.Drain, prefix+"grpc-drain", c.Drain, "how `long` calls may continue after a stop; 0 for not at all")
}

// Check reports everything that is wrong with the configuration.
func (c *Config) Check() error {
	p := "-" + c.prefix
	var wrong []error
	fail := func(format string, a ...any) { wrong = append(wrong, fmt.Errorf(format, a...)) }
	if !c.made {
		fail("the gRPC of no service: its configuration is made by Default")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		fail("%sgrpc-cert and %sgrpc-key go together", p, p)
	}
	if c.TLSClientCA != "" && c.TLSCert == "" {
		fail("%sgrpc-client-ca needs %sgrpc-cert and %sgrpc-key", p, p, p)
	}
	if c.Drain < 0 {
		fail("%sgrpc-drain: must not be negative", p)
	}
	if c.Listener == nil && c.Addr != "" {
		if err := netaddr.Check(c.Addr); err != nil {
			fail("%sgrpc: %w", p, err)
		} else if !netaddr.IsLoopback(c.Addr) && c.TLSCert == "" && !c.Plaintext {
			fail("%sgrpc: %s is not on loopback: give %sgrpc-cert and %sgrpc-key, or %sgrpc-plaintext", p, c.Addr, p, p, p)
		}
	}
	if c.InternalListener == nil && c.InternalAddr != "" {
		if err := netaddr.Check(c.InternalAddr); err != nil {
			fail("%sgrpc-internal: %w", p, err)
		} else if !netaddr.IsLoopback(c.InternalAddr) && c.TLSClientCA == "" {
			fail("%sgrpc-internal: %s is not on loopback: give %sgrpc-client-ca, %sgrpc-cert and %sgrpc-key", p, c.InternalAddr, p, p, p)
		}
	}
	return errors.Join(wrong...)
}
