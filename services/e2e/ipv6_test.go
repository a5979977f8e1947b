package e2e

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// TestIPv6 serves on IPv6's loopback: the server finds itself ready, names its
// addresses, and users and clients reach it there. Backends on its own ports are
// refused, though backends on loopback are not.
func TestIPv6(t *testing.T) {
	t.Parallel()
	lis, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6")
	}
	lis.Close()
	s := start(t, newData(t), append(quick(), "-host", "::1", "-sample-listen", "[::1]:0", "-wss", "[::1]:0")...)
	for name, at := range map[string]string{"portal": s.Portal, "WebSocket": s.WS, "WebSocket over TLS": s.WSS, "gRPC": s.GRPC, "sample": s.sample} {
		if !strings.Contains(at, "[::1]:") || name != "sample" && !strings.Contains(s.banner(), at) {
			t.Errorf("%s is at %s, want [::1] and that the banner says so:\n%s", name, at, s.banner())
		}
	}
	admin := s.admin(t)
	sh := s.newShell(t)
	sh.says(t, []string{"Signed in to " + s.GRPC + " as admin"}, "login", "--password-file", s.PasswordFile)
	sh.says(t, []string{s.WS + "/echowebsocket/1.0.0", s.WSS + "/echowebsocket/1.0.0"}, "api", "get", "EchoWebSocket")
	url := s.WS + samplePath
	if stdout, stderr, code := sh.try(t, s.sampleToken(t)+"\nby the command line\n", "connect", url, "--token", "-"); stdout != "by the command line\n" || code != 0 {
		t.Errorf("connect %s = %q, %q, %d, want an echo", url, stdout, stderr, code)
	}
	for i, backend := range []string{newBackend(t), s.WS, s.Portal, strings.Replace(s.WS, "[::1]", "localhost", 1), "ws://" + s.GRPC} {
		x := admin.publish(t, string(rune('A'+i))+"IPv6", strings.Replace(backend, "https", "wss", 1))
		token := admin.accessToken(t, x)
		if i == 0 {
			echo(t, s.connect(t, s.WSS+x.path, token), websocket.MessageText, "hello")
			continue
		}
		_, res, err := websocket.Dial(within(t), s.WSS+x.path, &websocket.DialOptions{
			HTTPClient: s.http(t), HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
		})
		if res == nil {
			t.Fatal(err)
		}
		if text := body(t, res); res.StatusCode != http.StatusBadGateway || !strings.Contains(text, "the backend's address is not allowed here") {
			t.Errorf("a backend at %s, one of our own ports: %d %s, want that its address is not allowed", backend, res.StatusCode, text)
		}
		res.Body.Close()
	}
}
