// Package portal is what users and their programs reach: pages, REST, the OAuth2
// endpoints and the public gRPC. It stores nothing and has no rights: it passes calls to the
// services with the caller's token, and the services decide.
package portal

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidegatehq/tidegate/services/kit/connlimit"
	"github.com/tidegatehq/tidegate/services/kit/grpcclient"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/ops"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
	"github.com/tidegatehq/tidegate/services/portal/internal/cors"
)

// Config is the configuration of the portal. Default makes it.
type Config struct {
	// Listen is where HTTPS is served, host:port.
	Listen string
	// GRPC is where the public gRPC is served, host:port; empty for none.
	GRPC string
	// TLSCert and TLSKey are PEM files with the certificate of HTTPS and gRPC; they
	// are read again when they change.
	TLSCert, TLSKey string
	// Plaintext serves HTTPS and gRPC without TLS, for use behind a proxy that adds it.
	Plaintext bool
	// MasterKeyFile has the key that seals the cookies of the pages; it is the
	// installation's.
	MasterKeyFile string
	// FirstPassword says where the first administrator's password is, or "" once it is no
	// longer good; nil where that is not known.
	FirstPassword func(context.Context) string
	// Authority is the file that users' programs find the certificate of the gateways'
	// authority in; pages name it in what users copy. Empty where programs trust the
	// authority already.
	Authority string
	// DialGateway, if set, connects the consoles of pages to the gateway of this process,
	// which believes what they say about the user's address.
	DialGateway func(context.Context) (net.Conn, error)
	// GatewayCA is a PEM file with the authorities that the consoles of pages trust, beside
	// the system's, when they connect to gateways; empty for the system's alone.
	GatewayCA string
	// Drain is how long requests may continue after a stop.
	Drain time.Duration
	// Catalog and Subscription are the services behind the portal.
	Catalog, Subscription grpcclient.Config
	// Gateways says how gateways are reached; the catalog knows where they are.
	Gateways grpcclient.Instances
	// Proxies are believed about the clients of HTTPS and gRPC.
	Proxies proxies.Config
	// Origins are the origins of pages that may use REST and OAuth2.
	Origins cors.Origins
	// Connections bounds those of HTTPS and gRPC together.
	Connections connlimit.Config
	// Ops says where metrics and health are served.
	Ops ops.Config
	// Metrics is the registry for metrics; nil means a new one.
	Metrics *prometheus.Registry
	// Listener and GRPCListener are used instead of Listen and GRPC when they
	// are set.
	Listener, GRPCListener net.Listener

	prefix string
}

// Default returns the default configuration. A certificate or Plaintext must be set
// as well.
func Default() Config {
	return Config{
		Listen:       "127.0.0.1:9443",
		GRPC:         "127.0.0.1:9090",
		Drain:        10 * time.Second,
		Catalog:      grpcclient.Default(identity.Catalog, "127.0.0.1:9291"),
		Subscription: grpcclient.Default(identity.Subscription, "127.0.0.1:9292"),
		Gateways:     grpcclient.OfService(identity.Gateway),
		Connections:  connlimit.Default(),
		Ops:          ops.Default(),
	}
}

// Flags registers the options, with prefix before their names. Their defaults are
// what the Config holds.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	fs.StringVar(&c.Listen, prefix+"listen", c.Listen, "`address` of HTTPS: pages, REST and OAuth2, host:port")
	fs.StringVar(&c.GRPC, prefix+"grpc", c.GRPC, "`address` of the public gRPC, host:port; empty for none")
	fs.StringVar(&c.TLSCert, prefix+"tls-cert", c.TLSCert, "PEM `file` of the certificate for HTTPS and gRPC")
	fs.StringVar(&c.TLSKey, prefix+"tls-key", c.TLSKey, "PEM `file` of the certificate's key")
	fs.BoolVar(&c.Plaintext, prefix+"plaintext", c.Plaintext, "serve HTTPS and gRPC without TLS, behind a proxy that adds it")
	fs.StringVar(&c.GatewayCA, prefix+"gateway-wss-ca", c.GatewayCA,
		"PEM `file` of authorities that the pages' console trusts, in addition to the system's, when it connects to gateways over wss; pages name it in what users copy")
	fs.StringVar(&c.MasterKeyFile, prefix+"master-key-file", c.MasterKeyFile, "`file` with the installation's master key, which seals the cookies of the pages; required")
	fs.DurationVar(&c.Drain, prefix+"drain", c.Drain, "how `long` requests may continue after a stop; 0 for not at all")
	c.Catalog.Flags(fs, prefix)
	c.Subscription.Flags(fs, prefix)
	c.Gateways.Flags(fs, prefix)
	c.Proxies.Flags(fs, prefix)
	fs.Var(&c.Origins, prefix+"cors-origins",
		"`origins` of web pages that may use REST and OAuth2 (CORS), such as https://app.example.com,http://localhost:3000; empty for none")
	c.Connections.Flags(fs, prefix)
	c.Ops.Flags(fs, prefix)
}

// Check reports everything that is wrong with the configuration.
func (c *Config) Check() error {
	p := "-" + c.prefix
	var wrong []error
	fail := func(format string, a ...any) { wrong = append(wrong, fmt.Errorf(format, a...)) }
	if err := netaddr.Check(c.Listen); err != nil && c.Listener == nil {
		fail("%slisten: %w", p, err)
	}
	if err := netaddr.Check(c.GRPC); err != nil && c.GRPC != "" && c.GRPCListener == nil {
		fail("%sgrpc: %w", p, err)
	}
	switch {
	case (c.TLSCert == "") != (c.TLSKey == ""):
		fail("%stls-cert and %stls-key go together", p, p)
	case c.TLSCert == "" && !c.Plaintext:
		fail("%stls-cert and %stls-key are needed, or %splaintext behind a proxy that adds TLS", p, p, p)
	case c.TLSCert != "" && c.Plaintext:
		fail("%splaintext and %stls-cert exclude each other", p, p)
	}
	if c.MasterKeyFile == "" {
		fail("%smaster-key-file: a file is needed", p)
	}
	if c.Drain < 0 {
		fail("%sdrain: must not be negative", p)
	}
	wrong = append(wrong, c.Catalog.Check(), c.Subscription.Check(), c.Gateways.Check(), c.Proxies.Check(), c.Connections.Check(), c.Ops.Check())
	return errors.Join(wrong...)
}
