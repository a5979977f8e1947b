package portal_test

import (
	"net"
	"net/http"
	"testing"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/portal"
)

// TestSilentConnections: one address opens as many connections as it can, to HTTPS and
// to gRPC, and says nothing. Every request of another is answered.
func TestSilentConnections(t *testing.T) {
	s := start(t, func(c *portal.Config) { c.Connections.Max, c.Connections.PerAddress = 20, 5 })
	silent := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	for i := range 100 {
		conn, err := silent.DialContext(t.Context(), "tcp", []string{s.config.Listener.Addr().String(), s.grpcURL}[i%2])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	catalog := catalogv1.NewCatalogServiceClient(s.dial(t))
	for range 10 {
		if got := s.do(t, "GET", "/openapi.json", ""); got.status != http.StatusOK {
			t.Fatalf("beside silent connections: %d, want 200", got.status)
		}
		if _, err := catalog.ListApis(t.Context(), &catalogv1.ListApisRequest{}); err == nil {
			t.Error("a call without a token succeeds")
		}
		s.client.CloseIdleConnections()
	}
	if _, n := s.last(); n != 10 {
		t.Errorf("%d calls reached a service, want 10", n)
	}
}
