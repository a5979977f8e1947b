package handshake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/lxzan/gws"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/relay"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
)

// finish answers the client with 101 and starts the session. An error means that
// the client has not been sent anything yet.
func (h *Handler) finish(ctx context.Context, a *attempt, s *session.Session, backend *upstream.Backend, watch *watch) error {
	buffered := watch.stop()
	if err := s.Err(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if g := s.Grant(); g != nil && g.Expired(time.Now()) {
		return invalid(errors.New("it has expired"))
	}
	answer, err := h.switchingProtocols(a.Key, backend)
	if err != nil {
		return err
	}
	s.SetSubprotocol(backend.Protocol)
	if _, err := a.Conn.Write(answer); err != nil {
		// A part of the answer may have been sent: there is no other answer now.
		_, _ = a.Conn.Close(), backend.Conn.Close()
		h.Metrics.Handshake(0)
		h.Log.Debug("client left during the handshake", "ref", a.ref, "client", a.Remote, "error", err)
		return nil
	}
	h.Metrics.Handshake(http.StatusSwitchingProtocols)
	between := relay.New(h.Relay, relay.Leg{Conn: a.Conn, Buffered: buffered}, relay.Leg{Conn: backend.Conn, Buffered: backend.Buffered})
	if err := s.Start(between); err != nil {
		h.Log.Error("session not started", "ref", a.ref, "error", err)
	}
	return nil
}

// newUpgrader returns the upgrader for all handshakes. It neither compresses nor
// chooses a sub-protocol, because that is for the backend to do.
func newUpgrader() *gws.Upgrader {
	return gws.NewUpgrader(new(gws.BuiltinEventHandler), &gws.ServerOption{
		ParallelGolimit: 1,
		NewSession:      func() gws.SessionStorage { return nil },
	})
}

// switchingProtocols returns the head of the 101 (RFC 6455 section 4.2.2).
//
// It is written by gws, into memory, and then gets what gws has no option for:
// the sub-protocol that the backend chose, and its header, in which a name may
// occur more than once. The gws.Conn that comes with the head is dropped: it reads
// messages, and the relay moves frames.
//
// The listener has checked the client's request already, more strictly than gws
// would. So gws is given the one thing that differs between requests, the key.
func (h *Handler) switchingProtocols(key string, backend *upstream.Backend) ([]byte, error) {
	request := &http.Request{Method: http.MethodGet, Header: http.Header{
		"Connection":            {"Upgrade"},
		"Upgrade":               {"websocket"},
		"Sec-Websocket-Version": {"13"},
		"Sec-Websocket-Key":     {key},
	}}
	answer := &recorder{written: make([]byte, 0, 512)}
	if _, err := h.upgrader.UpgradeFromConn(answer, nil, request); err != nil {
		return nil, fmt.Errorf("write the 101: %w", err)
	}
	b, ok := bytes.CutSuffix(answer.written, []byte("\r\n\r\n"))
	if !ok || !bytes.HasPrefix(b, []byte("HTTP/1.1 101 ")) {
		return nil, fmt.Errorf("gws wrote %q instead of a 101", answer.written)
	}
	b = append(b, "\r\n"...)
	if backend.Protocol != "" {
		b = head.AppendField(b, "Sec-WebSocket-Protocol", backend.Protocol)
	}
	for _, f := range backend.Header {
		b = head.AppendField(b, f.Name, f.Value)
	}
	return append(b, "\r\n"...), nil
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
