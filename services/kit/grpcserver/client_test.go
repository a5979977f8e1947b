package grpcserver_test

import (
	"context"
	"log/slog"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/certs/certtest"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/grpcclient"
	"github.com/tidegatehq/tidegate/services/kit/grpcserver"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
)

// clients answers with the client's address as name.
type clients struct {
	backplanev1.UnimplementedRouteServiceServer
}

func (clients) GetRoute(ctx context.Context, _ *backplanev1.GetRouteRequest) (*backplanev1.Route, error) {
	addr := clientaddr.From(ctx)
	if !addr.IsValid() {
		return &backplanev1.Route{Name: "none"}, nil
	}
	return &backplanev1.Route{Name: addr.String()}, nil
}

// clientOf calls with pairs of metadata, and returns the client's address that the
// handler saw.
func clientOf(t *testing.T, c backplanev1.RouteServiceClient, pairs ...string) string {
	t.Helper()
	route, err := c.GetRoute(metadata.AppendToOutgoingContext(t.Context(), pairs...), &backplanev1.GetRouteRequest{})
	if err != nil {
		t.Fatalf("GetRoute: %v", err)
	}
	return route.GetName()
}

// TestClientAddressPassedOn is believed from the portal, and from nobody else.
func TestClientAddressPassedOn(t *testing.T) {
	ca := certtest.NewCA(t)
	server := ca.Issue(t, "catalog", "localhost", "127.0.0.1")
	cfg := grpcserver.Default("", "127.0.0.1:0")
	cfg.TLSCert, cfg.TLSKey, cfg.TLSClientCA = server.Cert, server.Key, ca.File
	addr := startClients(t, cfg)
	for caller, want := range map[string]string{identity.Portal: "192.0.2.1", identity.Gateway: "127.0.0.1"} {
		own := ca.Issue(t, caller)
		service := grpcclient.Default(identity.Catalog, addr)
		service.CA, service.Cert, service.Key = ca.File, own.Cert, own.Key
		c := backplanev1.NewRouteServiceClient(dial(t, service))
		if got := clientOf(t, c, clientaddr.Metadata, "192.0.2.1"); got != want {
			t.Errorf("client of %s = %s, want %s", caller, got, want)
		}
		if got := clientOf(t, c, clientaddr.Metadata, "garbage"); got != "127.0.0.1" {
			t.Errorf("client of %s with garbage = %s, want its own address", caller, got)
		}
		if got := clientOf(t, c, clientaddr.Metadata, "192.0.2.1", clientaddr.Metadata, "192.0.2.2"); got != "127.0.0.1" {
			t.Errorf("client of %s with two addresses = %s, want its own address", caller, got)
		}
	}
}

// startClients runs a server of clients and returns its services' address.
func startClients(t *testing.T, cfg grpcserver.Config) string {
	t.Helper()
	log := &served{addrs: make(chan [2]string, 1)}
	srv := grpcserver.New(cfg, slog.New(log), auth)
	backplanev1.RegisterRouteServiceServer(srv.Internal(), clients{})
	run(t, srv)
	return (<-log.addrs)[1]
}

// TestClientAddressInMemory is the portal's word at its end of an in-memory
// connection, and none at another service's.
func TestClientAddressInMemory(t *testing.T) {
	for caller, want := range map[string]string{identity.Portal: "2001:db8::1", identity.Gateway: "none"} {
		lis, conn := memory(t, caller)
		srv := grpcserver.New(on(nil, lis), quiet(), auth)
		backplanev1.RegisterRouteServiceServer(srv.Internal(), clients{})
		run(t, srv)
		if got := clientOf(t, backplanev1.NewRouteServiceClient(conn), clientaddr.Metadata, "2001:db8::1"); got != want {
			t.Errorf("client of %s = %s, want %s", caller, got, want)
		}
	}
}

// TestClientAddressOfUsers is the peer's, and behind a trusted proxy what that says.
func TestClientAddressOfUsers(t *testing.T) {
	trusting := &proxies.Config{}
	if err := trusting.Trusted.Set("127.0.0.0/8"); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		proxies *proxies.Config
		want    string
	}{{nil, "127.0.0.1"}, {trusting, "192.0.2.1"}} {
		log := &served{addrs: make(chan [2]string, 1)}
		srv := grpcserver.New(grpcserver.Default("127.0.0.1:0", ""), slog.New(log), auth, grpcserver.WithProxies(test.proxies))
		backplanev1.RegisterRouteServiceServer(srv.Public(), clients{})
		run(t, srv)
		c := backplanev1.NewRouteServiceClient(dial(t, grpcclient.Default(identity.Catalog, (<-log.addrs)[1])))
		if got := clientOf(t, c, "x-forwarded-for", "192.0.2.1", clientaddr.Metadata, "192.0.2.9"); got != test.want {
			t.Errorf("client = %s, want %s", got, test.want)
		}
		if test.proxies == nil {
			continue
		}
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x-forwarded-for", "garbage")
		if _, err := c.GetRoute(ctx, &backplanev1.GetRouteRequest{}); status.Code(err) != codes.InvalidArgument {
			t.Errorf("a proxy's garbage = %v, want INVALID_ARGUMENT", err)
		}
	}
}
