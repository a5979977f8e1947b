package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// certificates are the certificates of callers, and who each is for a service: a
// name, "" for nobody, or noConnection.
type certificates map[string]struct {
	pair *tls.Certificate
	is   string
}

// noConnection says that a caller gets no connection.
const noConnection = "(no connection)"

// issue makes a certificate for names as one that was asked for at a time.
func issue(t *testing.T, a *certs.Authority, leaf certs.Leaf, at time.Time) *tls.Certificate {
	t.Helper()
	pair, err := a.Issue(leaf, at)
	if err != nil {
		t.Fatal(err)
	}
	both, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	return &both
}

// newCertificates makes them; ours is the authority of the installation.
func newCertificates(t *testing.T, ours, other *certs.Authority) certificates {
	t.Helper()
	now := time.Now()
	named := func(names ...string) certs.Leaf { return certs.Leaf{Names: names, Life: time.Hour, Client: true} }
	all := certificates{}
	add := func(name, is string, pair *tls.Certificate) {
		c := all[name]
		c.pair, c.is = pair, is
		all[name] = c
	}
	for _, service := range []string{identity.Catalog, identity.Subscription, identity.Gateway, identity.Portal} {
		add(service, service, issue(t, ours, named(service), now))
		add(service+" of another authority", noConnection, issue(t, other, named(service), now))
		add(service+", expired", noConnection, issue(t, ours, named(service), now.Add(-3*time.Hour)))
		add(service+", not valid yet", noConnection, issue(t, ours, named(service), now.Add(3*time.Hour)))
		add(service+", for servers only", noConnection, issue(t, ours, certs.Leaf{Names: []string{service}, Life: time.Hour}, now))
		add(service+" second", "", issue(t, ours, named("other.example", service), now))
		add(service+" in capitals", "", issue(t, ours, named(strings.ToUpper(service)), now))
		add(service+" below a domain", "", issue(t, ours, named(service+".example"), now))
	}
	add("a wildcard", "", issue(t, ours, named("*"), now))
	add("a wildcard and a name", "", issue(t, ours, named("*", identity.Gateway), now))
	add("an address", "", issue(t, ours, named("127.0.0.1"), now))
	add("nobody", noConnection, nil)
	return all
}

// stub registers every method with a handler that answers with nothing.
func stub(on grpc.ServiceRegistrar, rules identity.Rules) {
	services := map[string]*grpc.ServiceDesc{}
	for full, m := range allMethods() {
		if _, ok := rules[full]; !ok {
			continue
		}
		name := string(m.Parent().FullName())
		if services[name] == nil {
			services[name] = &grpc.ServiceDesc{ServiceName: name, HandlerType: (*any)(nil)}
		}
		if m.IsStreamingServer() {
			services[name].Streams = append(services[name].Streams, grpc.StreamDesc{
				StreamName: string(m.Name()), ServerStreams: true, ClientStreams: true,
				Handler: func(_ any, s grpc.ServerStream) error { return s.SendMsg(&emptypb.Empty{}) },
			})
			continue
		}
		services[name].Methods = append(services[name].Methods, grpc.MethodDesc{
			MethodName: string(m.Name()),
			Handler: func(_ any, ctx context.Context, read func(any) error, guard grpc.UnaryServerInterceptor) (any, error) {
				in := &emptypb.Empty{}
				if err := read(in); err != nil {
					return nil, err
				}
				return guard(ctx, in, &grpc.UnaryServerInfo{FullMethod: full}, func(context.Context, any) (any, error) { return in, nil })
			},
		})
	}
	for _, desc := range services {
		on.RegisterService(desc, nil)
	}
}

// serveInternal serves all methods to services, and returns the address.
func serveInternal(t *testing.T, own, authority certs.Pair) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string][]byte{"cert.pem": own.Cert, "key.pem": own.Key, "ca.pem": authority.Cert} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	listening := make(chan net.Addr, 2)
	cfg := grpcserver.Default("", "127.0.0.1:0")
	cfg.TLSCert, cfg.TLSKey, cfg.TLSClientCA = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
	cfg.Listening = func(a net.Addr) { listening <- a }
	srv := grpcserver.New(cfg, slog.New(slog.DiscardHandler), grpcserver.Auth{Rules: allRules()})
	stub(srv.Internal(), allRules())
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
	select {
	case a := <-listening:
		return a.String()
	case err := <-done:
		done <- err
		t.Fatalf("Run = %v", err)
		return ""
	}
}

// TestEveryMethodByEveryService calls every method of the internal listeners with
// every kind of certificate: who calls is the first name of a certificate of the
// installation's authority, and the tables of rules say what that service may do.
func TestEveryMethodByEveryService(t *testing.T) {
	t.Parallel()
	ours, authority, err := certs.NewAuthority("ours", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := certs.NewAuthority("another", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	own, err := ours.Issue(certs.Leaf{Names: []string{identity.Catalog}, Life: time.Hour, Client: true}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	address := serveInternal(t, own, authority)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.Cert)
	rules := allRules()
	for name, caller := range newCertificates(t, ours, other) {
		cfg := &tls.Config{RootCAs: roots, ServerName: identity.Catalog}
		if caller.pair != nil {
			cfg.Certificates = []tls.Certificate{*caller.pair}
		}
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
		if err != nil {
			t.Fatal(err)
		}
		for _, full := range slices.Sorted(maps.Keys(rules)) {
			want := ofService(rules[full], caller.is)
			if got := callEmpty(t, conn, full); got != want {
				t.Errorf("%s by %s: %v, want %v", full, name, got, want)
			}
			if want == codes.Unavailable {
				break // there is no connection for any method
			}
		}
		conn.Close()
	}
}

// ofService is how a call of a service without a user ends, by the rule of the
// method.
func ofService(rule identity.Rule, service string) codes.Code {
	switch {
	case service == noConnection:
		return codes.Unavailable
	case rule.Open, slices.Contains(rule.Services, service):
		return codes.OK
	case len(rule.Services) > 0 && len(rule.Roles) == 0:
		return codes.PermissionDenied
	default:
		return codes.Unauthenticated
	}
}

// callEmpty calls a method with an empty request and returns how it ends.
func callEmpty(t *testing.T, conn *grpc.ClientConn, full string) codes.Code {
	t.Helper()
	if !allMethods()[full].IsStreamingServer() {
		return status.Code(conn.Invoke(within(t), full, &emptypb.Empty{}, &emptypb.Empty{}))
	}
	stream, err := conn.NewStream(within(t), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, full)
	if err == nil {
		err = stream.RecvMsg(&emptypb.Empty{})
	}
	return status.Code(err)
}
