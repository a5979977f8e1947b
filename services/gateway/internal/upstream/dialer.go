package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/netpoll"
)

// Config is all that a Dialer can be told. It is made by Default.
type Config struct {
	Timeout       time.Duration // of a connection, TLS included
	AllowLoopback bool
	DenyPrivate   bool
	CAFile        string // authorities beside the system's, PEM

	prefix string
}

// Default returns the configuration that holds where nothing else is said.
func Default() Config { return Config{Timeout: 5 * time.Second} }

// Flags registers the options, each name after prefix. What the Config holds is
// their default.
func (c *Config) Flags(fs *flag.FlagSet, prefix string) {
	c.prefix = prefix
	fs.DurationVar(&c.Timeout, prefix+"dial-timeout", c.Timeout, "`time` to connect to a backend, TLS included")
	fs.BoolVar(&c.AllowLoopback, prefix+"dial-loopback", c.AllowLoopback, "backends may be on loopback addresses")
	fs.BoolVar(&c.DenyPrivate, prefix+"dial-no-private", c.DenyPrivate, "backends must not be in private address ranges")
	fs.StringVar(&c.CAFile, prefix+"backend-ca", c.CAFile, "`file` of certificate authorities for backends, PEM, beside the system's")
}

// Check reports what is wrong with the configuration.
func (c *Config) Check() error {
	if c.Timeout <= 0 {
		return fmt.Errorf("-%sdial-timeout: must be more than 0", c.prefix)
	}
	return nil
}

// Dialer opens connections to backends. It is safe for concurrent use.
type Dialer struct {
	timeout time.Duration
	net     net.Dialer
	tls     *tls.Config
	heads   head.Pool
	buffers sync.Pool // of *[]byte, for requests
	dials   atomic.Int64
}

// New returns a dialer.
func New(cfg Config) (*Dialer, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	roots, err := rootsWith(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	p := &policy{loopback: cfg.AllowLoopback, denyPrivate: cfg.DenyPrivate, never: metadata()}
	return &Dialer{
		timeout: cfg.Timeout,
		net:     net.Dialer{KeepAlive: -1, ControlContext: p.control},
		tls: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: roots, NextProtos: []string{"http/1.1"},
			ClientSessionCache: tls.NewLRUClientSessionCache(256),
		},
	}, nil
}

// rootsWith returns the authorities of the system and those of a file.
func rootsWith(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read certificate authorities of backends: %w", err)
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read certificate authorities of backends: %s holds no certificate", file)
	}
	return roots, nil
}

// Dials returns how many connections are being opened or await the backend's
// answer.
func (d *Dialer) Dials() int { return int(d.dials.Load()) }

// Backend is an agreed connection.
type Backend struct {
	Conn     net.Conn
	Ahead    []byte  // what came behind the backend's head
	Protocol string  // chosen by the backend; "" for none
	Header   []Field // of its answer, for the client
}

// Field is a header line.
type Field struct{ Name, Value string }

// Dial connects to r's endpoint and asks it for a WebSocket. ctx bounds the
// whole of it. The error is an *Error, or ctx's cause when ctx has ended.
func (d *Dialer) Dial(ctx context.Context, r *Request) (*Backend, error) {
	d.dials.Add(1)
	defer d.dials.Add(-1)
	conn, err := d.connect(ctx, r)
	if err != nil {
		return nil, failed(ctx, err, Unreachable)
	}
	// A deadline in the past makes what is under way on conn return.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	backend, err := d.agree(conn, r)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, failed(ctx, err, Broken)
	}
	return backend, nil
}

// connect opens the connection, TLS included.
func (d *Dialer) connect(ctx context.Context, r *Request) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	conn, err := d.net.DialContext(ctx, "tcp", r.Endpoint.Addr)
	if err != nil || !r.Endpoint.TLS {
		return conn, err
	}
	cfg := d.tls.Clone()
	cfg.ServerName = r.Endpoint.Name
	secure := tls.Client(netpoll.UnderTLS(conn), cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS with %s: %w", r.Endpoint.Addr, err)
	}
	return secure, nil
}

// failed gives an error its kind.
func failed(ctx context.Context, err error, kind Kind) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var ours *Error
	var address *AddressError
	var timeout net.Error
	switch {
	case errors.As(err, &ours):
		return err
	case errors.As(err, &address):
		return &Error{Kind: Forbidden, err: err}
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return &Error{Kind: Timeout, err: err}
	default:
		return &Error{Kind: kind, err: err}
	}
}
