package standalone

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/catalog"
	"github.com/tidegatehq/tidegate/services/gateway"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/portal"
	"github.com/tidegatehq/tidegate/services/standalone/internal/folder"
	"github.com/tidegatehq/tidegate/services/subscription"
)

// Config is all that the standalone server can be told.
type Config struct {
	// Data is the data folder.
	Data string
	// Host is what is listened on where one of the following has a port only.
	Host string
	// HTTPS, GRPC, WS and WSS are where REST and OAuth2, the public gRPC, and
	// WebSocket clients without and with TLS are served: PORT or HOST:PORT.
	HTTPS, GRPC, WS, WSS string
	// Ops is where operations are served; empty for none. A port only is on
	// loopback whatever Host is.
	Ops string
	// NoSample starts without the sample.
	NoSample bool
	// SampleListen is where the sample's backend is served.
	SampleListen string
	// Drain is how long live sessions have to end after a stop.
	Drain time.Duration
	// Program is how the command line is called, for what is printed.
	Program string
	// Stdout takes what is printed for the user who starts the server; nil
	// prints nothing.
	Stdout io.Writer
	// Ready is called, when it is set, once everything is served.
	Ready func(Addresses)

	// The services' configurations are pointers because their flags point at
	// them, and a Config is copied.
	catalog      *catalog.Config
	subscription *subscription.Config
	gateway      *gateway.Config
	portal       *portal.Config
	services     *flag.FlagSet   // the services' flags, all of them
	left         map[string]bool // those that the user has left to standalone
}

// defaultDrain is how long live sessions, and then requests, have to end after a
// stop.
const defaultDrain = 2 * time.Second

// Files in the data folder.
const (
	masterKeyFile     = "master-key"
	adminPasswordFile = "admin-password"
	issuerFile        = "issuer"
	catalogDB         = "catalog.db"
	subscriptionDB    = "subscription.db"
)

// decided are the flags of services that standalone answers itself. A name
// that ends in * stands for all that begin so.
var decided = []string{
	"catalog.grpc*", "catalog.ops", "catalog.subscription*",
	"subscription.grpc*", "subscription.ops", "subscription.catalog*", "subscription.instance",
	"subscription.master-key-file", "subscription.admin-password-file",
	"gateway.grpc*", "gateway.ops", "gateway.catalog*", "gateway.subscription*", "gateway.instance",
	"gateway.ws", "gateway.wss", "gateway.tls-*", "gateway.drain", "gateway.data", "gateway.routes-file",
	"gateway.master-key-file",
	"portal.grpc", "portal.ops", "portal.listen", "portal.catalog*", "portal.subscription*", "portal.gateway*",
	"portal.tls-*", "portal.plaintext",
}

// isDecided reports whether standalone answers a service's flag itself.
func isDecided(name string) bool {
	return slices.ContainsFunc(decided, func(pattern string) bool {
		start, all := strings.CutSuffix(pattern, "*")
		return name == pattern || all && strings.HasPrefix(name, start)
	})
}

// optional are the flags of services that the user may leave to standalone, and
// what it then makes of them.
var optional = map[string]string{
	"catalog.db":           "sqlite:DATA/" + catalogDB,
	"catalog.gateway-urls": "the addresses of -ws and -wss",
	"subscription.db":      "sqlite:DATA/" + subscriptionDB,
	"subscription.issuer":  "the address of -https at the first start",
}

// Flags registers the options: standalone's own, and those of the services that
// it does not decide itself behind catalog., subscription., gateway. and
// portal.
func (c *Config) Flags(fs *flag.FlagSet) {
	fs.StringVar(&c.Data, "data", "./tidegate-data", "`folder` of databases, keys and passwords; made where there is none")
	fs.StringVar(&c.Host, "host", "127.0.0.1", "`host` to listen on; 0.0.0.0 for all interfaces")
	fs.StringVar(&c.HTTPS, "https", "9443", "`address` of REST and OAuth2 over HTTPS, port or host:port")
	fs.StringVar(&c.GRPC, "grpc", "9090", "`address` of gRPC over TLS, port or host:port")
	fs.StringVar(&c.WS, "ws", "9099", "`address` of WebSocket, port or host:port")
	fs.StringVar(&c.WSS, "wss", "8099", "`address` of WebSocket over TLS, port or host:port")
	fs.StringVar(&c.Ops, "ops", "9091", "`address` of metrics, health and profiles over HTTP, port (on loopback) or host:port; empty for none")
	fs.BoolVar(&c.NoSample, "no-sample", false, "start without the sample API and its backend")
	fs.StringVar(&c.SampleListen, "sample-listen", "127.0.0.1:9098", "`address` of the sample's backend, host:port")
	fs.DurationVar(&c.Drain, "drain", defaultDrain, "how `long` live sessions have to end after a stop")
	c.left = map[string]bool{}
	c.services = flag.NewFlagSet("", flag.ContinueOnError)
	c.services.SetOutput(io.Discard)
	c.catalog, c.subscription, c.gateway, c.portal = &catalog.Config{}, &subscription.Config{}, &gateway.Config{}, &portal.Config{}
	c.catalog.Flags(c.services, "catalog.")
	c.subscription.Flags(c.services, "subscription.")
	c.gateway.Upstream.AllowLoopback = true
	c.gateway.Flags(c.services, "gateway.")
	c.portal.Drain = defaultDrain
	c.portal.Flags(c.services, "portal.")
	c.services.VisitAll(func(f *flag.Flag) {
		if isDecided(f.Name) {
			return
		}
		fs.Var(f.Value, f.Name, f.Usage)
		if text, ok := optional[f.Name]; ok {
			c.set(f.Name, "")
			fs.Lookup(f.Name).DefValue = text
		}
	})
}

// set answers a service's flag. A flag that does not exist is a mistake in this
// package.
func (c *Config) set(name, value string) {
	if err := c.services.Set(name, value); err != nil {
		panic(fmt.Sprintf("standalone: -%s: %v", name, err))
	}
}

// given returns the value of a service's flag.
func (c *Config) given(name string) string { return c.services.Lookup(name).Value.String() }

// path returns the path of a file in the data folder.
func (c *Config) path(name string) string { return filepath.Join(c.Data, name) }

// Check reports everything that is wrong with the configuration.
func (c *Config) Check() error {
	var wrong []error
	fail := func(format string, a ...any) { wrong = append(wrong, fmt.Errorf(format, a...)) }
	if c.Data == "" {
		fail("-data: a folder is needed")
	}
	if c.Host == "" || strings.ContainsAny(c.Host, "[]/ ") {
		fail("-host: %q is not a host name or an IP address", c.Host)
	}
	for _, l := range c.listeners() {
		if _, err := c.address(l); err != nil {
			wrong = append(wrong, err)
		}
	}
	if c.Drain < 0 {
		fail("-drain: must not be negative")
	}
	c.decide()
	if sqldb.Same(c.catalog.DB, c.subscription.DB) {
		fail("-subscription.db: is the database of -catalog.db, and each service needs its own")
	}
	wrong = append(wrong, c.catalog.Check(), c.subscription.Check(), c.gateway.Check(), c.portal.Check())
	return errors.Join(wrong...)
}

// decide answers the flags that are not the user's, so that the services find
// nothing wrong with them, and for the time being those that are left open.
func (c *Config) decide() {
	for name, value := range map[string]string{
		"catalog.db": "sqlite:" + c.path(catalogDB), "subscription.db": "sqlite:" + c.path(subscriptionDB),
		"catalog.gateway-urls": "", "subscription.issuer": "https://localhost",
	} {
		if c.given(name) == "" || c.left[name] {
			c.left[name] = true
			c.set(name, value)
		}
	}
	for _, service := range []string{"catalog.", "subscription.", "gateway."} {
		for _, name := range []string{"grpc", "grpc-internal", "ops"} {
			c.set(service+name, "")
		}
	}
	cert, key := c.path(folder.ServerCert), c.path(folder.ServerKey)
	for name, value := range map[string]string{
		"subscription.master-key-file": c.path(masterKeyFile), "subscription.admin-password-file": c.path(adminPasswordFile),
		"gateway.master-key-file": c.path(masterKeyFile), "gateway.data": filepath.Clean(c.Data), "gateway.drain": max(c.Drain, 0).String(),
		"gateway.tls-cert": cert, "gateway.tls-key": key,
		"portal.ops": "", "portal.tls-cert": cert, "portal.tls-key": key,
	} {
		c.set(name, value)
	}
}

// listener is a flag that says where something is served.
type listener struct {
	flag, value, host string
}

// listeners returns the flags that say where something is served.
func (c *Config) listeners() []listener {
	all := []listener{
		{"https", c.HTTPS, c.Host}, {"grpc", c.GRPC, c.Host}, {"ws", c.WS, c.Host}, {"wss", c.WSS, c.Host},
	}
	if c.Ops != "" {
		all = append(all, listener{"ops", c.Ops, "127.0.0.1"})
	}
	if !c.NoSample {
		all = append(all, listener{"sample-listen", c.SampleListen, "127.0.0.1"})
	}
	return all
}

// address returns the host:port of a flag.
func (c *Config) address(l listener) (string, error) {
	host, port, err := net.SplitHostPort(l.value)
	if err != nil {
		host, port = l.host, l.value
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("-%s: %q is not a port or host:port", l.flag, l.value)
	}
	return net.JoinHostPort(host, port), nil
}

// names returns the names that the server's certificate is for.
func (c *Config) names() []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	add := func(name string) {
		if ip := net.ParseIP(name); ip != nil && ip.IsUnspecified() || name == "" || slices.Contains(names, name) {
			return
		}
		names = append(names, name)
	}
	if host, err := os.Hostname(); err == nil && hostname(host) {
		add(host)
	}
	for _, l := range c.listeners() {
		if host, _, err := net.SplitHostPort(l.value); err == nil {
			add(host)
		}
	}
	add(c.Host)
	return names
}

// hostname reports whether a certificate can be for the name.
func hostname(name string) bool {
	return name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") == "" &&
		!strings.HasPrefix(name, "-") && !strings.HasPrefix(name, ".")
}
