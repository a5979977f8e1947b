package upstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/netpoll"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// proxyError says why a proxy did not open a connection, in words that name no address.
type proxyError struct {
	words string
	err   error // nil: the proxy's answer is the cause
}

func (e *proxyError) Error() string {
	if e.err == nil {
		return e.words
	}
	return e.words + ": " + e.err.Error()
}

func (e *proxyError) Unwrap() error { return e.err }

// ofProxy returns why a proxy did not open a connection; that it was too slow is said so,
// whatever it was at.
func ofProxy(words string, err error) error {
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded) {
		words = "the proxy did not answer in time"
	}
	return &proxyError{words, err}
}

// connect opens the connection to r's endpoint, through the proxy and with TLS where it has
// them, all within the time for a dial. at, if it is not nil, is told how far it comes.
func (d *Dialer) connect(ctx context.Context, r *Request, at func(Step)) (net.Conn, error) {
	within := d.timeout
	if r.DialTimeout > 0 {
		within = min(within, r.DialTimeout)
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if at == nil {
		at = func(Step) {}
	}
	conn, err := d.reach(ctx, r.Endpoint.Connection, r.Endpoint.Addr, at)
	if err != nil {
		return nil, err
	}
	if !r.Endpoint.TLS {
		at(Handshake)
		return conn, nil
	}
	at(TLS)
	secure := tls.Client(netpoll.UnderTLS(conn), d.secured(r))
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("TLS with %s: %w", r.Endpoint.Addr, err)
	}
	return secure, nil
}

// serverName returns the name that the backend's certificate must have.
func (r *Request) serverName() string {
	if c := r.Endpoint.Connection; c != nil {
		return cmp.Or(c.ServerName, r.Endpoint.Name)
	}
	return r.Endpoint.Name
}

// secured returns how TLS is spoken with r's endpoint.
func (d *Dialer) secured(r *Request) *tls.Config {
	cfg, c := d.tls.Load().Clone(), r.Endpoint.Connection
	cfg.ServerName = r.serverName()
	if c == nil || c.Roots == nil && c.Certificate == nil && c.ServerName == "" {
		return cfg
	}
	cfg.ClientSessionCache = c.Sessions // nil: none
	if c.Roots != nil {
		cfg.RootCAs = c.Roots
	}
	if c.Certificate != nil {
		cfg.Certificates = []tls.Certificate{*c.Certificate}
	}
	return cfg
}

// reach opens a connection to an address, through the proxy of c if it has one. c may be nil.
func (d *Dialer) reach(ctx context.Context, c *routes.Connection, address string, at func(Step)) (net.Conn, error) {
	if c != nil && c.Proxy != nil {
		at(Proxied)
		return d.tunnel(ctx, c, address)
	}
	return d.net.DialContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectStart: func(string, string) { at(Connect) },
	}), "tcp", address)
}

// tunnel has a proxy open a connection to an address.
func (d *Dialer) tunnel(ctx context.Context, c *routes.Connection, address string) (net.Conn, error) {
	conn, err := d.net.DialContext(ctx, "tcp", c.Proxy.Addr)
	if err != nil {
		if _, ok := errors.AsType[*addressError](err); ok {
			return nil, &proxyError{"the proxy's address is not allowed here", err}
		}
		return nil, ofProxy("the proxy cannot be reached", err)
	}
	if c.Proxy.TLS {
		secure := tls.Client(netpoll.UnderTLS(conn), d.beside(c, c.Proxy.Name))
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, ofProxy("TLS with the proxy failed", err)
		}
		conn = secure
	}
	// A deadline in the past interrupts reads and writes that are under way.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err = d.ask(conn, c.Proxy, address)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// beside returns how TLS is spoken with a server of this name that is not a backend: the
// proxy, or the token endpoint. Its authorities may be those of the gateway or of backends.
func (d *Dialer) beside(c *routes.Connection, name string) *tls.Config {
	cfg := d.tls.Load().Clone()
	cfg.ServerName = name
	if len(c.Authorities) == 0 {
		return cfg
	}
	cfg.ClientSessionCache = nil // one that is resumed is checked against no authority
	if cfg.RootCAs != nil {
		cfg.RootCAs = cfg.RootCAs.Clone()
	} else if system, err := x509.SystemCertPool(); err == nil {
		cfg.RootCAs = system
	} else {
		cfg.RootCAs = x509.NewCertPool()
	}
	for _, one := range c.Authorities {
		cfg.RootCAs.AddCert(one)
	}
	return cfg
}

// ask asks a proxy for a connection to an address.
func (d *Dialer) ask(conn net.Conn, p *routes.Proxy, address string) error {
	b := append([]byte("CONNECT "), address...)
	b = head.AppendField(append(b, " HTTP/1.1\r\n"...), "Host", address)
	if p.Authorization != "" {
		b = head.AppendField(b, "Proxy-Authorization", p.Authorization)
	}
	if _, err := conn.Write(append(b, "\r\n"...)); err != nil {
		return ofProxy("the proxy closed the connection", err)
	}
	reader := d.heads.Get()
	defer d.heads.Put(reader)
	var resp *head.Response
	raw, buffered, err := reader.ReadResponse(conn)
	if err == nil {
		resp, err = reader.Response(raw)
	}
	switch {
	case errors.Is(err, head.ErrTooLarge), errors.Is(err, head.ErrLongLine), errors.Is(err, head.ErrMalformed), err != nil && raw != nil:
		return &proxyError{words: "the proxy's answer is malformed"}
	case err != nil:
		return ofProxy("the proxy did not answer", err)
	case resp.Status == http.StatusProxyAuthRequired:
		return &proxyError{words: "the proxy asks for another user or password"}
	case resp.Status < 200 || resp.Status > 299:
		return &proxyError{words: fmt.Sprintf("the proxy answered %d to CONNECT", resp.Status)}
	case len(buffered) > 0:
		return &proxyError{words: "the proxy sent more than its answer to CONNECT"}
	}
	return nil
}
