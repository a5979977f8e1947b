// Package catalog is the service that owns APIs, their versions, plans and deny rules. It
// serves them to users, and as routes to gateways. Users and their sign-ins belong to the
// subscription service, and serving the routes to clients to the gateway.
package catalog

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/api"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
	"github.com/tidegatehq/tidegate/services/kit/access"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/grpcclient"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/hostname"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/ops"
	"github.com/tidegatehq/tidegate/services/kit/retry"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/validate"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// Config is the configuration of the service. Default makes it.
type Config struct {
	// DB is the URL of the database, postgres:// or sqlite:. DBFile, if it is not
	// empty, is a file with the URL, which then takes the place of DB.
	DB, DBFile string
	// MasterKeyFile has the key that seals endpoints, which may have secrets.
	MasterKeyFile string
	// GRPC says where users and services call.
	GRPC grpcserver.Config
	// Instance is the name of this process as a watcher of the subscription
	// service; every replica has its own.
	Instance string
	// Subscription is the service that has the signing keys of users' tokens, and
	// tells whose access has ended.
	Subscription grpcclient.Config
	// GatewayURLs are the addresses of gateways, separated by commas, from which
	// the addresses of versions are made; empty for none.
	GatewayURLs string
	// VirtualHosts are the hosts that versions may be given addresses on, each as it is
	// advertised, separated by commas; empty for none.
	VirtualHosts string
	// MaxAPIs is how many APIs a user may own; 0 is no bound.
	MaxAPIs int
	// AuditKeep is how long changes are kept as audit log, at least 7 days.
	AuditKeep time.Duration
	// Ops says where metrics and health are served.
	Ops ops.Config
	// Security says where security events are written.
	Security securitylog.Config
	// Metrics is the registry for metrics; nil means a new one.
	Metrics *prometheus.Registry

	prefix string
}

// Default returns the default configuration.
func Default() Config {
	return Config{
		DB:           "sqlite:catalog.db",
		Instance:     watch.HostInstance("catalog-", "catalog"),
		GRPC:         grpcserver.Default("127.0.0.1:9191", "127.0.0.1:9291"),
		Subscription: grpcclient.Default(identity.Subscription, "127.0.0.1:9292"),
		GatewayURLs:  "ws://localhost:9099,wss://localhost:8099",
		MaxAPIs:      1000,
		AuditKeep:    365 * 24 * time.Hour,
		Ops:          ops.Default(),
	}
}

// Flags registers the options, with prefix before their names. Their defaults are
// what the Config holds.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	sqldb.Flags(fs, prefix, &c.DB, &c.DBFile)
	fs.StringVar(&c.MasterKeyFile, prefix+"master-key-file", c.MasterKeyFile,
		"`file` with the installation's master key, which seals the endpoints of versions; required")
	watch.InstanceFlag(fs, prefix, &c.Instance, "catalog-", "`name` of this replica, unique among the watchers of the subscription service")
	run.ListVar(fs, &c.GatewayURLs, prefix+"gateway-urls", c.GatewayURLs,
		"`addresses` of the gateways, separated by commas, from which versions' addresses are made")
	run.ListVar(fs, &c.VirtualHosts, prefix+"virtual-hosts", c.VirtualHosts,
		"virtual `hosts` that versions may be given addresses on, separated by commas, each as it is advertised: wss://chat.example.com, or wss://*.apps.example.com:8443 for all names with one label more; empty for none")
	fs.IntVar(&c.MaxAPIs, prefix+"max-apis", c.MaxAPIs, "`number` of APIs that a user may own; 0 for no limit")
	fs.DurationVar(&c.AuditKeep, prefix+"audit-keep", c.AuditKeep, "how `long` changes are kept as the audit log, at least 168h; 0 for ever")
	c.GRPC.Flags(fs, prefix)
	c.Subscription.Flags(fs, prefix)
	c.Ops.Flags(fs, prefix)
	c.Security.Flags(fs, prefix)
}

// Check reports everything that is wrong with the configuration.
func (c *Config) Check() error {
	var wrong []error
	if _, err := c.Database(); err != nil {
		wrong = append(wrong, err)
	}
	if c.MasterKeyFile == "" {
		wrong = append(wrong, fmt.Errorf("-%smaster-key-file: a file is needed", c.prefix))
	}
	if err := watch.CheckInstance(c.Instance); err != nil {
		wrong = append(wrong, fmt.Errorf("-%sinstance: %w", c.prefix, err))
	}
	gateways, err := gatewayURLs(c.GatewayURLs)
	if err != nil {
		wrong = append(wrong, fmt.Errorf("-%sgateway-urls: %w", c.prefix, err))
	}
	if _, err := virtualHosts(c.VirtualHosts, gateways); err != nil {
		wrong = append(wrong, fmt.Errorf("-%svirtual-hosts: %w", c.prefix, err))
	}
	if c.MaxAPIs < 0 {
		wrong = append(wrong, fmt.Errorf("-%smax-apis: must not be negative; 0 is no limit", c.prefix))
	}
	if c.AuditKeep != 0 && c.AuditKeep < change.Retention {
		wrong = append(wrong, fmt.Errorf("-%saudit-keep: must be 0, or at least %s", c.prefix, change.Retention))
	}
	return errors.Join(append(wrong, c.GRPC.Check(), c.Subscription.Check(), c.Ops.Check())...)
}

// Database returns the URL of the database, from DBFile if there is one.
func (c *Config) Database() (string, error) { return sqldb.URL(c.prefix, c.DB, c.DBFile) }

// gatewayURLs reads the addresses of gateways, their schemes in lower case and without
// trailing slashes.
func gatewayURLs(text string) ([]string, error) {
	var all []string
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		u, err := url.Parse(part)
		if err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.Host == "" || u.User != nil || strings.ContainsAny(part, "?#") {
			return nil, fmt.Errorf("%q is not a ws or wss URL such as ws://localhost:9099", part)
		}
		all = append(all, strings.TrimRight(u.Scheme+part[len(u.Scheme):], "/"))
	}
	return all, nil
}

// hosts returns the hosts of gateways' addresses as clients ask for them: in lower
// case, without the port that the scheme implies.
func hosts(gateways []string) []string {
	var all []string
	for _, gateway := range gateways {
		u, err := url.Parse(gateway)
		if err != nil {
			continue // gatewayURLs has parsed it
		}
		port := map[string]string{"ws": ":80", "wss": ":443"}[u.Scheme]
		all = append(all, strings.TrimSuffix(strings.ToLower(u.Host), port))
	}
	return all
}

// virtualHosts reads the virtual hosts. None of them is a host of the gateways: that is the
// shared one, where an address would hide all others.
func virtualHosts(text string, gateways []string) ([]store.VirtualHost, error) {
	var all []store.VirtualHost
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		u, err := url.Parse(part)
		if err != nil || u.Scheme != "ws" && u.Scheme != "wss" || u.User != nil || u.Path != "" && u.Path != "/" || strings.ContainsAny(part, "?#") {
			return nil, fmt.Errorf("%q is not a ws or wss URL without a path, such as wss://chat.example.com or wss://*.apps.example.com:8443", part)
		}
		v := store.VirtualHost{Name: strings.ToLower(u.Hostname()), Scheme: u.Scheme}
		if err := hostname.Check(v.Name); err != nil {
			return nil, fmt.Errorf("%q: the host %w", part, err)
		}
		if port := u.Port(); port != "" && port != map[string]string{"ws": "80", "wss": "443"}[u.Scheme] {
			v.Port = ":" + port
		}
		for _, gateway := range gateways {
			if g, err := url.Parse(gateway); err == nil && hostname.Covers(v.Name, strings.ToLower(g.Hostname())) {
				return nil, fmt.Errorf("%q is, or stands for, the host of the gateways' address %s: a virtual host is one of its own", part, gateway)
			}
		}
		all = append(all, v)
	}
	return all, nil
}

// CheckDatabase reports why the service would refuse its database, without
// changing what is in it.
func CheckDatabase(ctx context.Context, cfg Config) error {
	url, err := cfg.Database()
	if err != nil {
		return err
	}
	return sqldb.CheckSchema(ctx, url, store.Schema())
}

// sealed is what the catalog has sealed. It refuses a file that does not have the key of
// what is stored.
func sealed(cfg Config, st *store.Store, changes *change.Log) seal.Stored {
	return seal.Stored{Service: identity.Catalog, Settle: changes.Settle, Reseal: func(ctx context.Context) (int, error) {
		n, err := st.Reseal(ctx)
		if errors.Is(err, seal.ErrOpen) {
			err = fmt.Errorf("-%smaster-key-file: %s does not have the master key that this database was made with", cfg.prefix, cfg.MasterKeyFile)
		}
		return n, err
	}}
}

// Run serves the catalog until ctx ends.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	if err := cfg.Check(); err != nil {
		return run.Misconfigured(err)
	}
	gateways, err := gatewayURLs(cfg.GatewayURLs)
	if err != nil {
		return run.Misconfigured(err)
	}
	virtual, err := virtualHosts(cfg.VirtualHosts, gateways)
	if err != nil {
		return run.Misconfigured(err)
	}
	security, err := cfg.Security.Open(log)
	if err != nil {
		return err
	}
	defer cfg.Security.Close(security)
	db, master, err := cfg.open(ctx)
	if err != nil {
		return err
	}
	defer db.Close()
	reg := cmp.Or(cfg.Metrics, ops.NewRegistry())
	if err := db.Observe(identity.Catalog, log, reg); err != nil {
		return err
	}
	changes := change.NewLog(identity.Catalog, db, log, time.Now, cfg.AuditKeep)
	changes.Describe(api.Resource)
	st := store.New(db, changes, master)
	st.BoundAPIs(cfg.MaxAPIs)
	keeper := seal.NewKeeper(master, sealed(cfg, st, changes), log)
	if err := keeper.Start(ctx); err != nil {
		return err
	}
	if err := st.NameInstallation(ctx); err != nil {
		return err
	}
	if err := st.Advertise(ctx, hosts(gateways)); err != nil {
		return err
	}
	if err := st.AdvertiseFurther(ctx, gateways, virtual); err != nil {
		return err
	}
	run.OnReload(ctx, security.Reopen)
	run.OnReload(ctx, func() error { return keeper.Reload(ctx) })
	subscription, err := cfg.Subscription.Dial()
	if err != nil {
		return err
	}
	defer cfg.Subscription.Close(subscription)
	keys := identity.NewKeys(identity.RemoteKeySet(oauth2v1.NewOAuth2ServiceClient(subscription)), time.Now)
	users := access.New(backplanev1.NewAccessServiceClient(subscription), identity.Catalog, cfg.Instance, log, time.Now)
	if err := reg.Register(keeper.Metrics()); err != nil {
		return err
	}
	srv := grpcserver.New(cfg.GRPC, log, grpcserver.Auth{
		Verifier: identity.NewVerifier(keys, users, time.Now),
		Rules:    api.Rules(),
		Security: security,
	}, validate.Option(), grpcserver.WithMetrics(reg), grpcserver.WithClassify(sqldb.Fault))
	api.New(st, changes, backplanev1.NewUserDirectoryServiceClient(subscription), backplanev1.NewPlanDirectoryServiceClient(subscription),
		gateways, security).Register(srv.Public(), srv.Internal())
	ready := func() error { return cmp.Or(db.Ping(ctx), ops.Degraded(db.Writable())) }
	operations := ops.New(cfg.Ops, log, reg, ready)
	expired := func(ctx context.Context) error { return deleteExpired(ctx, st, log) }
	return run.Group(ctx, security.Run, keeper.Run, changes.Run, users.Run, expired, srv.Run, operations.Run)
}

// expireEvery is how often expired deny rules are looked for.
const expireEvery = 10 * time.Second

// deleteExpired deletes deny rules soon after they expire, until ctx ends.
func deleteExpired(ctx context.Context, st *store.Store, log *slog.Logger) error {
	deleting := retry.NewStreak(log, slog.LevelWarn, "expired deny rules not deleted")
	for retry.Sleep(ctx, expireEvery) {
		n, err := st.DeleteExpiredDenyRules(ctx, time.Now())
		deleting.Note(ctx, err)
		if n > 0 {
			log.Info("expired deny rules deleted", "count", n)
		}
	}
	return nil
}

// open opens the database and reads the master key.
func (c *Config) open(ctx context.Context) (*sqldb.DB, *seal.Key, error) {
	url, err := c.Database()
	if err != nil {
		return nil, nil, run.Misconfigured(err)
	}
	master, err := seal.Load(c.MasterKeyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("-%smaster-key-file: %w", c.prefix, err)
	}
	db, err := sqldb.OpenSchema(ctx, url, store.Schema())
	if err != nil {
		return nil, nil, fmt.Errorf("-%sdb: %w", c.prefix, err)
	}
	return db, master, nil
}
