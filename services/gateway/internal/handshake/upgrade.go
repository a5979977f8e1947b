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

	"github.com/tidegatehq/tidegate/services/gateway/internal/relay"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
)

// finish answers the client with 101 and starts the session. An error means that
// the client has no answer yet.
func (h *Handler) finish(ctx context.Context, a *attempt, s *session.Session, backend *upstream.Backend, watch *watch) error {
	ahead := watch.stop()
	if err := s.Err(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if expires := s.Info().Expires; !expires.IsZero() && !time.Now().Before(expires) {
		return invalid(errors.New("it has expired"))
	}
	s.SetSubprotocol(backend.Protocol)
	if err := h.upgrade(a, backend); err != nil {
		// There is nobody to answer, or the answer is on its way in part.
		_, _ = a.Conn.Close(), backend.Conn.Close()
		h.Metrics.Handshake(0)
		h.Log.Debug("client left during the handshake", "ref", a.ref, "client", a.Remote, "error", err)
		return nil
	}
	h.Metrics.Handshake(http.StatusSwitchingProtocols)
	between := relay.New(h.Relay, relay.Leg{Conn: a.Conn, Buffered: ahead}, relay.Leg{Conn: backend.Conn, Buffered: backend.Ahead})
	if err := s.Start(between); err != nil {
		h.Log.Error("session not started", "ref", a.ref, "error", err)
	}
	return nil
}

// newUpgrader returns the one upgrader of all handshakes, without compression.
func newUpgrader() *gws.Upgrader {
	return gws.NewUpgrader(new(gws.BuiltinEventHandler), &gws.ServerOption{
		ParallelGolimit: 1,
		NewSession:      func() gws.SessionStorage { return nil },
	})
}

// upgrade has gws answer the request. What gws returns is for reading messages,
// which the relay does not do, so it is dropped.
func (h *Handler) upgrade(a *attempt, backend *upstream.Backend) error {
	conn := &answering{Conn: a.Conn, protocol: backend.Protocol, header: backend.Header}
	_, err := h.upgrader.UpgradeFromConn(conn, nil, &http.Request{
		Method: http.MethodGet,
		Header: http.Header{
			"Connection":            {"Upgrade"},
			"Upgrade":               {"websocket"},
			"Sec-Websocket-Version": {"13"},
			"Sec-Websocket-Key":     {a.Key},
		},
	})
	if err == nil && !conn.answered {
		err = errors.New("nothing was written")
	}
	if err != nil {
		return fmt.Errorf("answer the client: %w", err)
	}
	return nil
}

// answering is a client's connection while gws writes the head of the 101 to it.
// It completes that head and lets nothing else through: no other write, no
// deadline, no close.
type answering struct {
	net.Conn
	protocol string
	header   []upstream.Field
	answered bool
}

// Write completes and writes a head, and swallows everything else.
func (c *answering) Write(p []byte) (int, error) {
	fields, ok := bytes.CutSuffix(p, []byte("\r\n\r\n"))
	if c.answered || !ok || !bytes.HasPrefix(p, []byte("HTTP/1.1 101 ")) {
		return len(p), nil
	}
	b := append(make([]byte, 0, 512), fields...)
	b = append(b, "\r\n"...)
	if c.protocol != "" {
		b = appendField(b, "Sec-WebSocket-Protocol", c.protocol)
	}
	for _, f := range c.header {
		b = appendField(b, f.Name, f.Value)
	}
	if _, err := c.Conn.Write(append(b, "\r\n"...)); err != nil {
		return 0, err
	}
	c.answered = true
	return len(p), nil
}

func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	return append(append(b, value...), "\r\n"...)
}

// Read must not be called: gws is given no reader to read with.
func (c *answering) Read([]byte) (int, error) { return 0, net.ErrClosed }

// Close is left to the handshake.
func (c *answering) Close() error { return nil }

// SetDeadline is left to the handshake.
func (c *answering) SetDeadline(time.Time) error { return nil }
