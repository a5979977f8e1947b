package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/kit/certs"
)

// Config is the configuration of a Dialer. Default makes it.
type Config struct {
	Timeout       time.Duration // of a connection, TLS included
	AllowLoopback bool
	DenyPrivate   bool
	MaxHead       int    // bytes of the head of an answer
	CAFile        string // PEM file of authorities trusted in addition to the system's
	// Own are listeners of this process, which are never dialled; Dialer.Own adds more.
	// Sample is the listener of the sample's backend, which is dialled whatever the
	// other fields say; nil for none.
	Own    []net.Addr
	Sample net.Addr
	OldTLS bool // TLS 1.0 and 1.1, and suites without authenticated encryption, are spoken too

	prefix string
}

// Default returns the default configuration.
func Default() Config { return Config{Timeout: 5 * time.Second, MaxHead: head.DefaultMax} }

// Flags registers the options, each name after prefix. Their defaults are what the
// Config holds.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	fs.DurationVar(&c.Timeout, prefix+"dial-timeout", c.Timeout, "`time` to connect to a backend, TLS included")
	fs.BoolVar(&c.AllowLoopback, prefix+"dial-loopback", c.AllowLoopback, "backends may be on loopback addresses")
	fs.BoolVar(&c.DenyPrivate, prefix+"dial-no-private", c.DenyPrivate, "backends must not be in private address ranges")
	fs.BoolVar(&c.OldTLS, prefix+"backend-tls-old", c.OldTLS, "backends may speak TLS 1.0 and 1.1, and 1.2 with suites without AEAD")
	fs.StringVar(&c.CAFile, prefix+"backend-ca", c.CAFile, "PEM `file` of certificate authorities for backends, in addition to the system's")
}

// Check reports what is wrong with the configuration.
func (c *Config) Check() error {
	if c.Timeout <= 0 {
		return fmt.Errorf("-%sdial-timeout: must be more than 0, or no backend could be connected to", c.prefix)
	}
	if c.MaxHead <= 0 {
		return errors.New("backends: MaxHead must be more than 0")
	}
	return nil
}

// Dialer opens connections to backends. It is safe for concurrent use.
type Dialer struct {
	timeout time.Duration
	policy  *policy
	net     net.Dialer
	cfg     Config
	tls     atomic.Pointer[tls.Config]
	heads   *head.Pool
	buffers sync.Pool // of *[]byte, for requests
	dials   atomic.Int64
}

// New returns a dialer.
func New(cfg Config) (*Dialer, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	p := &policy{loopback: cfg.AllowLoopback, denyPrivate: cfg.DenyPrivate, never: metadata(), own: map[uint16]struct{}{}}
	if tcp, ok := cfg.Sample.(*net.TCPAddr); ok {
		p.sample = tcp.AddrPort()
	}
	for _, listener := range cfg.Own {
		p.addOwn(listener)
	}
	d := &Dialer{
		cfg:     cfg,
		policy:  p,
		timeout: cfg.Timeout,
		heads:   head.NewPool(cfg.MaxHead),
		net:     net.Dialer{KeepAlive: -1, ControlContext: p.control},
	}
	return d, d.Reload()
}

// Reload reads the file of authorities again, for the connections that follow.
func (d *Dialer) Reload() error {
	roots, err := certs.RootsWith(d.cfg.CAFile)
	if err != nil {
		return fmt.Errorf("read certificate authorities of backends: %w", err)
	}
	secure := certs.Modern()
	if d.cfg.OldTLS {
		secure.MinVersion, secure.CipherSuites = tls.VersionTLS10, oldSuites()
	}
	secure.RootCAs, secure.NextProtos = roots, []string{"http/1.1"}
	// A new cache: a resumed session is not checked against the authorities.
	secure.ClientSessionCache = tls.NewLRUClientSessionCache(256)
	d.tls.Store(secure)
	return nil
}

// oldSuites returns every suite that Go has for TLS 1.2 and before, those that it does
// not offer by itself included.
func oldSuites() []uint16 {
	var all []uint16
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		all = append(all, s.ID)
	}
	return all
}

// Own adds a listener of this process, which is never dialled; nil is none.
func (d *Dialer) Own(listener net.Addr) { d.policy.addOwn(listener) }

// Dials returns how many calls of Dial are under way.
func (d *Dialer) Dials() int { return int(d.dials.Load()) }

// Backend is a connection to a backend after its handshake.
type Backend struct {
	Conn     net.Conn
	Buffered []byte       // read already: what followed the head of the answer
	Protocol string       // the sub-protocol that the backend chose; "" for none
	Header   []head.Field // of the answer, for the client
	// Compressed is whether messages may be compressed, without context takeover; Header
	// tells the client.
	Compressed bool
}

// Dial connects to r's endpoint and does the WebSocket handshake, all within ctx.
// The error is an *Error, or the cause of ctx once ctx has ended.
func (d *Dialer) Dial(ctx context.Context, r *Request) (*Backend, error) {
	d.dials.Add(1)
	defer d.dials.Add(-1)
	backend, err := d.dial(ctx, r)
	if again, dropped := d.Renewed(ctx, r, err); again {
		backend, err = d.dial(ctx, r)
	} else if dropped != nil {
		return nil, dropped
	}
	return backend, err
}

// dial is Dial, once.
func (d *Dialer) dial(ctx context.Context, r *Request) (*Backend, error) {
	conn, err := d.connect(ctx, r, nil)
	if err != nil {
		return nil, failed(ctx, err, Unreachable)
	}
	backend, err := d.open(ctx, conn, r)
	if err != nil {
		_ = conn.Close()
	}
	return backend, err
}

// open does the handshake on a connection. Its error is as that of Dial.
func (d *Dialer) open(ctx context.Context, conn net.Conn, r *Request) (*Backend, error) {
	// A deadline in the past interrupts reads and writes that are under way.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	backend, err := d.handshake(conn, r)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, failed(ctx, err, Broken)
	}
	return backend, nil
}

// failed returns err as an *Error of this kind, unless it is one already.
func failed(ctx context.Context, err error, kind Kind) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var ours *Error
	var address *addressError
	var timeout net.Error
	switch {
	case errors.As(err, &ours):
		return err
	case errors.As(err, &address):
		return &Error{Kind: Forbidden, err: err}
	case exhausted(err):
		return &Error{Kind: Exhausted, err: err}
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return &Error{Kind: Timeout, err: err}
	default:
		return &Error{Kind: kind, err: err}
	}
}

// exhausted reports whether there was no descriptor for a connection or for looking up
// its name. The errors of look-ups have the cause as text only.
func exhausted(err error) bool {
	var lookup *net.DNSError
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, errno) || errors.As(err, &lookup) && strings.Contains(lookup.Err, errno.Error()) {
			return true
		}
	}
	return false
}
