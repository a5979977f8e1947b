package portal_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"testing"

	"context"

	"github.com/pires/go-proxyproto"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/portal"
)

// trusting trusts networks, with the PROXY protocol or without.
func trusting(t *testing.T, networks string, protocol bool) func(*portal.Config) {
	return func(c *portal.Config) {
		if err := c.Proxies.Trusted.Set(networks); err != nil {
			t.Fatal(err)
		}
		c.Proxies.Protocol = protocol
	}
}

// passedOn returns the client's address in the newest call that a service got.
func (s *site) passedOn(t *testing.T) string {
	t.Helper()
	c, n := s.last()
	if got := c.metadata.Get(clientaddr.Metadata); n > 0 && len(got) == 1 {
		return got[0]
	}
	t.Fatalf("%s of %s = %v, want one address", clientaddr.Metadata, c.method, c.metadata.Get(clientaddr.Metadata))
	return ""
}

// TestClientAddressPassedOn gives services the address of whoever calls the portal,
// over each of its faces, and what a trusted proxy says instead. What anybody else
// says is nothing.
func TestClientAddressPassedOn(t *testing.T) {
	for _, test := range []struct{ networks, want string }{{"", "127.0.0.1"}, {"127.0.0.0/8", "192.0.2.7"}} {
		s := start(t, trusting(t, test.networks, false))
		forged := []string{"X-Forwarded-For", "6.6.6.6, 192.0.2.7", "Tidegate-Client-Address", "6.6.6.6", "Grpc-Metadata-Tidegate-Client-Address", "6.6.6.6"}
		for name, path := range map[string]string{
			"REST": "/v1/apis", "REST of gateways": "/v1/gateways/-/sessions", "OAuth2": "/oauth2/jwks",
		} {
			s.do(t, "GET", path, "", append([]string{"Authorization", "Bearer x"}, forged...)...)
			if got := s.passedOn(t); got != test.want {
				t.Errorf("trusting %q: client over %s = %s, want %s", test.networks, name, got, test.want)
			}
		}
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x-forwarded-for", "6.6.6.6, 192.0.2.7", clientaddr.Metadata, "6.6.6.6")
		_, _ = catalogv1.NewCatalogServiceClient(s.dial(t)).ListApis(ctx, &catalogv1.ListApisRequest{})
		if got := s.passedOn(t); got != test.want {
			t.Errorf("trusting %q: client over gRPC = %s, want %s", test.networks, got, test.want)
		}
	}
}

// TestClientAddressMalformed refuses what a trusted proxy says in a form that says
// nothing.
func TestClientAddressMalformed(t *testing.T) {
	s := start(t, trusting(t, "127.0.0.0/8", false))
	if got := s.do(t, "GET", "/v1/apis", "", "X-Forwarded-For", "garbage"); got.status != http.StatusBadRequest {
		t.Errorf("answer = %d %s, want 400", got.status, got.body)
	}
	if _, n := s.last(); n > 0 {
		t.Error("a service was called")
	}
}

// TestProxyProtocol reads the client's address from a trusted proxy's PROXY header,
// version 1 and 2, on HTTPS and on gRPC.
func TestProxyProtocol(t *testing.T) {
	s := start(t, trusting(t, "127.0.0.0/8", true))
	for _, version := range []byte{1, 2} {
		dial := func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
			if err != nil {
				return nil, err
			}
			source := &net.TCPAddr{IP: net.ParseIP("2001:db8::7"), Port: 5000}
			header := proxyproto.HeaderProxyFromAddrs(version, source, &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 443})
			_, err = header.WriteTo(conn)
			return conn, err
		}
		s.client.Transport = &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: s.pool}, ForceAttemptHTTP2: true,
			DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return dial(ctx, addr) },
		}
		s.do(t, "GET", "/v1/apis", "")
		s.client.CloseIdleConnections()
		if got := s.passedOn(t); got != "2001:db8::7" {
			t.Errorf("version %d: client over HTTPS = %s, want what the header says", version, got)
		}
		conn, err := grpc.NewClient("passthrough:///"+s.grpcURL, grpc.WithContextDialer(dial),
			grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: s.pool, ServerName: "localhost"})))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = catalogv1.NewCatalogServiceClient(conn).GetApi(t.Context(), &catalogv1.GetApiRequest{Name: "apis/x"})
		conn.Close()
		if c, _ := s.last(); c.method != catalogv1.CatalogService_GetApi_FullMethodName {
			t.Errorf("version %d: the newest call is %s", version, c.method)
		}
		if got := s.passedOn(t); got != "2001:db8::7" {
			t.Errorf("version %d: client over gRPC = %s, want what the header says", version, got)
		}
	}
}
