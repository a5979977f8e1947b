package sample

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidegatehq/tidegate/services/kit/netaddr"
)

// echoLimit is the largest message, in bytes, that the backend sends back.
const echoLimit = 16 << 20

// Echo is a WebSocket server that sends every message back and agrees to the
// first sub-protocol that is offered.
type Echo struct {
	listener net.Listener
	log      *slog.Logger
	open     sync.WaitGroup
}

// NewEcho returns a server on the listener.
func NewEcho(lis net.Listener, log *slog.Logger) *Echo {
	return &Echo{listener: lis, log: log}
}

// URL returns where the server is.
func (e *Echo) URL() string { return "ws://" + netaddr.Local(e.listener.Addr()) }

// Run serves until ctx ends and returns when every connection is closed.
func (e *Echo) Run(ctx context.Context) error {
	srv := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.serve(ctx, w, r) }),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ErrorLog:          slog.NewLogLogger(e.log.Handler(), slog.LevelDebug),
	}
	stop := context.AfterFunc(ctx, func() { srv.Close() })
	defer stop()
	err := srv.Serve(e.listener)
	e.open.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve the sample backend: %w", err)
}

// serve answers one client.
func (e *Echo) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	if offered := websocket.Subprotocols(r); len(offered) > 0 {
		upgrader.Subprotocols = offered[:1]
	}
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	e.open.Add(1)
	defer e.open.Done()
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetReadLimit(echoLimit)
	for {
		kind, message, err := conn.ReadMessage()
		if err != nil {
			return
		}
		if err := conn.WriteMessage(kind, message); err != nil {
			return
		}
	}
}
