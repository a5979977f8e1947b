package memnet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"

	"github.com/tidegatehq/tidegate/services/kit/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// asker says who it sees.
type asker struct {
	*health.Server
	callers chan net.Addr
}

func (a *asker) Check(ctx context.Context, req *healthgrpc.HealthCheckRequest) (*healthgrpc.HealthCheckResponse, error) {
	p, _ := peer.FromContext(ctx)
	a.callers <- p.Addr
	return a.Server.Check(ctx, req)
}

func TestServerSeesTheCaller(t *testing.T) {
	lis := memnet.Listen("catalog")
	srv := grpc.NewServer()
	a := &asker{Server: health.NewServer(), callers: make(chan net.Addr, 1)}
	healthgrpc.RegisterHealthServer(srv, a)
	served := make(chan error)
	go func() { served <- srv.Serve(lis) }()
	for _, caller := range []string{"gateway", "portal", ""} {
		conn, err := lis.Dial(caller)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := healthgrpc.NewHealthClient(conn).Check(t.Context(), &healthgrpc.HealthCheckRequest{}); err != nil {
			t.Fatalf("Check: %v", err)
		}
		if got, want := <-a.callers, (memnet.Addr{Listener: "catalog", Caller: caller}); got != want {
			t.Errorf("peer = %v, want %v", got, want)
		}
		conn.Close()
	}
	srv.Stop()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

func TestConnectionCarriesBytes(t *testing.T) {
	lis := memnet.Listen("x")
	defer lis.Close()
	done := make(chan error)
	go func() {
		c, err := lis.Accept()
		if err == nil {
			_, err = io.Copy(c, c)
			c.Close()
		}
		done <- err
	}()
	c, err := lis.DialContext(t.Context(), "gateway")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "hello" {
		t.Errorf("read %q, %v, want hello", buf, err)
	}
	c.Close()
	if err := <-done; err != nil {
		t.Errorf("echo: %v", err)
	}
}

func TestClosedListener(t *testing.T) {
	lis := memnet.Listen("x")
	lis.Close()
	lis.Close() // twice is fine
	if _, err := lis.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept = %v, want %v", err, net.ErrClosed)
	}
	if _, err := lis.DialContext(t.Context(), "gateway"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("DialContext = %v, want %v", err, net.ErrClosed)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := memnet.Listen("y").DialContext(ctx, "gateway"); !errors.Is(err, context.Canceled) {
		t.Errorf("DialContext with an ended context = %v, want %v", err, context.Canceled)
	}
}

func TestAddr(t *testing.T) {
	if got := memnet.Listen("x").Addr().String(); got != "memnet:x" {
		t.Errorf("Addr = %q, want memnet:x", got)
	}
	if got := (memnet.Addr{Listener: "x", Caller: "y"}).String(); got != "memnet:y>x" {
		t.Errorf("Addr = %q, want memnet:y>x", got)
	}
}

// TestSockets connects both ends with each other, until the listener is closed.
func TestSockets(t *testing.T) {
	lis := memnet.Listen("x")
	accepted := make(chan net.Conn, 1)
	go func() {
		conn, err := lis.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- conn
	}()
	client, err := lis.DialSocket(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server := <-accepted
	if _, ok := server.(*net.TCPConn); !ok || server.RemoteAddr().String() != client.LocalAddr().String() {
		t.Errorf("accepted a %T from %v, want a socket from %v", server, server.RemoteAddr(), client.LocalAddr())
	}
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	_ = client.Close()
	if got, err := io.ReadAll(server); string(got) != "hello" || err != nil {
		t.Errorf("read %q, %v, want hello", got, err)
	}
	_ = server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := lis.DialSocket(ctx); err == nil {
		t.Error("a dial that was cancelled succeeded")
	}
	_ = lis.Close()
	if _, err := lis.DialSocket(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dial after Close = %v, want net.ErrClosed", err)
	}
}
