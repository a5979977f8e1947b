// Package gateway is the service that WebSocket clients connect to: it takes
// their handshakes, asks what their credentials are good for, dials backends and
// relays frames, and ends sessions the moment their grants end. It owns nothing
// durable: routes come from the catalog, grants from the subscription service,
// which also takes what is counted here.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/api"
	"github.com/tidegatehq/tidegate/services/gateway/internal/backendidentity"
	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/beside"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/deny"
	"github.com/tidegatehq/tidegate/services/gateway/internal/descriptors"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/handshake"
	"github.com/tidegatehq/tidegate/services/gateway/internal/health"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metering"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/quota"
	"github.com/tidegatehq/tidegate/services/gateway/internal/refusal"
	"github.com/tidegatehq/tidegate/services/gateway/internal/relay"
	"github.com/tidegatehq/tidegate/services/gateway/internal/renewal"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
	"github.com/tidegatehq/tidegate/services/kit/access"
	"github.com/tidegatehq/tidegate/services/kit/connlimit"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/ops"
	"github.com/tidegatehq/tidegate/services/kit/ref"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
)

// Times of a stop.
const (
	// Sessions may take as long to close as they were spread over, within these
	// bounds.
	minCloseWait, maxCloseWait = 2 * time.Second, 10 * time.Second
	// reportTime is how long the last reports are tried.
	reportTime = 10 * time.Second
)

// Run lets clients through until ctx ends. Then the gateway says that it is not
// ready and takes no new sessions, ends the live ones spread over the drain time,
// reports what was counted, and stops.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	if err := cfg.Check(); err != nil {
		return run.Misconfigured(err)
	}
	disk, known, keeper, err := openDisk(ctx, &cfg, log)
	if err != nil {
		return err
	}
	security, err := cfg.Security.Open(log)
	if err != nil {
		return err
	}
	defer cfg.Security.Close(security)
	catalog, err := cfg.Catalog.Dial()
	if err != nil {
		return err
	}
	defer cfg.Catalog.Close(catalog)
	subscription, err := cfg.Subscription.Dial()
	if err != nil {
		return err
	}
	defer cfg.Subscription.Close(subscription)
	cfg.Upstream.MaxHead = cfg.Listen.MaxHead
	dialer, err := upstream.New(cfg.Upstream)
	if err != nil {
		return err
	}
	reg := cfg.Metrics
	if reg == nil {
		reg = ops.NewRegistry()
	}
	if err := reg.Register(keeper.Metrics()); err != nil {
		return err
	}
	shares, err := cfg.divide()
	if err != nil {
		return run.Misconfigured(err)
	}
	cfg.Listen.MaxHandshakes, cfg.Listen.Spare = shares.Handshakes, shares.Spare
	if shares.Else > 0 {
		cfg.HTTP.MaxIdle = min(cfg.HTTP.MaxIdle, shares.Else/4)
	}
	log.Info("descriptors divided", "sessions", shares.Sessions, "handshakes", shares.Handshakes)
	g := &gateway{
		cfg: cfg, log: log, routes: &routes.Current{}, deny: &deny.Current{}, relay: relay.NewEngine(cfg.Relay), metrics: metrics.New(reg), security: security, dialer: dialer, started: time.Now(), tag: ref.NewTag(),
	}
	g.connect(catalog, subscription, disk, known.ours)
	defer g.grants.Close()
	defer g.throttle.Close()
	defer g.others.Close()
	g.sessions.Bound(shares.Sessions, cfg.MaxSessionsPerAddress)
	refused := refusal.New(g.metrics, g.meter, log)
	if err := g.listen(dialer, known.ours, refused); err != nil {
		return err
	}
	run.OnReload(ctx, security.Reopen)
	run.OnReload(ctx, dialer.Reload)
	run.OnReload(ctx, g.listener.Reload)
	g.measure(dialer)
	keySet := identity.RemoteKeySet(oauth2v1.NewOAuth2ServiceClient(subscription))
	return g.serve(ctx, security.Run, keeper.Run, disk.Run, known.learn(keySet), g.watchRoutes.Run, g.watchGrants.Run, g.watchUsers.Run, g.grants.Run, g.throttle.Run, g.quotas.Run,
		(&health.Checker{Routes: g.routes, Dialer: dialer, Metrics: g.metrics, Log: log}).Run, g.report, refused.Run, g.beside.Run, g.newServer(keySet, reg, connectionsOf(shares)).Run, ops.New(g.cfg.Ops, log, reg, g.ready).Run)
}

// gateway is the service while it runs.
type gateway struct {
	cfg      Config
	log      *slog.Logger
	started  time.Time
	draining atomic.Bool

	routes      *routes.Current
	deny        *deny.Current
	metrics     *metrics.Metrics
	security    *securitylog.Log
	meter       *metering.Meter
	sessions    *session.Registry
	throttle    *throttle.Controller
	quotas      *quota.Ledger
	relay       *relay.Engine
	grants      *grant.Cache
	tickets     *grant.Remote
	identities  *backendidentity.Signer
	watchRoutes *routes.Watch
	watchGrants *grant.Watch
	watchUsers  *access.Watch
	listener    *listener.Listener
	dialer      *upstream.Dialer
	beside      *beside.Server
	tag         ref.Tag // of this boot
	live        *renewal.Local
	others      *renewal.Others
}

// connect makes what reports to the control plane and follows it.
func (g *gateway) connect(catalog, subscription grpc.ClientConnInterface, disk *routes.Disk, ours *credential.Recognizer) {
	metered := g.cfg.Metering
	bootID := id.New()
	metered.Gateway, metered.BootID, metered.Hide, metered.Minute = g.cfg.Instance, bootID, ours.Hide, g.relay.Minute
	g.meter = metering.New(metered, backplanev1.NewMeteringServiceClient(subscription), g.metrics, g.log)
	g.sessions = session.NewRegistry(g.meter.Began, g.meter.Record)
	g.sessions.Judge(g.deny)
	g.tickets = grant.NewRemote(backplanev1.NewGrantServiceClient(subscription))
	g.identities = backendidentity.New(backplanev1.NewGrantServiceClient(subscription), g.cfg.Grants.Timeout)
	g.grants = grant.New(g.cfg.Grants, g.tickets, g.sessions, g.metrics, g.log)
	g.quotas = quota.New(quota.Config{
		Gateway: g.cfg.Instance, BootID: bootID, Client: backplanev1.NewQuotaLedgerServiceClient(subscription), Now: g.relay.Now, Wall: time.Now,
		Report: func(ctx context.Context) error { return g.meter.ReportUsage(ctx, g.sessions) }, Serve: g.serveLine, Log: g.log,
	})
	g.relay.SetMinute(g.quotas.Minute)
	plans := backplanev1.NewRouteServiceClient(catalog)
	g.throttle = throttle.New(throttle.Config{
		Engine: g.relay, Ledger: g.quotas, MaxMessage: g.cfg.Relay.MaxMessage, Log: g.log, Observed: g.observed,
		Fetch: func(ctx context.Context, name string) (*catalogv1.Plan, error) {
			return plans.FetchPlan(ctx, &backplanev1.FetchPlanRequest{Name: name})
		},
	})
	g.watchRoutes = routes.NewWatch(backplanev1.NewRouteServiceClient(catalog), g.hello(routes.Features()),
		routes.Target{Current: g.routes, Deny: g.deny, Sessions: g.sessions, Disk: disk, Plans: g.throttle, MaxAge: g.cfg.MaxAge}, g.log, time.Now)
	g.watchGrants = grant.NewWatch(backplanev1.NewGrantServiceClient(subscription), g.hello(nil), g.grants, g.log, time.Now)
	g.live = &renewal.Local{Sessions: g.sessions, Routes: g.routes, Deny: g.deny, Grants: g.grants, IsKey: ours.IsKey}
	g.others = renewal.NewOthers(g.cfg.Instance, subscription, g.cfg.others())
	g.watchUsers = access.New(backplanev1.NewAccessServiceClient(subscription), identity.Gateway, g.cfg.Instance, g.log, time.Now)
}

// observed reports that a limit on observe would have refused a handshake.
func (g *gateway) observed(who throttle.Who, l *limits.Limit) {
	info := session.Info{Route: &session.Route{Version: who.Version}, Grant: who.Grant, Plans: &session.Plans{}}
	if who.Grant != nil {
		info.Plans.Plan = who.Grant.Plan
	} else if r := g.routes.Load().Get(who.Version); r != nil {
		info.Plans.TrafficPlan = r.Limits.TrafficPlan
	}
	g.meter.Observed(&info, l)
}

// serveLine has those go on who wait for a quota.
func (g *gateway) serveLine(l *limits.Limit) {
	g.throttle.Served()
	if l.Unit != limits.Sessions {
		g.relay.Serve(l)
	}
}

// listen opens the listener for clients. No backend may be at an address of the gateway's
// own.
func (g *gateway) listen(dialer *upstream.Dialer, ours *credential.Recognizer, refused *refusal.Recorder) (err error) {
	handler := handshake.New(handshake.Dependencies{
		Routes: g.routes, Deny: g.deny, Grants: g.grants, Ours: ours, Dialer: dialer, Sessions: g.sessions, Relay: g.relay, Throttle: g.throttle,
		Refused: refused, Metrics: g.metrics, Log: g.log, MaxPerVersion: g.cfg.perVersion(), MaxRequests: g.cfg.maxRequests(), EndpointTimeout: g.cfg.EndpointTimeout, Tickets: g.tickets, Identities: g.identities, Tag: g.tag,
		First: handshake.FirstConfig{
			Timeout: g.cfg.FirstMessageTimeout, Handshake: g.cfg.Listen.Timeout, Max: g.cfg.MaxUnauthenticated, PerAddress: g.cfg.MaxUnauthenticatedPerAddress,
		},
	})
	renewals := &renewal.Server{Instance: g.cfg.Instance, Tag: g.tag, Local: g.live, Others: g.others, Caller: handler, Log: g.log}
	g.cfg.Listen.Tag = g.tag
	g.cfg.Listen.Own = func(ctx context.Context, r *listener.Request, method string) []byte {
		if answer := renewals.Own(ctx, r, method); answer != nil {
			return answer
		}
		return handler.Own(ctx, r, method)
	}
	g.beside = beside.New(g.cfg.HTTP, beside.Dependencies{
		Handshakes: handler, Routes: g.routes, Dialer: dialer, Metrics: g.metrics, Meter: g.meter, Minute: g.relay.Minute, Ready: g.ready, Log: g.log,
	})
	g.cfg.Listen.Beside = g.beside.Handle
	g.listener, err = listener.Open(g.cfg.Listen, handler, g.ready, refused, g.log)
	if err != nil {
		return err
	}
	dialer.Own(g.listener.Addr())
	dialer.Own(g.listener.TLSAddr())
	g.cfg.GRPC.Listening, g.cfg.Ops.Listening = dialer.Own, dialer.Own
	return nil
}

// openDisk makes the folder of what is kept and returns what is in it, the copy of
// the routes and the issuer, and the keeper of the key that seals them.
func openDisk(ctx context.Context, cfg *Config, log *slog.Logger) (*routes.Disk, *issuer, *seal.Keeper, error) {
	key := cfg.MasterKey
	if key == nil {
		var err error
		if key, err = seal.Load(cfg.MasterKeyFile); err != nil {
			return nil, nil, nil, err
		}
	}
	cfg.Listen.CertDir = cfg.Data
	dir := filepath.Dir(cfg.routesFile())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, nil, fmt.Errorf("make the folder of the routes: %w", err)
	}
	disk, known := routes.NewDisk(cfg.routesFile(), key, log), openIssuer(filepath.Join(dir, "token-issuer"), key, log)
	keeper := seal.NewKeeper(key, sealed(disk.Reseal, known.file.Reseal), log)
	if err := keeper.Start(ctx); err != nil {
		log.Warn("files not sealed with the first master key yet", "error", err)
	}
	run.OnReload(ctx, func() error { return keeper.Reload(ctx) })
	return disk, known, keeper, nil
}

// sealed is what the gateway has sealed: files, each of which is sealed again by a
// function. One that no key opens is of no use, and is written anew in time.
func sealed(files ...func() (bool, error)) seal.Stored {
	return seal.Stored{Service: identity.Gateway, Reseal: func(context.Context) (n int, failed error) {
		for _, reseal := range files {
			again, err := reseal()
			if again {
				n++
			}
			if !errors.Is(err, seal.ErrOpen) {
				failed = errors.Join(failed, err)
			}
		}
		return n, failed
	}}
}

// hello is how the gateway names itself to a service that it watches.
func (g *gateway) hello(features []string) *backplanev1.Hello {
	return &backplanev1.Hello{
		Instance: g.cfg.Instance, Kind: identity.Gateway, Build: run.Version(),
		Address: g.cfg.advertised(), Features: features, RefTag: string(g.tag),
	}
}

// newServer returns the gRPC of the sessions, for users whose tokens keySet verifies.
func (g *gateway) newServer(keySet func(context.Context) (identity.KeySet, error), reg *prometheus.Registry, connections connlimit.Config) *grpcserver.Server {
	keys := identity.NewKeys(keySet, time.Now)
	srv := grpcserver.New(g.cfg.GRPC, g.log, grpcserver.Auth{
		Verifier: identity.NewVerifier(keys, g.watchUsers, time.Now),
		Rules:    api.Rules(),
		Security: g.security,
	}, grpcserver.WithMetrics(reg), grpcserver.WithLimit(connlimit.New(connections, nil)))
	api.New(api.Gateway{
		Instance: g.cfg.Instance, Build: run.Version(), Started: g.started, Ready: g.ready,
		RoutesApplied: g.watchRoutes.Applied, GrantsApplied: g.watchGrants.Applied, Closed: g.grants.Closed, Live: g.live,
	}, g.sessions, g.routes, g.security, g.dialer).Register(srv.Public(), srv.Internal())
	return srv
}

// connectionsOf bounds users' connections to the gRPC of the sessions by a quarter of what
// there is for everything but clients of WebSocket.
func connectionsOf(shares descriptors.Shares) connlimit.Config {
	c := connlimit.Default()
	if shares.Else > 0 {
		c.Max = min(c.Max, shares.Else/4)
	}
	return c
}

// measure registers the gauges.
func (g *gateway) measure(dialer *upstream.Dialer) {
	g.metrics.Certificates(g.listener.CertificatesFailed)
	g.metrics.Gauges(func() int { return g.sessions.Gauges().Live }, func() int { return g.sessions.Most() }, g.listener.InProgress, dialer.Dials,
		func() int { return g.deny.Load().Len() })
	g.metrics.HTTP(g.beside.InFlight, g.listener.Connections, g.beside.Connections)
	g.metrics.Plans(g.throttle.SeatsTaken)
	g.metrics.Endpoints(func(state balance.State) int { return g.routes.Load().EndpointsIn(state, time.Now()) })
	g.metrics.Watch(metrics.Routes, g.watchRoutes.Health, g.watchRoutes.Applied)
	g.metrics.Watch(metrics.Grants, g.watchGrants.Health, g.watchGrants.Applied)
	g.metrics.Watch(metrics.Users, g.watchUsers.Health, g.watchUsers.Applied)
}

// ready returns why the gateway takes no new sessions, or nil.
func (g *gateway) ready() error {
	switch {
	case g.draining.Load():
		return session.ErrDraining
	case !g.routes.Loaded():
		return errors.New("no routes yet")
	}
	return nil
}

func (g *gateway) report(ctx context.Context) error { return g.meter.Run(ctx, g.sessions) }

// serve runs the listener and the tasks that sessions need. They outlive ctx:
// only when the sessions are over and reported do they end.
func (g *gateway) serve(ctx context.Context, tasks ...func(context.Context) error) error {
	all, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	clients := func(base context.Context) error {
		defer stop()
		listening, closeListener := context.WithCancel(base)
		defer closeListener()
		done := make(chan error, 1)
		go func() { done <- g.listener.Run(listening) }()
		if g.cfg.Ready != nil {
			g.cfg.Ready(Addrs{Plain: g.listener.Addr(), TLS: g.listener.TLSAddr()})
		}
		var err error
		select {
		case err = <-done:
			g.drain(base)
		case <-ctx.Done():
			g.drain(base)
			closeListener()
			err = <-done
		}
		return errors.Join(err, g.flush(base))
	}
	return run.Group(all, append(tasks, clients)...)
}

// drain ends the sessions. Until they are over, new handshakes are answered 503.
func (g *gateway) drain(ctx context.Context) {
	g.draining.Store(true)
	g.listener.CloseIdle()
	g.log.Info("sessions are ended", "count", g.sessions.Gauges().Live, "over", g.cfg.Drain)
	closeWait := min(max(g.cfg.Drain, minCloseWait), maxCloseWait)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.cfg.Drain+closeWait)
	defer cancel()
	if err := g.sessions.Drain(ctx, g.cfg.Drain); err != nil {
		g.log.Warn("sessions were cut", "error", err)
	}
	g.relay.Wait()
}

// flush reports what was counted last, and gives back what is not spent of quotas.
func (g *gateway) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportTime)
	defer cancel()
	back := make(chan error, 1)
	go func() { back <- g.quotas.Flush(ctx) }()
	return errors.Join(g.meter.Flush(ctx, g.sessions), <-back)
}
