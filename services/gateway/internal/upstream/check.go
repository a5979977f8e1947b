package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptrace"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/frame"
)

// Step is how far a connection to a backend came.
type Step uint32

// The steps, in their order.
const (
	Resolve Step = iota + 1
	Connect
	TLS
	Handshake
	Done
)

// Check is what became of a handshake that was made for the sake of it.
type Check struct {
	Step     Step   // at which it ended
	Error    string // in words that name no address and have nothing of the answer's body; empty if Done
	Status   int    // of the answer; 0: none, or none that is understood
	Protocol string // the sub-protocol that the backend chose
	Elapsed  time.Duration
}

// closeTime is how long a backend has to answer the close of a check.
const closeTime = 250 * time.Millisecond

// Check connects to r's endpoint as Dial does, up to the answer of its handshake, and
// closes the connection with 1000.
func (d *Dialer) Check(ctx context.Context, r *Request) Check {
	d.dials.Add(1)
	defer d.dials.Add(-1)
	began := time.Now()
	var at atomic.Uint32
	at.Store(uint32(Resolve))
	connected := Handshake
	if r.Endpoint.TLS {
		connected = TLS
	}
	conn, err := d.connect(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		ConnectStart: func(string, string) { at.CompareAndSwap(uint32(Resolve), uint32(Connect)) },
		ConnectDone: func(_, _ string, err error) {
			if err == nil {
				at.Store(uint32(connected))
			}
		},
	}), r)
	if err != nil {
		step := Step(at.Load())
		return Check{Step: step, Error: r.words(step, failed(ctx, err, Unreachable)), Elapsed: time.Since(began)}
	}
	defer func() { _ = conn.Close() }()
	backend, err := d.open(ctx, conn, r)
	c := Check{Step: Handshake, Elapsed: time.Since(began)}
	if err != nil {
		c.Error = r.words(Handshake, err)
		if e, ok := errors.AsType[*Error](err); ok {
			c.Status = e.Status
		}
		return c
	}
	c.Step, c.Status, c.Protocol = Done, 101, backend.Protocol
	part(ctx, conn)
	return c
}

// part closes a connection with 1000, and waits a little for the backend's close, so that
// what the backend sent meanwhile does not make a reset of it.
func part(ctx context.Context, conn net.Conn) {
	until := time.Now().Add(closeTime)
	if end, ok := ctx.Deadline(); ok && end.Before(until) {
		until = end
	}
	_ = conn.SetDeadline(until)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(frame.AppendControl(nil, frame.Close, frame.AppendClose(nil, 1000, nil), true)); err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, conn)
}

// words says what went wrong at a step, for the version's owner.
func (r *Request) words(step Step, err error) string {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind == Timeout { // it is the cause of a context that has ended
		switch step {
		case Resolve:
			return "the backend's name was not resolved in time"
		case Connect:
			return "the backend did not take the connection in time"
		case TLS:
			return "the backend did not agree on TLS in time"
		default:
			return "the backend did not answer the handshake in time"
		}
	}
	if e.Kind == Unreachable {
		switch step {
		case Resolve:
			return fmt.Sprintf("the name %.255q cannot be resolved", r.Endpoint.Name)
		case TLS:
			return r.wordsOfTLS(err)
		}
		if errors.Is(err, syscall.ECONNREFUSED) {
			return "the backend refused the connection: nothing listens at this port"
		}
	}
	return e.Detail()
}

// wordsOfTLS says why TLS failed, without what the certificate says.
func (r *Request) wordsOfTLS(err error) string {
	var plain tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var certificate x509.CertificateInvalidError
	var alert tls.AlertError
	switch {
	case errors.As(err, &plain):
		return "the backend does not speak TLS: the endpoint may have to begin with ws://"
	case errors.As(err, &authority):
		return "the backend's certificate is of no authority that the gateway trusts"
	case errors.As(err, &name):
		return fmt.Sprintf("the backend's certificate is not for %.255q", r.Endpoint.Name)
	case errors.As(err, &certificate) && certificate.Reason == x509.Expired:
		return "the backend's certificate has expired, or is not valid yet"
	case errors.As(err, &certificate):
		return "the backend's certificate is not valid"
	case errors.As(err, &alert):
		return "the backend refused TLS: it may want a certificate, or speak a version or suites that the gateway does not"
	default:
		return "TLS with the backend failed"
	}
}
