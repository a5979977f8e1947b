package standalone

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
	"github.com/tidegatehq/tidegate/services/kit/retry"
)

const (
	// startTime is how long everything may take to be served.
	startTime = time.Minute
	// probeEvery is the time between two probes, and the timeout of one.
	probeEvery = 50 * time.Millisecond
	probeTime  = 5 * time.Second
	// probeName is a name that the server's certificate has, wherever it listens.
	probeName = "localhost"
)

// probe finds out whether the server answers at the addresses that it listens on.
type probe struct {
	open sockets
	http *http.Client
	grpc *grpc.ClientConn
}

// newProbe returns a probe that trusts the authority in the file ca.
// Where the listeners of the gateway or the portal expect PROXY headers from here, it
// sends them.
func newProbe(ca string, open sockets, gateway, portal *proxies.Config) (*probe, error) {
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("read the authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read the authority: %s has no certificate in it", ca)
	}
	trust := certs.Modern()
	trust.RootCAs, trust.ServerName = roots, probeName
	conn, err := grpc.NewClient("passthrough:///"+open.local("grpc"), grpc.WithAuthority(probeName),
		grpc.WithTransportCredentials(credentials.NewTLS(trust)),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return greet(ctx, addr, portal) }))
	if err != nil {
		return nil, fmt.Errorf("connect to gRPC: %w", err)
	}
	transport := &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}
	transport.DialContext = func(ctx context.Context, _, addr string) (net.Conn, error) {
		if addr == open.local("ws") {
			return greet(ctx, addr, gateway)
		}
		return greet(ctx, addr, portal)
	}
	return &probe{open: open, http: &http.Client{Transport: transport}, grpc: conn}, nil
}

// greet connects to a listener that believes p.
func greet(ctx context.Context, addr string, p *proxies.Config) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := p.Greet(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func (p *probe) close() { _ = p.grpc.Close() }

// wait returns nil once everything is served, or an error when that takes too long or
// ctx ends first.
func (p *probe) wait(ctx context.Context) error {
	starting, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := p.ask(starting)
		switch {
		case err == nil:
			return nil
		case retry.Sleep(starting, probeEvery):
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			return fmt.Errorf("not everything is served within %v: %w", startTime, err)
		}
	}
}

// Now reports why something is not served at the moment, or nil.
func (p *probe) Now() error {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	return p.ask(ctx)
}

// ask asks once: the gateway for its routes, the portal for the issuer, which
// it gets from the subscription service, and gRPC for its health.
func (p *probe) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	if err := p.get(ctx, "http://"+p.open.local("ws")+"/-/readyz"); err != nil {
		return err
	}
	if err := p.get(ctx, "https://"+p.open.local("https")+"/.well-known/oauth-authorization-server"); err != nil {
		return err
	}
	answer, err := healthgrpc.NewHealthClient(p.grpc).Check(ctx, &healthgrpc.HealthCheckRequest{})
	if err != nil {
		return fmt.Errorf("ask gRPC at %s: %w", p.open.local("grpc"), err)
	}
	if answer.GetStatus() != healthgrpc.HealthCheckResponse_SERVING {
		return fmt.Errorf("gRPC at %s is %s", p.open.local("grpc"), answer.GetStatus())
	}
	return nil
}

func (p *probe) get(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", url, err)
	}
	res, err := p.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	return nil
}
