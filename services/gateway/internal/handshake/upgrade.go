package handshake

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/lxzan/gws"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
)

// upgrader answers handshakes with 101 (RFC 6455 section 4.2.2). It leaves that to
// gws, which writes the head of the answer into memory. The head then gets what gws
// has no option for: the sub-protocol that the backend chose, and the backend's
// header, in which a name may occur more than once. The gws.Conn that comes with
// the head is dropped: it reads messages, and the relay moves frames.
type upgrader struct {
	gws  *gws.Upgrader
	pool sync.Pool // of *upgrade
}

func newUpgrader() *upgrader {
	return &upgrader{gws: gws.NewUpgrader(new(gws.BuiltinEventHandler), &gws.ServerOption{
		ParallelGolimit: 1,
		NewSession:      func() gws.SessionStorage { return nil },
	})}
}

// upgrade is what gws is given to answer one handshake.
type upgrade struct {
	request http.Request
	key     []string // in the request's header
	answer  recorder
}

// newUpgrade returns an upgrade for any handshake: the listener has checked the
// client's request already, more strictly than gws does, and from there on only the
// key differs between requests.
func newUpgrade() *upgrade {
	key := make([]string, 1)
	return &upgrade{key: key, request: http.Request{Method: http.MethodGet, Header: http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     key,
	}}}
}

// RefHeader has the ref of the session in the 101.
const RefHeader = "X-Tidegate-Ref"

// answer writes the 101 to the client's connection, with the ref of the session, and with a
// sub-protocol if that is not "".
func (u *upgrader) answer(conn net.Conn, key, ref, protocol string, header []head.Field) error {
	up, ok := u.pool.Get().(*upgrade)
	if !ok {
		up = newUpgrade()
	}
	defer u.pool.Put(up)
	up.key[0], up.answer.written = key, up.answer.written[:0]
	if _, err := u.gws.UpgradeFromConn(&up.answer, nil, &up.request); err != nil {
		return fmt.Errorf("write the 101: %w", err)
	}
	b, ok := bytes.CutSuffix(up.answer.written, []byte("\r\n\r\n"))
	if !ok || !bytes.HasPrefix(b, []byte("HTTP/1.1 101 ")) {
		return fmt.Errorf("gws wrote %q, not a 101", up.answer.written)
	}
	b = append(b, "\r\n"...)
	if protocol != "" {
		b = head.AppendField(b, "Sec-WebSocket-Protocol", protocol)
	}
	b = head.AppendField(b, RefHeader, ref)
	for _, f := range header {
		b = head.AppendField(b, f.Name, f.Value)
	}
	up.answer.written = append(b, "\r\n"...)
	_, err := conn.Write(up.answer.written)
	return err
}

// recorder is a connection that keeps what is written to it. gws calls the methods
// below and no others.
type recorder struct {
	net.Conn
	written []byte
}

// Write keeps p.
func (r *recorder) Write(p []byte) (int, error) {
	r.written = append(r.written, p...)
	return len(p), nil
}

// SetDeadline does nothing: writing to memory does not block.
func (r *recorder) SetDeadline(time.Time) error { return nil }

// Close does nothing.
func (r *recorder) Close() error { return nil }
