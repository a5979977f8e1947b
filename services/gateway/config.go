package gateway

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidegatehq/tidegate/services/gateway/internal/beside"
	"github.com/tidegatehq/tidegate/services/gateway/internal/descriptors"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metering"
	"github.com/tidegatehq/tidegate/services/gateway/internal/relay"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
	"github.com/tidegatehq/tidegate/services/kit/grpcclient"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/openfiles"
	"github.com/tidegatehq/tidegate/services/kit/ops"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// Config is the configuration of the service. Default makes it.
type Config struct {
	// Instance names the gateway among those of the installation.
	Instance string
	// Data is the folder of what the gateway keeps: its last routes, the issuer and its
	// self-signed certificate.
	Data string
	// RoutesFile is the file of the last routes; empty is "routes" in Data. The issuer
	// is in the file "token-issuer" beside it.
	RoutesFile string
	// MasterKeyFile has the key that the routes on disk are sealed with.
	MasterKeyFile string
	// Catalog and Subscription are the control plane.
	Catalog, Subscription grpcclient.Config
	// Listen says where clients connect, Upstream how backends are dialled.
	Listen   listener.Config
	Upstream upstream.Config
	HTTP     beside.Config
	// EndpointTimeout is how long one of several endpoints of a version may take for its
	// part of a handshake, while another is left to be tried.
	EndpointTimeout time.Duration
	// MaxSessions is how many sessions there may be at once; 0 is as many as the
	// limit of open files has room for. MaxSessionsPerAddress is how many of them one
	// address may have; 0 is any number.
	MaxSessions, MaxSessionsPerAddress int
	// MaxHandshakesPerVersion is how many handshakes of one version may be with its
	// backend or on the way there at once; at most half of all, which 0 means too.
	MaxHandshakesPerVersion int
	// MaxUnauthenticated is how many clients at once may have been answered 101 and not shown
	// a good credential, in all and of one address; 0 is any number. FirstMessageTimeout is
	// how long such a client has for its first message.
	MaxUnauthenticated, MaxUnauthenticatedPerAddress int
	FirstMessageTimeout                              time.Duration
	// Relay is how sessions are kept alive and bounded, MaxAge how long one may
	// live, where its version and plans do not say less; 0 is no bound.
	Relay  relay.Config
	MaxAge time.Duration
	// Grants is how grants are kept.
	Grants grant.Config
	// Metering is how usage is reported; Run says whose it is.
	Metering metering.Config
	// Drain is how long the end of live sessions is spread over at a stop.
	Drain time.Duration
	// GRPC says where users and services call.
	GRPC grpcserver.Config
	// GRPCAdvertise is where the portal reaches the services' listener of GRPC,
	// host:port; empty for the address that it listens on.
	GRPCAdvertise string
	// Ops says where metrics and health are served.
	Ops ops.Config
	// Security says where security events are written.
	Security securitylog.Config

	// Metrics is the registry for metrics; nil means a new one.
	Metrics *prometheus.Registry
	// OpenFiles is how many descriptors the process has open without any client, and
	// FilesPerSession how many each session adds: 3 where its backend is in the same
	// process, else 2.
	OpenFiles, FilesPerSession int

	// MasterKey is used instead of MasterKeyFile when it is set.
	MasterKey *seal.Key
	// Ready, when set, is called once clients can connect.
	Ready func(Addrs)

	prefix string
}

// Addrs are the addresses that clients connect to; nil where there is none.
type Addrs struct{ Plain, TLS net.Addr }

// Default returns the default configuration. MasterKeyFile must be set as well.
func Default() Config {
	return Config{
		Instance:                watch.HostInstance("", "gateway"),
		Data:                    "gateway-data",
		Catalog:                 grpcclient.Default(identity.Catalog, "127.0.0.1:9291"),
		Subscription:            grpcclient.Default(identity.Subscription, "127.0.0.1:9292"),
		Listen:                  listener.Default(),
		MaxHandshakesPerVersion: 4096,
		MaxUnauthenticated:      10000, MaxUnauthenticatedPerAddress: 100, FirstMessageTimeout: 10 * time.Second,
		OpenFiles: 24, FilesPerSession: descriptors.PerSession,
		Upstream: upstream.Default(), HTTP: beside.Default(), EndpointTimeout: 3 * time.Second,
		Relay:    relay.Default(),
		Grants:   grant.Default(),
		Metering: metering.Default(),
		Drain:    25 * time.Second,
		GRPC:     grpcserver.Default("127.0.0.1:9193", "127.0.0.1:9293"),
		Ops:      ops.Default(),
	}
}

// Flags registers the options, with prefix before their names. Their defaults are
// what the Config holds.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	watch.InstanceFlag(fs, prefix, &c.Instance, "",
		"`name` of this gateway, unique in the installation: a-z, 0-9 and -")
	fs.StringVar(&c.Data, prefix+"data", c.Data, "`folder` for the last routes and the self-signed certificate")
	fs.StringVar(&c.RoutesFile, prefix+"routes-file", c.RoutesFile, "`file` for the last routes, sealed; empty for the file routes in -"+prefix+"data")
	fs.StringVar(&c.MasterKeyFile, prefix+"master-key-file", c.MasterKeyFile, "`file` with the master key, which seals the last routes; required")
	c.Catalog.Flags(fs, prefix)
	c.Subscription.Flags(fs, prefix)
	c.Listen.Flags(fs, prefix)
	fs.IntVar(&c.MaxSessions, prefix+"max-sessions", c.MaxSessions,
		"`number` of sessions at once; further ones are answered with 503; 0 for as many as the limit of open files allows")
	fs.IntVar(&c.MaxSessionsPerAddress, prefix+"max-sessions-per-address", c.MaxSessionsPerAddress,
		"`number` of sessions of one address (IPv6: /64) at once; further ones are answered with 429; 0 for any number")
	fs.IntVar(&c.MaxHandshakesPerVersion, prefix+"max-handshakes-per-version", c.MaxHandshakesPerVersion,
		"`number` of handshakes of one version that may wait for its backend at once, at most half of -"+prefix+"max-handshakes, which is also what 0 means; further ones are answered with 503")
	fs.IntVar(&c.MaxUnauthenticated, prefix+"max-unauthenticated", c.MaxUnauthenticated,
		"`number` of clients at once whose credential is to come in their first message, and which count as handshakes too; further ones are answered with 503; 0 for any number")
	fs.IntVar(&c.MaxUnauthenticatedPerAddress, prefix+"max-unauthenticated-per-address", c.MaxUnauthenticatedPerAddress,
		"`number` of such clients of one address (IPv6: /64), not of trusted proxies; further ones are answered with 429; 0 for any number")
	fs.DurationVar(&c.FirstMessageTimeout, prefix+"first-message-timeout", c.FirstMessageTimeout, "how `long` such a client has for its first message; then it gets 4001")
	c.Upstream.Flags(fs, prefix)
	fs.DurationVar(&c.EndpointTimeout, prefix+"endpoint-timeout", c.EndpointTimeout,
		"`time` of a handshake that an endpoint may take while another one of its stage is left to be tried, where its version does not say")
	c.HTTP.Flags(fs, prefix)
	c.Relay.Flags(fs, prefix)
	fs.DurationVar(&c.MaxAge, prefix+"max-age", c.MaxAge, "how `long` a session may live if its version and plans do not say less; 0 for no limit")
	c.Grants.Flags(fs, prefix)
	c.Metering.Flags(fs, prefix)
	fs.DurationVar(&c.Drain, prefix+"drain", c.Drain, "`time` over which live sessions are closed at a stop; 0 for at once")
	c.GRPC.Flags(fs, prefix)
	fs.StringVar(&c.GRPCAdvertise, prefix+"grpc-advertise", c.GRPCAdvertise,
		"`address` at which the portal reaches this gateway's -"+prefix+"grpc-internal, host:port; empty for the same address")
	c.Ops.Flags(fs, prefix)
	c.Security.Flags(fs, prefix)
}

// advertised returns the address at which the portal reaches this gateway. In
// memory there is none.
func (c *Config) advertised() string { return cmp.Or(c.GRPCAdvertise, c.GRPC.InternalAddr) }

// others says how other gateways are reached: with the certificate that the gateway presents to
// the subscription service, which tells their addresses.
func (c *Config) others() *grpcclient.Instances {
	i := grpcclient.OfService(identity.Gateway)
	i.CA, i.Cert, i.Key = c.Subscription.CA, c.Subscription.Cert, c.Subscription.Key
	return &i
}

// checkAdvertised reports why the portal would not reach this gateway, or nil.
func (c *Config) checkAdvertised() error {
	if c.GRPCAdvertise == "" && (c.GRPC.InternalAddr == "" || c.GRPC.InternalListener != nil) {
		return nil
	}
	err := netaddr.CheckDialable(c.advertised())
	switch {
	case err != nil && c.GRPCAdvertise == "":
		return fmt.Errorf("is needed, as gateway-1.example:9293: -%sgrpc-internal %w", c.prefix, err)
	case err == nil && len(c.advertised()) > maxAdvertised:
		return fmt.Errorf("must be at most %d bytes", maxAdvertised)
	}
	return err
}

// maxAdvertised is how long the address of a watcher may be.
const maxAdvertised = 255

// Check reports everything that is wrong with the configuration.
func (c *Config) Check() error {
	var wrong []error
	fail := func(name, text string) { wrong = append(wrong, fmt.Errorf("-%s%s: %s", c.prefix, name, text)) }
	if err := watch.CheckInstance(c.Instance); err != nil {
		fail("instance", err.Error())
	}
	if c.MasterKeyFile == "" && c.MasterKey == nil {
		fail("master-key-file", "is needed")
	}
	if c.Data == "" && (c.RoutesFile == "" || c.Listen.TLSAddr != "" && c.Listen.CertFile == "") {
		fail("data", "is needed")
	}
	if err := c.checkAdvertised(); err != nil {
		fail("grpc-advertise", err.Error())
	}
	for name, n := range map[string]int{
		"max-handshakes-per-version": c.MaxHandshakesPerVersion, "max-sessions": c.MaxSessions,
		"max-sessions-per-address": c.MaxSessionsPerAddress, "max-unauthenticated": c.MaxUnauthenticated,
		"max-unauthenticated-per-address": c.MaxUnauthenticatedPerAddress,
	} {
		if n < 0 {
			fail(name, "must not be negative")
		}
	}
	if c.FirstMessageTimeout <= 0 {
		fail("first-message-timeout", "must be more than 0")
	}
	if c.EndpointTimeout <= 0 {
		fail("endpoint-timeout", "must be more than 0, or no endpoint could be tried")
	}
	if c.Drain < 0 {
		fail("drain", "must not be negative")
	}
	if c.MaxAge < 0 {
		fail("max-age", "must not be negative")
	}
	return errors.Join(append(wrong, c.Catalog.Check(), c.Subscription.Check(), c.Listen.Check(), c.Upstream.Check(), c.HTTP.Check(),
		c.Relay.Check(), c.Grants.Check(), c.Metering.Check(), c.GRPC.Check(), c.Ops.Check())...)
}

// perVersion is how many handshakes of one version may wait for its backend: however
// few handshakes there may be in all, one slow backend leaves half of them to others.
func (c *Config) perVersion() int {
	if c.Listen.MaxHandshakes == 0 {
		return c.MaxHandshakesPerVersion // 0 for no limit here too
	}
	half := max(c.Listen.MaxHandshakes/2, 1)
	if c.MaxHandshakesPerVersion == 0 {
		return half
	}
	return min(c.MaxHandshakesPerVersion, half)
}

// maxRequests is how many plain requests may be in progress, each of which has one of the
// places for handshakes: the other half is left to those.
func (c *Config) maxRequests() int {
	if c.Listen.MaxHandshakes == 0 {
		return 0 // for no limit here too
	}
	return max(c.Listen.MaxHandshakes/2, 1)
}

// OpenFilesOfOthers returns, before anything is opened, how many descriptors the gateway
// leaves to others in the process, beyond Config.OpenFiles; 0 is any number. The error
// says why the limit of open files is too low.
func OpenFilesOfOthers(cfg Config) (int, error) {
	shares, err := cfg.divide()
	return shares.Else, err
}

// divide divides the descriptors that the process may have.
func (c *Config) divide() (descriptors.Shares, error) {
	need := descriptors.Need{
		Open: max(openfiles.Open(), c.OpenFiles), PerSession: c.FilesPerSession,
		Sessions: c.MaxSessions, Handshakes: c.Listen.MaxHandshakes,
	}
	limit, limited := openfiles.Limit()
	if !limited {
		return descriptors.Unlimited(need), nil
	}
	shares, err := descriptors.Divide(limit, need)
	switch {
	case err != nil && c.MaxSessions > 0:
		err = fmt.Errorf("-%smax-sessions: %w: raise it with ulimit -n or LimitNOFILE=, or lower the flag", c.prefix, err)
	case err != nil:
		err = fmt.Errorf("%w: raise it with ulimit -n or LimitNOFILE=", err)
	}
	return shares, err
}

// routesFile is where the routes are kept.
func (c *Config) routesFile() string {
	if c.RoutesFile != "" {
		return c.RoutesFile
	}
	return filepath.Join(c.Data, "routes")
}
