package standalone

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/catalog"
	"github.com/tidegatehq/tidegate/services/gateway"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/ops"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/portal"
	"github.com/tidegatehq/tidegate/services/standalone/internal/folder"
	"github.com/tidegatehq/tidegate/services/subscription"
)

// Config is the configuration of the standalone server. Default makes it.
type Config struct {
	// Data is the data folder.
	Data string
	// Host is the host to listen on where one of the following is only a port.
	Host string
	// HTTPS, GRPC, WS and WSS are where REST and OAuth2, the public gRPC, and
	// WebSocket clients without and with TLS are served: PORT or HOST:PORT.
	HTTPS, GRPC, WS, WSS string
	// Ops is where metrics and health are served, and Pprof where profiles are; empty
	// for none. A port alone is on loopback, whatever Host is. OpsHosts are the names
	// by which both may be asked for.
	Ops, Pprof, OpsHosts string
	// SecurityLog is a file for security events, besides the log; empty for none.
	SecurityLog string
	// NoSample starts without the sample.
	NoSample bool
	// SampleListen is where the sample's backend is served.
	SampleListen string
	// Drain is how long live sessions have to end after a stop.
	Drain time.Duration
	// Program is how the command line is called, for the banner.
	Program string
	// Stdout receives the banner for the user who starts the server; nil prints
	// nothing.
	Stdout io.Writer
	// Ready is called, when it is set, once everything is served.
	Ready func(Addresses)

	// The services' configurations are pointers because their flags point at
	// them, and a Config is copied.
	catalog      *catalog.Config
	subscription *subscription.Config
	gateway      *gateway.Config
	portal       *portal.Config
	left         map[string]bool // flags of services that the user did not set
	loopback     bool            // the user has said whether backends may be on loopback
}

// openFiles is how many descriptors all services together have open without any
// client: those of the gateway alone, and their databases.
const openFiles = 32

// Files in the data folder.
const (
	masterKeyFile     = "master-key"
	adminPasswordFile = "admin-password"
	issuerFile        = "issuer"
	catalogDB         = "catalog.db"
	subscriptionDB    = "subscription.db"
)

// decided are the flags of services that standalone sets itself. A name that ends in
// * stands for all flags with that prefix.
var decided = []string{
	"catalog.grpc*", "catalog.ops*", "catalog.pprof", "catalog.subscription*", "catalog.instance", "catalog.master-key-file",
	"subscription.grpc*", "subscription.ops*", "subscription.pprof", "subscription.catalog*", "subscription.instance",
	"catalog.security-log", "subscription.security-log", "gateway.security-log",
	"subscription.master-key-file", "subscription.admin-password-file",
	"gateway.grpc*", "gateway.ops*", "gateway.pprof", "gateway.catalog*", "gateway.subscription*", "gateway.instance",
	"gateway.ws", "gateway.wss", "gateway.tls-cert", "gateway.tls-key", "gateway.drain", "gateway.data", "gateway.routes-file",
	"gateway.master-key-file",
	"portal.grpc", "portal.ops*", "portal.pprof", "portal.listen", "portal.master-key-file", "portal.catalog*", "portal.subscription*", "portal.gateway*",
	"portal.tls-*", "portal.plaintext",
}

// isDecided reports whether standalone sets a service's flag itself.
func isDecided(name string) bool {
	return slices.ContainsFunc(decided, func(pattern string) bool {
		start, all := strings.CutSuffix(pattern, "*")
		return name == pattern || all && strings.HasPrefix(name, start)
	})
}

// open is a flag of a service for which standalone has a default of its own.
type open struct {
	flag    string
	value   *string
	meaning string // that default, for the help
	standIn string // its value until the default is known
}

// opens returns the flags for which standalone has a default of its own; they are
// empty until then.
func (c *Config) opens() []open {
	return []open{
		{"catalog.db", &c.catalog.DB, "sqlite:DATA/" + catalogDB, "sqlite:" + c.path(catalogDB)},
		{"catalog.gateway-urls", &c.catalog.GatewayURLs, "the addresses of -ws and -wss", ""},
		{"subscription.db", &c.subscription.DB, "sqlite:DATA/" + subscriptionDB, "sqlite:" + c.path(subscriptionDB)},
		{"subscription.issuer", &c.subscription.Issuer, "the address of -https at the first start", "https://localhost"},
	}
}

// Default returns the default configuration.
func Default() Config {
	c := Config{
		Data: "./tidegate-data", Host: "127.0.0.1",
		HTTPS: "9443", GRPC: "9090", WS: "9099", WSS: "8099", Ops: "9091", OpsHosts: ops.Default().Hosts,
		SampleListen: "127.0.0.1:9098",
		Drain:        2 * time.Second,
		catalog:      new(catalog.Default()),
		subscription: new(subscription.Default()),
		gateway:      new(gateway.Default()),
		portal:       new(portal.Default()),
		left:         map[string]bool{},
	}
	for _, o := range c.opens() {
		*o.value = ""
	}
	c.portal.Drain = c.Drain
	c.gateway.OpenFiles = openFiles
	return c
}

// Flags registers the options: standalone's own, and those of the services that it
// does not set itself, with the prefixes catalog., subscription., gateway. and
// portal. Their defaults are what the Config holds.
func (c *Config) Flags(fs *flag.FlagSet) {
	fs.StringVar(&c.Data, "data", c.Data, "`folder` of databases, keys and passwords; created if missing")
	fs.StringVar(&c.Host, "host", c.Host, "`host` to listen on, a name or an IPv4 or IPv6 address; 0.0.0.0 for all interfaces of IPv4, :: for all")
	fs.StringVar(&c.HTTPS, "https", c.HTTPS, "`address` of pages, REST and OAuth2 over HTTPS, port or host:port")
	fs.StringVar(&c.GRPC, "grpc", c.GRPC, "`address` of gRPC over TLS, port or host:port")
	fs.StringVar(&c.WS, "ws", c.WS, "`address` of WebSocket, port or host:port")
	fs.StringVar(&c.WSS, "wss", c.WSS, "`address` of WebSocket over TLS, port or host:port")
	fs.StringVar(&c.Ops, "ops", c.Ops, "`address` of metrics and health over HTTP, port (on loopback) or host:port; empty for none")
	run.ListVar(fs, &c.OpsHosts, "ops-hosts", c.OpsHosts, ops.HostsHelp)
	fs.StringVar(&c.Pprof, "pprof", c.Pprof, "`address` of Go's profiles over HTTP, port (on loopback) or host:port; empty for none")
	fs.StringVar(&c.SecurityLog, "security-log", c.SecurityLog,
		"`file` to which security events are appended as JSON, besides the log; empty for none")
	fs.BoolVar(&c.NoSample, "no-sample", c.NoSample, "start without the sample API and its backend")
	fs.StringVar(&c.SampleListen, sampleFlag, c.SampleListen, "`address` of the sample's backend, host:port")
	fs.DurationVar(&c.Drain, "drain", c.Drain, "`time` for live sessions to end after a stop; 0 for at once")
	services := flag.NewFlagSet("", flag.ContinueOnError)
	c.catalog.Flags(services, "catalog.")
	c.subscription.Flags(services, "subscription.")
	c.gateway.Flags(services, "gateway.")
	c.portal.Flags(services, "portal.")
	services.VisitAll(func(f *flag.Flag) {
		if !isDecided(f.Name) {
			fs.Var(f.Value, f.Name, f.Usage)
		}
	})
	loopback := fs.Lookup("gateway.dial-loopback")
	loopback.Value = noting{loopback.Value, &c.loopback}
	loopback.DefValue = "while every listener is on loopback"
	for _, o := range c.opens() {
		fs.Lookup(o.flag).DefValue = o.meaning
	}
}

// noting is a boolean flag that notes that it was set.
type noting struct {
	flag.Value
	set *bool
}

// Set sets the flag.
func (n noting) Set(text string) error {
	*n.set = true
	return n.Value.Set(text)
}

// String returns the value.
func (n noting) String() string {
	if n.Value == nil {
		return ""
	}
	return n.Value.String()
}

// IsBoolFlag says that the flag needs no value.
func (n noting) IsBoolFlag() bool { return true }

// out returns what receives the banner.
func (c *Config) out() io.Writer {
	if c.Stdout == nil {
		return io.Discard
	}
	return c.Stdout
}

// say tells the user who started the server something.
func (c *Config) say(format string, a ...any) { fmt.Fprintf(c.out(), format+"\n", a...) }

// path returns the path of a file in the data folder.
func (c *Config) path(name string) string { return filepath.Join(c.Data, name) }

// Check reports everything that is wrong with the configuration.
func (c *Config) Check() error {
	if c.catalog == nil {
		return errors.New("the services' configurations are missing: Default makes them")
	}
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
	if err := (&ops.Config{Hosts: c.OpsHosts}).CheckHosts(); err != nil {
		fail("-ops-hosts: %w", err)
	}
	if c.Drain < 0 {
		fail("-drain: must not be negative")
	}
	c.decide()
	catalogURL, err1 := c.catalog.Database()
	subscriptionURL, err2 := c.subscription.Database()
	if errors.Join(err1, err2) == nil && sqldb.Same(catalogURL, subscriptionURL) {
		fail("-subscription.db: is the database of -catalog.db, and each service needs its own")
	}
	wrong = append(wrong, c.catalog.Check(), c.subscription.Check(), c.gateway.Check(), c.portal.Check())
	return errors.Join(wrong...)
}

// decide sets the flags that are not the user's, and gives those left open a
// stand-in, so that the services' checks pass.
func (c *Config) decide() {
	for _, o := range c.opens() {
		if *o.value == "" || c.left[o.flag] {
			c.left[o.flag] = true
			*o.value = o.standIn
		}
	}
	for _, served := range []*grpcserver.Config{&c.catalog.GRPC, &c.subscription.GRPC, &c.gateway.GRPC} {
		served.Addr, served.InternalAddr = "", ""
	}
	for _, served := range []*ops.Config{&c.catalog.Ops, &c.subscription.Ops, &c.gateway.Ops, &c.portal.Ops} {
		served.Addr = ""
	}
	master := c.path(masterKeyFile)
	c.catalog.MasterKeyFile, c.subscription.MasterKeyFile, c.gateway.MasterKeyFile, c.portal.MasterKeyFile = master, master, master, master
	c.subscription.AdminPasswordFile = c.path(adminPasswordFile)
	if c.gateway.FilesPerSession = gateway.Default().FilesPerSession; !c.NoSample {
		c.gateway.FilesPerSession++ // the sample's backend has its end of a session in this process
	}
	c.gateway.Data, c.gateway.Drain = filepath.Clean(c.Data), max(c.Drain, 0)
	cert, key := c.path(folder.ServerCert), c.path(folder.ServerKey)
	c.gateway.Listen.CertFile, c.gateway.Listen.KeyFile = cert, key
	c.portal.TLSCert, c.portal.TLSKey, c.portal.Authority = cert, key, c.path(folder.CACert)
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
	if c.Pprof != "" {
		all = append(all, listener{"pprof", c.Pprof, "127.0.0.1"})
	}
	if !c.NoSample {
		all = append(all, listener{sampleFlag, c.SampleListen, "127.0.0.1"})
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
		if ip, err := netip.ParseAddr(name); err == nil {
			name = ip.WithZone("").Unmap().String()
		}
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
