package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
)

// Handler does the handshakes that sound requests ask for. Its Handle returns
// when the handshake is over: the connection was closed or given to a session.
// When ctx ends it refuses what it can no longer finish.
type Handler interface {
	Handle(ctx context.Context, r *Request)
}

// Listener takes connections in.
type Listener struct {
	cfg     Config
	handler Handler
	ready   func() error
	metrics *metrics.Metrics
	log     *slog.Logger

	plain, secure net.Listener
	tls           *tls.Config
	slots         chan struct{} // one taken for each handshake in progress
	spare         chan struct{} // one taken for each connection beyond those
	heads         head.Pool
	progress      atomic.Int64

	mu      sync.Mutex
	reading map[net.Conn]struct{} // connections whose head is awaited
	closing bool
	wg      sync.WaitGroup
}

// Open listens. Nothing is accepted before Run. ready returns why the gateway
// takes no sessions, nil when it does.
func Open(cfg Config, h Handler, ready func() error, m *metrics.Metrics, log *slog.Logger) (*Listener, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	l := &Listener{
		cfg: cfg, handler: h, ready: ready, metrics: m, log: log,
		slots: make(chan struct{}, cfg.MaxHandshakes), spare: make(chan struct{}, spareSlots),
		reading: make(map[net.Conn]struct{}),
	}
	var err error
	if l.secure, err = listen(cfg.TLSListener, cfg.TLSAddr); err != nil {
		return nil, err
	}
	if l.secure != nil {
		if l.tls, err = tlsConfig(cfg, log); err != nil {
			_ = l.secure.Close()
			return nil, err
		}
	}
	if l.plain, err = listen(cfg.Listener, cfg.Addr); err != nil && l.secure != nil {
		_ = l.secure.Close()
	}
	return l, err
}

// listen switches off the kernel's keep-alive, for sessions have their pings.
func listen(given net.Listener, addr string) (net.Listener, error) {
	if given != nil || addr == "" {
		return given, nil
	}
	lc := net.ListenConfig{KeepAlive: -1}
	ln, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for clients: %w", err)
	}
	return ln, nil
}

// Addr returns the plain address, nil when there is none.
func (l *Listener) Addr() net.Addr { return addrOf(l.plain) }

// TLSAddr returns the TLS address, nil when there is none.
func (l *Listener) TLSAddr() net.Addr { return addrOf(l.secure) }

func addrOf(ln net.Listener) net.Addr {
	if ln == nil {
		return nil
	}
	return ln.Addr()
}

// InProgress returns the number of connections that are neither a session nor
// closed yet.
func (l *Listener) InProgress() int { return int(l.progress.Load()) }

// stopWait is how long handshakes may still take when the listener stops.
const stopWait = time.Second

// Run serves until ctx ends or Close is called. Then connections whose head is
// awaited are cut, and handshakes have a second to finish before they are
// refused; it returns when all are over.
func (l *Listener) Run(ctx context.Context) error {
	handshakes, refuse := context.WithCancel(context.WithoutCancel(ctx))
	defer refuse()
	stop := context.AfterFunc(ctx, l.Close)
	defer stop()

	var accepting sync.WaitGroup
	for _, ln := range []net.Listener{l.plain, l.secure} {
		if ln != nil {
			accepting.Go(func() { l.accept(ctx, handshakes, ln) })
		}
	}
	accepting.Wait()
	late := time.AfterFunc(stopWait, refuse)
	defer late.Stop()
	l.wg.Wait()
	return nil
}

// Close stops accepting and cuts the connections whose head is awaited. An
// opened listener that is not run must be closed.
func (l *Listener) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return
	}
	l.closing = true
	for _, ln := range []net.Listener{l.plain, l.secure} {
		if ln != nil {
			_ = ln.Close()
		}
	}
	for conn := range l.reading {
		_ = conn.SetDeadline(time.Unix(1, 0))
	}
}

// await gives conn its deadline and notes that its head is awaited. It returns
// false when the listener is closed, or conn is.
func (l *Listener) await(conn net.Conn, deadline time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing || conn.SetDeadline(deadline) != nil {
		return false
	}
	l.reading[conn] = struct{}{}
	return true
}

func (l *Listener) arrived(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.reading, conn)
}

const maxBackoff = time.Second

// accept takes connections in. Errors as too many open files pass; it waits and
// tries again.
func (l *Listener) accept(ctx, handshakes context.Context, ln net.Listener) {
	var wait time.Duration
	for {
		conn, err := ln.Accept()
		if err == nil {
			wait = 0
			slot := l.slot(ctx)
			if slot == nil {
				_ = conn.Close()
				return
			}
			l.progress.Add(1)
			l.wg.Add(1)
			go l.serve(handshakes, conn, ln == l.secure, slot)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		wait = min(max(5*time.Millisecond, 2*wait), maxBackoff)
		l.log.Warn("accept failed", "addr", ln.Addr().String(), "error", err, "again_in", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

const (
	// spareSlots is how many connections are served beyond the handshakes: they
	// are told that there are too many, or that the gateway is well.
	spareSlots = 256
	// spareTimeout is how long one of them has for its head.
	spareTimeout = 2 * time.Second
)

// slot takes one of the slots for a connection, of the spare ones when there is
// no other. It waits when there is none at all; nil is the end.
func (l *Listener) slot(ctx context.Context) chan struct{} {
	select {
	case l.slots <- struct{}{}:
		return l.slots
	default:
	}
	select {
	case l.slots <- struct{}{}:
		return l.slots
	case l.spare <- struct{}{}:
		return l.spare
	case <-ctx.Done():
		return nil
	}
}
