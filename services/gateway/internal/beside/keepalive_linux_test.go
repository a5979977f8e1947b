package beside

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// TestPeersThatVanish looks at the sockets of a request whose answer is under way: TCP asks both
// the client and the backend whether they are still there, as nothing else would find out.
func TestPeersThatVanish(t *testing.T) {
	began, end := make(chan struct{}), make(chan struct{})
	url := backend(t, func(rw http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(rw).Flush()
		close(began)
		<-end
	})
	defer close(end)
	w := newWorld(t, nil)
	w.serve(open(w.route(url)))
	c := w.dial()
	c.send("GET /echo/1.0.0 HTTP/1.1\r\nHost: h\r\n\r\n")
	<-began
	for peer, address := range map[string]string{"client": c.LocalAddr().String(), "backend": strings.TrimPrefix(url, "http://")} {
		found := socketsTo(t, address)
		if len(found) != 1 {
			t.Fatalf("there are %d sockets whose peer is the %s, want one", len(found), peer)
		}
		for option, want := range map[[2]int]int{
			{syscall.SOL_SOCKET, syscall.SO_KEEPALIVE}: 1, {syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE}: 30,
			{syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL}: 10, {syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT}: 3,
		} {
			if got, err := syscall.GetsockoptInt(found[0], option[0], option[1]); err != nil || got != want {
				t.Errorf("option %v of the socket to the %s is %d, %v, want %d", option, peer, got, err, want)
			}
		}
	}
}

// socketsTo returns the sockets of this process whose peer has an address.
func socketsTo(t *testing.T, address string) (sockets []int) {
	t.Helper()
	const most = 1024 // descriptors are the lowest that are free
	for fd := range most {
		peer, err := syscall.Getpeername(fd)
		if in, ok := peer.(*syscall.SockaddrInet4); err == nil && ok && fmt.Sprintf("%v:%d", net.IP(in.Addr[:]), in.Port) == address {
			sockets = append(sockets, fd)
		}
	}
	return sockets
}
