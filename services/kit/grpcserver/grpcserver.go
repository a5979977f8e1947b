// Package grpcserver serves gRPC on two faces, one for users and one for services.
// Before a handler runs, it has found out who is calling and checked the rules; it
// counts and logs every call, and drains calls when it stops. Package fault turns
// errors and panics into statuses, and package validate adds the checks of requests.
package grpcserver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"

	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/connlimit"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
)

// maxMessage is the largest message, in bytes, that a server sends, or accepts
// from a service; maxRequest is the largest that it accepts from users.
const (
	maxMessage = memnet.MaxMessage
	maxRequest = 1 << 20
)

// Bounds of what a connection can cost.
const (
	// maxHeader is the largest metadata of a call, in bytes.
	maxHeader = 64 << 10
	// openTimeout is how long a connection may take to open, TLS included.
	openTimeout = 10 * time.Second
	// maxStreams is how many calls a user's connection may have at a time.
	maxStreams = 250
	// usersIdle and usersAge are how long a user's connection may be idle and may
	// live. usersGrace is how much longer its calls may then take: it ends calls
	// that would never complete.
	usersIdle  = 5 * time.Minute
	usersAge   = 30 * time.Minute
	usersGrace = time.Minute
	// pingEvery is how long a connection may be silent before it is pinged, and
	// pingTimeout how long the answer may take. pingFloor is how often the client may
	// ping.
	pingEvery   = 30 * time.Second
	pingTimeout = 10 * time.Second
	pingFloor   = 5 * time.Second
)

// Auth says who may call what.
type Auth struct {
	// Verifier checks users' tokens; nil refuses all of them.
	Verifier *identity.Verifier
	// Rules has a rule for every registered method, except health and reflection.
	Rules identity.Rules
	// Security is told of refused calls; it may be nil.
	Security *securitylog.Log
}

// Option is an option of New.
type Option func(*options)

type options struct {
	unary     []grpc.UnaryServerInterceptor
	stream    []grpc.StreamServerInterceptor
	users     []grpc.ServerOption
	metrics   prometheus.Registerer
	reflected reflection.ServiceInfoProvider
	proxies   *proxies.Config
	limit     *connlimit.Limit
	classify  fault.Classify
}

// WithInterceptors adds interceptors that run once the caller is admitted.
func WithInterceptors(u grpc.UnaryServerInterceptor, s grpc.StreamServerInterceptor) Option {
	return func(o *options) {
		o.unary = append(o.unary, u)
		o.stream = append(o.stream, s)
	}
}

// WithMetrics counts calls in reg. Servers that share a reg share the counts.
func WithMetrics(reg prometheus.Registerer) Option {
	return func(o *options) { o.metrics = reg }
}

// WithUsersOptions adds options of the users' gRPC server, such as a handler of
// unknown services.
func WithUsersOptions(opts ...grpc.ServerOption) Option {
	return func(o *options) { o.users = append(o.users, opts...) }
}

// WithReflected makes reflection and the health of the users' face know the services
// of p instead of those that are registered: for a server that forwards calls. It serves
// every method that has a rule.
func WithReflected(p reflection.ServiceInfoProvider) Option {
	return func(o *options) { o.reflected = p }
}

// WithClassify makes faults of errors that handlers pass on from a library, such as
// those of a database that is away. It is asked only about errors that are no faults.
func WithClassify(classify fault.Classify) Option {
	return func(o *options) { o.classify = classify }
}

// WithProxies believes the proxies of p about the clients of the users' face.
func WithProxies(p *proxies.Config) Option {
	return func(o *options) { o.proxies = p }
}

// WithLimit bounds the connections of the users' face, which are bounded by
// connlimit.Default and the open files otherwise, and reads the PROXY headers of the limit's proxies.
func WithLimit(l *connlimit.Limit) Option {
	return func(o *options) { o.limit = l }
}

// Server is a gRPC server with two faces.
type Server struct {
	cfg      Config
	log      *slog.Logger
	rules    identity.Rules
	opts     options
	users    *grpc.Server
	internal *grpc.Server
	source   *certs.Source
	stopping chan struct{} // closed when Run's context ends
	err      error
}

// New returns a server. Register services on its faces, then call Run, which
// reports what is wrong with cfg or with the registrations.
func New(cfg Config, log *slog.Logger, auth Auth, opts ...Option) *Server {
	s := &Server{cfg: cfg, log: log, rules: withOwnRules(auth.Rules), stopping: make(chan struct{})}
	for _, o := range opts {
		o(&s.opts)
	}
	s.err = cfg.Check()
	if s.err == nil && cfg.TLSCert != "" {
		s.source, s.err = certs.Open(certs.Files{Cert: cfg.TLSCert, Key: cfg.TLSKey, CA: cfg.TLSClientCA}, log)
	}
	metrics := s.serverMetrics()
	s.users = grpc.NewServer(append(s.chain(auth, metrics, nil), s.usersOptions()...)...)
	s.internal = grpc.NewServer(append(s.chain(auth, metrics, identity.ServiceOf), s.internalOptions()...)...)
	var provider reflection.ServiceInfoProvider = s.users
	if s.opts.reflected != nil {
		provider = s.opts.reflected
	}
	healthgrpc.RegisterHealthServer(s.users, newHealth(s.stopping, provider))
	healthgrpc.RegisterHealthServer(s.internal, newHealth(s.stopping, s.internal))
	reflectionv1.RegisterServerReflectionServer(s.users, reflection.NewServerV1(reflection.ServerOptions{Services: provider}))
	reflectionv1alpha.RegisterServerReflectionServer(s.users, reflection.NewServer(reflection.ServerOptions{Services: provider}))
	return s
}

// Public returns the users' face.
func (s *Server) Public() grpc.ServiceRegistrar { return s.users }

// Internal returns the services' face. Services forward users' calls to it, so
// users' methods are registered on both faces.
func (s *Server) Internal() grpc.ServiceRegistrar { return s.internal }

// Run serves until ctx ends. Then it accepts no more calls, says NOT_SERVING to
// those who watch its health, and gives running calls Config.Drain to end.
func (s *Server) Run(ctx context.Context) error {
	if err := errors.Join(s.err, s.checkRules(), s.bound()); err != nil {
		return fmt.Errorf("serve gRPC: %w", err)
	}
	users, err := netaddr.Listen(ctx, s.cfg.Listener, "-"+s.cfg.prefix+"grpc", s.cfg.Addr)
	if err != nil {
		return err
	}
	internal, err := netaddr.Listen(ctx, s.cfg.InternalListener, "-"+s.cfg.prefix+"grpc-internal", s.cfg.InternalAddr)
	if err != nil {
		if users != nil {
			users.Close()
		}
		return err
	}
	if s.source != nil {
		run.OnReload(ctx, s.source.Reload)
	}
	g, ctx := errgroup.WithContext(ctx)
	s.serve(ctx, g, s.users, s.opts.limit.Listener(users), "users")
	s.serve(ctx, g, s.internal, internal, "services")
	g.Go(func() error {
		<-ctx.Done()
		close(s.stopping)
		return nil
	})
	return g.Wait()
}

// bound makes the limit of users' connections, unless one was given or there will be
// none over the network.
func (s *Server) bound() error {
	if s.opts.limit != nil || s.cfg.Addr == "" || s.cfg.Listener != nil {
		return nil
	}
	connections := connlimit.Default()
	if err := connections.Fit(); err != nil {
		return run.Misconfigured(err)
	}
	s.opts.limit = connlimit.New(connections, s.opts.proxies)
	return nil
}

// serve runs one face and stops it when ctx ends.
func (s *Server) serve(ctx context.Context, g *errgroup.Group, srv *grpc.Server, lis net.Listener, face string) {
	if lis == nil {
		return
	}
	if s.cfg.Listening != nil {
		s.cfg.Listening(lis.Addr())
	}
	s.log.Info("gRPC served", "for", face, "address", lis.Addr().String())
	opening := newOpeningListener(lis)
	g.Go(func() error {
		if err := srv.Serve(opening); err != nil && ctx.Err() == nil {
			return fmt.Errorf("serve gRPC for %s: %w", face, err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		opening.stop()
		s.stop(srv)
		return nil
	})
}

// stop waits for calls to end, and ends them after the drain time.
func (s *Server) stop(srv *grpc.Server) {
	forced := time.AfterFunc(s.cfg.Drain, srv.Stop)
	defer forced.Stop()
	srv.GracefulStop()
}

// checkRules names the registered methods that have no rule.
func (s *Server) checkRules() error {
	var missing []string
	for _, srv := range []*grpc.Server{s.users, s.internal} {
		for service, info := range srv.GetServiceInfo() {
			for _, m := range info.Methods {
				name := "/" + service + "/" + m.Name
				if _, ok := s.rules[name]; !ok && !slices.Contains(missing, name) {
					missing = append(missing, name)
				}
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return fmt.Errorf("methods without a rule: %s", strings.Join(missing, ", "))
}

// withOwnRules adds the rules of health and reflection, which are open to all.
func withOwnRules(rules identity.Rules) identity.Rules {
	all := identity.Rules{}
	maps.Copy(all, rules)
	for _, desc := range []grpc.ServiceDesc{
		healthgrpc.Health_ServiceDesc,
		reflectionv1.ServerReflection_ServiceDesc,
		reflectionv1alpha.ServerReflection_ServiceDesc,
	} {
		for _, m := range desc.Methods {
			all["/"+desc.ServiceName+"/"+m.MethodName] = identity.Rule{Open: true}
		}
		for _, m := range desc.Streams {
			all["/"+desc.ServiceName+"/"+m.StreamName] = identity.Rule{Open: true}
		}
	}
	return all
}

// chain returns the options that both faces share.
func (s *Server) chain(auth Auth, metrics *grpcprom.ServerMetrics, service func(context.Context) string) []grpc.ServerOption {
	guard := identity.Guard{Verifier: auth.Verifier, Rules: s.rules, Service: service, Refused: auth.Security.Refused}
	unary := []grpc.UnaryServerInterceptor{logUnary(s.log), fault.UnaryInterceptor(s.log, s.opts.classify), s.clientUnary(service != nil), guard.Unary}
	stream := []grpc.StreamServerInterceptor{logStream(s.log), fault.StreamInterceptor(s.log, s.opts.classify), s.clientStream(service != nil), guard.Stream, s.endReflection}
	if metrics != nil {
		unary = slices.Insert(unary, 0, metrics.UnaryServerInterceptor())
		stream = slices.Insert(stream, 0, metrics.StreamServerInterceptor())
	}
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(append(unary, s.opts.unary...)...),
		grpc.ChainStreamInterceptor(append(stream, s.opts.stream...)...),
		grpc.MaxRecvMsgSize(maxMessage),
		grpc.MaxSendMsgSize(maxMessage),
		grpc.MaxHeaderListSize(maxHeader),
		grpc.ConnectionTimeout(openTimeout),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingFloor, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingEvery, Timeout: pingTimeout}),
	}
}

// serverMetrics returns the call metrics: those of another server if the registry
// has them already.
func (s *Server) serverMetrics() *grpcprom.ServerMetrics {
	if s.opts.metrics == nil {
		return nil
	}
	m := grpcprom.NewServerMetrics(grpcprom.WithServerHandlingTimeHistogram())
	err := s.opts.metrics.Register(m)
	if taken, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok {
		if old, ok := taken.ExistingCollector.(*grpcprom.ServerMetrics); ok {
			return old
		}
	}
	if err != nil {
		s.err = errors.Join(s.err, fmt.Errorf("register call metrics: %w", err))
	}
	return m
}

// usersOptions returns the options of the users' face alone, which bound what
// strangers can cost.
func (s *Server) usersOptions() []grpc.ServerOption {
	opts := append([]grpc.ServerOption{
		s.onlyServed(func() *grpc.Server { return s.users }, s.opts.reflected != nil),
		grpc.MaxRecvMsgSize(maxRequest),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: usersIdle, MaxConnectionAge: usersAge, MaxConnectionAgeGrace: usersGrace,
			Time: pingEvery, Timeout: pingTimeout,
		}),
	}, s.opts.users...)
	if s.source != nil && s.cfg.Listener == nil {
		opts = append(opts, withTLS(s.source.Server(false, "h2")))
	}
	return opts
}

// internalOptions returns the options of the services' face alone.
func (s *Server) internalOptions() []grpc.ServerOption {
	opts := []grpc.ServerOption{s.onlyServed(func() *grpc.Server { return s.internal }, false)}
	if s.source != nil && s.cfg.TLSClientCA != "" && s.cfg.InternalListener == nil {
		opts = append(opts, withTLS(s.source.Server(true, "h2")))
	}
	return opts
}

func withTLS(cfg *tls.Config) grpc.ServerOption {
	return grpc.Creds(credentials.NewTLS(cfg))
}
