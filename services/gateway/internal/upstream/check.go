package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/kit/frame"
)

// Step is how far a connection to a backend came.
type Step uint32

// The steps of a connection, in their order, then those that only some connections have: to
// get a token comes before all others, to go through a proxy in the place of the first two.
const (
	Resolve Step = iota + 1
	Connect
	TLS
	Handshake
	Done
	Credential
	Proxied
	Answer // of a plain request, in the place of Handshake
)

// Check is what became of a handshake, or of a plain request, that was made for the sake of it.
type Check struct {
	Step     Step   // at which it ended
	Error    string // in words that name no address and have nothing of the answer's body; empty if Done
	Status   int    // of the answer; 0: none, or none that is understood
	Protocol string // the sub-protocol that the backend chose
	Elapsed  time.Duration
}

// closeTime is how long a backend has to answer the close of a check.
const closeTime = 250 * time.Millisecond

// asking is what a check does with a connection. It returns Done, or the step that failed and
// why: an error as that of Dial, or where there was none the words.
type asking func(ctx context.Context, conn net.Conn, r *Request) (Check, error)

// Check connects to r's endpoint as Dial does, up to the answer of its handshake, and
// closes the connection with 1000.
func (d *Dialer) Check(ctx context.Context, r *Request) Check { return d.check(ctx, r, d.askSocket) }

// CheckHTTP connects to r's endpoint as for a plain request, and asks for a path by GET: a status
// of 2xx is good. Where the path is empty it asks for the endpoint's own, and whatever a client
// would be passed on is good.
func (d *Dialer) CheckHTTP(ctx context.Context, r *Request, path string) Check {
	return d.check(ctx, r, func(ctx context.Context, conn net.Conn, r *Request) (Check, error) {
		return d.askHTTP(ctx, conn, r, path)
	})
}

// check makes a check, and once more where another access token is to be had.
func (d *Dialer) check(ctx context.Context, r *Request, ask asking) Check {
	d.dials.Add(1)
	defer d.dials.Add(-1)
	began := time.Now()
	if err := d.Authorize(ctx, r); err != nil {
		return Check{Step: Credential, Error: r.words(Credential, err), Elapsed: time.Since(began)}
	}
	c, err := d.checkOnce(ctx, r, began, ask)
	if again, dropped := d.Renewed(ctx, r, err); again {
		c, _ = d.checkOnce(ctx, r, began, ask)
	} else if dropped != nil {
		c = Check{Step: Credential, Error: r.words(Credential, dropped), Elapsed: time.Since(began)}
	}
	return c
}

// checkOnce is check, once, of a check that began at a time. Its error is as that of Dial.
func (d *Dialer) checkOnce(ctx context.Context, r *Request, began time.Time, ask asking) (Check, error) {
	var at atomic.Uint32
	at.Store(uint32(Resolve))
	conn, err := d.connect(ctx, r, func(s Step) { at.Store(uint32(s)) })
	if err != nil {
		step, err := Step(at.Load()), failed(ctx, err, Unreachable)
		return Check{Step: step, Error: r.words(step, err), Elapsed: time.Since(began)}, err
	}
	defer func() { _ = conn.Close() }()
	c, err := ask(ctx, conn, r)
	c.Elapsed = time.Since(began)
	if err != nil {
		c.Error = r.words(c.Step, err)
		if e, ok := errors.AsType[*Error](err); ok {
			c.Status = e.Status
		}
	}
	if c.Status == http.StatusSwitchingProtocols {
		part(ctx, conn)
	}
	return c, err
}

// askSocket makes a handshake.
func (d *Dialer) askSocket(ctx context.Context, conn net.Conn, r *Request) (Check, error) {
	if r.Endpoint.Templated() {
		return Check{Step: Handshake, Error: "it can be connected to; only a client's request says which path and query a handshake asks for"}, nil
	}
	backend, err := d.open(ctx, conn, r)
	if err != nil {
		return Check{Step: Handshake}, err
	}
	return Check{Step: Done, Status: http.StatusSwitchingProtocols, Protocol: backend.Protocol}, nil
}

// askHTTP asks for a path, or for the endpoint's own where that is empty.
func (d *Dialer) askHTTP(ctx context.Context, conn net.Conn, r *Request, path string) (Check, error) {
	if path == "" && r.Endpoint.Templated() {
		return Check{Step: Answer, Error: "it can be connected to; only a client's request says which path and query it asks for"}, nil
	}
	target := []byte(path)
	if path == "" {
		target = r.Endpoint.AppendTarget(nil, "", "")
	}
	status, err := d.get(ctx, conn, r, target, r.appendFields(nil, r.host()))
	if err != nil {
		return Check{Step: Answer}, err
	}
	c := Check{Step: Answer, Status: status}
	switch refused, _ := errors.AsType[*Error](r.refused(&head.Response{Status: status})); {
	case refused.Kind == NotAuthorized:
		return c, refused
	case status == http.StatusSwitchingProtocols:
		c.Status, c.Error = 0, "the backend answered 101, though it was not asked to switch protocols"
	case path != "" && !isGood(status):
		c.Error = notGood(status)
	case path == "" && !refused.Answered():
		return c, refused
	default:
		c.Step = Done
	}
	return c, nil
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
	if proxy, ok := errors.AsType[*proxyError](err); ok {
		return proxy.words
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Kind == Timeout { // it is the cause of a context that has ended
		switch step {
		case Credential:
			return "the token endpoint did not answer in time"
		case Proxied:
			return "the proxy did not answer in time"
		case Resolve:
			return "the backend's name was not resolved in time"
		case Connect:
			return "the backend did not take the connection in time"
		case TLS:
			return "the backend did not agree on TLS in time"
		case Answer:
			return "the backend did not answer the request in time"
		default:
			return "the backend did not answer the handshake in time"
		}
	}
	switch e.Kind {
	case NoToken:
		return e.Error()
	case Broken:
		if alerted(err) { // in TLS 1.3, who wants a certificate says so when the handshake is over
			return refusedTLS
		}
	case Unreachable:
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

// refusedTLS says that the backend has sent an alert.
const refusedTLS = "the backend refused TLS: it may want a certificate, or another one, or speak a version or suites that the gateway does not"

// alerted reports whether an error is that of an alert which came from the peer.
func alerted(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "remote error"
}

// wordsOfTLS says why TLS failed, without what the certificate says.
func (r *Request) wordsOfTLS(err error) string {
	var plain tls.RecordHeaderError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var certificate x509.CertificateInvalidError
	switch {
	case errors.As(err, &plain):
		return "the backend does not speak TLS: the endpoint may have to begin with ws://"
	case errors.As(err, &authority) && r.Endpoint.Connection != nil && r.Endpoint.Connection.Roots != nil:
		return "the backend's certificate is of none of the version's root certificates"
	case errors.As(err, &authority):
		return "the backend's certificate is of no authority that the gateway trusts"
	case errors.As(err, &name):
		return fmt.Sprintf("the backend's certificate is not for %.255q", r.serverName())
	case errors.As(err, &certificate) && certificate.Reason == x509.Expired:
		return "the backend's certificate has expired, or is not valid yet"
	case errors.As(err, &certificate):
		return "the backend's certificate is not valid"
	case alerted(err):
		return refusedTLS
	default:
		return "TLS with the backend failed"
	}
}
