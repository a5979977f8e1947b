package grpcclient_test

import (
	"context"
	"errors"
	"flag"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/certs/certtest"
	"github.com/tidegatehq/tidegate/services/kit/grpcclient"
	"github.com/tidegatehq/tidegate/services/kit/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConfig(t *testing.T) {
	for _, tt := range []struct {
		args string
		want []string
	}{
		{"", nil},
		{"-catalog=localhost:1", nil},
		{"-catalog=[::1]:1", nil},
		{"-catalog=dns:///127.0.0.1:1", nil},
		{"-catalog=passthrough:///127.0.0.1:1", nil},
		{"-catalog=unix:///run/catalog", nil},
		{"-catalog=passthrough:///10.0.0.1:1", []string{"-catalog: passthrough:///10.0.0.1:1 is not on loopback, so -catalog-ca, -catalog-cert and -catalog-key are needed"}},
		{"-catalog=", []string{"-catalog: an address is needed"}},
		{"-catalog=catalog:1", []string{"-catalog: catalog:1 is not on loopback, so -catalog-ca, -catalog-cert and -catalog-key are needed"}},
		{"-catalog=catalog:1 -catalog-ca=a -catalog-cert=c -catalog-key=k", nil},
		{"-catalog-cert=c", []string{"-catalog-cert and -catalog-key go together", "-catalog-cert needs -catalog-ca"}},
	} {
		cfg := grpcclient.Default("catalog", "127.0.0.1:9191")
		fs := flag.NewFlagSet("x", flag.ContinueOnError)
		cfg.Flags(fs, "")
		if err := fs.Parse(strings.Fields(tt.args)); err != nil {
			t.Fatalf("%q: %v", tt.args, err)
		}
		got := ""
		if err := cfg.Check(); err != nil {
			got = err.Error()
		}
		if want := strings.Join(tt.want, "\n"); got != want {
			t.Errorf("Check of %q = %q, want %q", tt.args, got, want)
		}
	}
	cfg := grpcclient.Default("catalog", "far:1")
	if _, err := cfg.Dial(); err == nil {
		t.Error("Dial without TLS beyond loopback = nil, want an error")
	}
	cfg.CA, cfg.Cert, cfg.Key = "/nowhere", "/nowhere", "/nowhere"
	if _, err := cfg.Dial(); err == nil || !strings.Contains(err.Error(), "/nowhere") {
		t.Errorf("Dial with files that are not there = %v, want their name", err)
	}
}

// TestServerIsKnownByItsFirstName calls servers whose certificates have the name of
// the service that is called: only the one that has it first is called.
func TestServerIsKnownByItsFirstName(t *testing.T) {
	ca := certtest.NewCA(t)
	for _, tt := range []struct {
		names []string
		want  codes.Code
	}{
		{[]string{"catalog"}, codes.OK},
		{[]string{"catalog", "localhost"}, codes.OK},
		{[]string{"portal", "catalog", "localhost"}, codes.Unavailable},
		{[]string{"localhost"}, codes.Unavailable},
		{nil, codes.Unavailable},
	} {
		files := ca.Issue(t, tt.names...)
		source, err := certs.Open(files, nil)
		if err != nil {
			t.Fatal(err)
		}
		link := &away{lis: memnet.Listen("x")}
		srv := grpc.NewServer(grpc.Creds(credentials.NewTLS(source.Server(true, "h2"))))
		healthgrpc.RegisterHealthServer(srv, health.NewServer())
		served := make(chan error, 1)
		go func() { served <- srv.Serve(link.lis) }()
		cfg := grpcclient.Default("catalog", "passthrough:///localhost:1")
		own := ca.Issue(t, "gateway")
		cfg.CA, cfg.Cert, cfg.Key = own.CA, own.Cert, own.Key
		conn, err := cfg.Dial(grpc.WithContextDialer(link.dial))
		if err != nil {
			t.Fatal(err)
		}
		_, err = healthgrpc.NewHealthClient(conn).Check(t.Context(), &healthgrpc.HealthCheckRequest{})
		if status.Code(err) != tt.want {
			t.Errorf("a server for %q: %v, want %v", tt.names, err, tt.want)
		}
		conn.Close()
		srv.Stop()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	}
}

// TestGivenConnection dials where a connection is given, which belongs to its
// giver.
func TestGivenConnection(t *testing.T) {
	given, err := memnet.Listen("x").Dial("portal")
	if err != nil {
		t.Fatal(err)
	}
	defer given.Close()
	cfg := grpcclient.Default("catalog", "far:1")
	cfg.Conn = given
	conn, err := cfg.Dial()
	if err != nil || conn != given {
		t.Fatalf("Dial = %v, %v, want the given connection", conn, err)
	}
	if err := cfg.Close(conn); err != nil || given.GetState() == connectivity.Shutdown {
		t.Errorf("Close = %v, the connection is %v, want nil and that it stays", err, given.GetState())
	}
}

// away is a network in which the service can be away.
type away struct {
	lis *memnet.Listener

	mu     sync.Mutex
	mute   bool // a connection opens, and nobody answers on it
	absent bool
	dials  int
}

func (a *away) set(absent, mute bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.absent, a.mute = absent, mute
}

// dial is how the client reaches the service.
func (a *away) dial(ctx context.Context, _ string) (net.Conn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dials++
	switch {
	case a.absent:
		return nil, errors.New("connection refused")
	case a.mute:
		client, _ := net.Pipe()
		return client, nil
	}
	return a.lis.DialContext(ctx, "portal")
}

// connect returns a connection of Dial's to a server behind the network, and what
// ends both.
func (a *away) connect(t *testing.T) (*grpc.ClientConn, func()) {
	t.Helper()
	srv := grpc.NewServer()
	healthgrpc.RegisterHealthServer(srv, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(a.lis) }()
	cfg := grpcclient.Default("catalog", "passthrough:///127.0.0.1:1")
	conn, err := cfg.Dial(grpc.WithContextDialer(a.dial))
	if err != nil {
		t.Fatal(err)
	}
	return conn, func() {
		conn.Close()
		srv.Stop()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	}
}

// A service that was away for long is called again soon after its return, and so
// is one whose host took connections and did not answer.
func TestReturnsSoon(t *testing.T) {
	for name, tt := range map[string]struct {
		mute  bool
		after time.Duration // 1 s of pause with 20 % of jitter, and the attempt under way
	}{
		"refused":   {false, 1200 * time.Millisecond},
		"no answer": {true, 6200 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				link := &away{lis: memnet.Listen("x"), absent: !tt.mute, mute: tt.mute}
				conn, stop := link.connect(t)
				defer stop()
				for range 600 { // calls that fail, each second for 10 minutes
					ctx, cancel := context.WithTimeout(t.Context(), time.Second)
					if _, err := healthgrpc.NewHealthClient(conn).Check(ctx, &healthgrpc.HealthCheckRequest{}); err == nil {
						t.Fatal("Check succeeds while the service is away")
					}
					cancel()
					time.Sleep(time.Second)
				}
				link.set(false, false)
				began := time.Now()
				_, err := healthgrpc.NewHealthClient(conn).Check(t.Context(), &healthgrpc.HealthCheckRequest{}, grpc.WaitForReady(true))
				if took := time.Since(began); err != nil || took > tt.after {
					t.Errorf("Check = %v after %v, want an answer within %v", err, took, tt.after)
				}
				if link.dials < 100 {
					t.Errorf("%d attempts in 10 minutes, want one about each second", link.dials)
				}
			})
		})
	}
}

// A connection on which nothing is called stays.
func TestStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, stop := (&away{lis: memnet.Listen("x")}).connect(t)
		defer stop()
		if _, err := healthgrpc.NewHealthClient(conn).Check(t.Context(), &healthgrpc.HealthCheckRequest{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		if got := conn.GetState(); got != connectivity.Ready {
			t.Errorf("after a day the connection is %v, want READY", got)
		}
	})
}
