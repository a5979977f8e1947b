package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/refusal"
	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/netaddr"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
	"github.com/tidegatehq/tidegate/services/kit/retry"
)

// Handler does handshakes.
type Handler interface {
	// Handle returns when the handshake is over: r's connection has been closed or
	// handed to a session. When ctx ends, it refuses an unfinished handshake.
	Handle(ctx context.Context, r *Request)
}

// Listener accepts connections.
type Listener struct {
	cfg     Config
	handler Handler
	ready   func() error
	refused *refusal.Recorder
	log     *slog.Logger

	plain, secure, inside net.Listener // nil: none

	source   *certs.Source // nil without TLS
	folder   *certs.Folder // nil without certificates of virtual hosts
	tls      *tls.Config
	gate     *gate
	rate     *addressRate // nil: any
	heads    *head.Pool
	progress atomic.Int64
	beside   atomic.Int64 // connections that have plain requests

	mu       sync.Mutex
	reading  map[net.Conn]struct{} // connections whose head is being read
	idle     map[net.Conn]struct{} // connections on which another request may come
	noneIdle bool                  // those are closed
	closing  bool
	wg       sync.WaitGroup
}

// Open starts listening; Run accepts. ready returns why the gateway takes no new
// sessions, or nil; refused notes what is refused here. A listener that is not run must be
// closed.
func Open(cfg Config, h Handler, ready func() error, refused *refusal.Recorder, log *slog.Logger) (*Listener, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	l := &Listener{
		cfg: cfg, handler: h, ready: ready, refused: refused, log: log, inside: cfg.Inside,
		gate:  newGate(slotsOf(cfg), cfg.Spare, cfg.MaxPerAddress, time.Now),
		rate:  newAddressRate(cfg.MaxRate),
		heads: head.NewPool(cfg.MaxHead), reading: make(map[net.Conn]struct{}), idle: make(map[net.Conn]struct{}),
	}
	var err error
	if l.secure, err = listen(cfg.TLSListener, "-"+cfg.prefix+"wss", cfg.TLSAddr); err != nil {
		return nil, err
	}
	if l.secure != nil {
		if err = l.openCertificates(); err != nil {
			_ = l.secure.Close()
			return nil, err
		}
	}
	if l.plain, err = listen(cfg.Listener, "-"+cfg.prefix+"ws", cfg.Addr); err != nil && l.secure != nil {
		_ = l.secure.Close()
	}
	return l, err
}

// slotsOf returns how many handshakes may be in progress.
func slotsOf(cfg Config) int {
	if cfg.MaxHandshakes == 0 {
		return math.MaxInt32
	}
	return cfg.MaxHandshakes
}

// listen returns the given listener, or one at addr, which flag gives, without TCP
// keep-alives: sessions have pings.
func listen(given net.Listener, flag, addr string) (net.Listener, error) {
	if given != nil || addr == "" {
		return given, nil
	}
	lc := net.ListenConfig{KeepAlive: -1}
	ln, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, netaddr.Unusable(flag, addr, err)
	}
	return ln, nil
}

// Addr returns the address for plain connections, nil if there is none.
func (l *Listener) Addr() net.Addr { return addrOf(l.plain) }

// TLSAddr returns the address for TLS connections, nil if there is none.
func (l *Listener) TLSAddr() net.Addr { return addrOf(l.secure) }

func addrOf(ln net.Listener) net.Addr {
	if ln == nil {
		return nil
	}
	return ln.Addr()
}

// InProgress returns the number of connections that are neither closed nor part of a session
// yet, without those that have plain requests.
func (l *Listener) InProgress() int { return int(l.progress.Load()) }

// stopWait is how long handshakes may go on once the listener stops.
const stopWait = time.Second

// Run serves until ctx ends or Close is called. Then it cuts connections whose head
// has not been read yet, gives handshakes a second to finish and refuses the rest.
// It returns when all are over.
func (l *Listener) Run(ctx context.Context) error {
	handshakes, refuse := context.WithCancel(context.WithoutCancel(ctx))
	defer refuse()
	stop := context.AfterFunc(ctx, l.Close)
	defer stop()

	var accepting sync.WaitGroup
	for _, ln := range []net.Listener{l.plain, l.secure, l.inside} {
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

// Close stops accepting, and cuts connections whose head has not been read yet.
func (l *Listener) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		return
	}
	l.closing = true
	for _, ln := range []net.Listener{l.plain, l.secure, l.inside} {
		if ln != nil {
			_ = ln.Close()
		}
	}
	for conn := range l.reading {
		_ = conn.SetDeadline(time.Unix(1, 0))
	}
	l.cutIdle()
}

// beginRead sets conn's deadline and notes that its head is being read. It returns
// false if the listener or conn is closed.
func (l *Listener) beginRead(conn net.Conn, deadline time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing || conn.SetDeadline(deadline) != nil {
		return false
	}
	delete(l.idle, conn)
	l.reading[conn] = struct{}{}
	return true
}

func (l *Listener) endRead(conn net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.reading, conn)
	delete(l.idle, conn)
}

// accept accepts connections, each only once there is a slot for it. Errors such as
// too many open files are temporary: it waits and tries again.
func (l *Listener) accept(ctx, handshakes context.Context, ln net.Listener) {
	backoff := retry.Backoff{Min: 5 * time.Millisecond, Max: time.Second}
	accepting := retry.NewStreak(l.log, slog.LevelWarn, "accept failed", "addr", ln.Addr().String())
	for l.gate.reserve(ctx) {
		conn, err := ln.Accept()
		if err == nil {
			backoff.Reset()
			accepting.Note(ctx, nil)
			l.admit(ctx, handshakes, conn, ln)
			continue
		}
		l.gate.giveUp()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		accepting.Note(ctx, err)
		if !retry.Sleep(ctx, backoff.Next()) {
			return
		}
	}
}

// admit has a connection served, or closes it.
func (l *Listener) admit(ctx, handshakes context.Context, conn net.Conn, from net.Listener) {
	r := &Request{Conn: conn, Secure: from == l.secure, Remote: proxies.AddrOf(conn.RemoteAddr()), proxies: &l.cfg.Proxies}
	if from == l.inside {
		r.proxies = &proxies.Config{Trusted: proxies.Networks{netip.PrefixFrom(r.Remote.Addr(), r.Remote.Addr().BitLen())}}
	}
	s := l.gate.admit(ctx, networkOf(r))
	if s == nil {
		_ = conn.Close()
		return
	}
	l.progress.Add(1)
	l.wg.Add(1)
	go l.serve(handshakes, r, s)
}

// networkOf returns what a connection counts for: not valid if it is a trusted
// proxy's, which stands for many clients.
func networkOf(r *Request) netip.Prefix {
	if r.proxies.Trusts(r.Remote.Addr()) {
		return netip.Prefix{}
	}
	return clientaddr.Network(r.Remote.Addr())
}

// spareTimeout is how long a connection in a spare slot has to send its head.
const spareTimeout = 2 * time.Second
