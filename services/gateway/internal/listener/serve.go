package listener

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/netpoll"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/gateway/internal/refusal"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/proxies"
	"github.com/tidegatehq/tidegate/services/kit/ref"
)

// growStack grows the goroutine's stack to what a handshake needs in one step.
// Otherwise it would grow in three steps, each of which copies what is in use; that
// took an eighth of the time of a handshake. n can be any number: it keeps the
// compiler from removing the array.
//
//go:noinline
func growStack(n int) byte {
	var room [8 << 10]byte
	room[uint(n)%uint(len(room))] = 1
	return room[uint(n/2)%uint(len(room))]
}

// serve sees a connection through its handshake, and gives back its slot.
func (l *Listener) serve(ctx context.Context, r *Request, s *slot) {
	growStack(s.gate.slots)
	conn := r.Conn
	defer func() {
		l.recovered(conn, recover())
		s.leave()
		l.progress.Add(-1)
		l.wg.Done()
	}()
	r.Deadline = l.deadline(s)
	if !l.beginRead(conn, r.Deadline) {
		_ = conn.Close()
		return
	}
	h, refusal, err := l.read(r, s)
	l.endRead(conn)
	s.headRead()
	r.Proxy = r.proxies.Trusts(r.Remote.Addr())
	if err == nil && refusal == nil {
		refusal = l.tooMany(r, s)
	}
	switch {
	case err != nil:
		_ = conn.Close()
		l.log.Debug("connection without a request", "client", r.Remote, "error", err)
	case refusal != nil:
		l.refuse(r, h, refusal)
	case isProbe(r.Path):
		l.serveProbe(r, h)
	case s.spare:
		l.refuse(r, h, s.refusal)
	case strings.HasPrefix(r.Path, "/-/"):
		l.serveOwn(ctx, r, h)
	case r.Beside != nil:
		l.serveBeside(ctx, r, s)
	default:
		l.handler.Handle(ctx, r)
	}
}

// tooMany counts a connection for the client that is known by now, and returns the answer
// where the client's address has its share or sends too many handshakes. A trusted proxy
// is nobody's client, and probes are no handshakes; what clients ask of the gateway itself
// counts as one.
func (l *Listener) tooMany(r *Request, s *slot) *problem.Problem {
	switch {
	case !l.attribute(r, s):
		return s.refusal
	case r.Proxy || s.spare || isProbe(r.Path):
		return nil
	}
	return l.rate.refusal(clientaddr.Network(r.Remote.Addr()))
}

// deadline returns when a connection that begins now must have its handshake done.
func (l *Listener) deadline(s *slot) time.Time {
	timeout := l.cfg.Timeout
	if s.spare {
		timeout = min(timeout, spareTimeout)
	}
	return time.Now().Add(timeout)
}

// attribute counts a connection for the client that is known by now. It returns false if
// the client's address has its share. A trusted proxy is nobody's client.
func (l *Listener) attribute(r *Request, s *slot) bool {
	return r.proxies.Trusts(r.Remote.Addr()) || s.attribute(clientaddr.Network(r.Remote.Addr()))
}

// recovered confines a panic to its handshake: all sessions live on.
func (l *Listener) recovered(conn net.Conn, v any) {
	if v == nil {
		return
	}
	l.endRead(conn)
	_ = conn.Close()
	l.log.Error("handshake panicked", "panic", v, "stack", string(debug.Stack()))
}

// read reads and checks the head. An error means that no answer can be sent: the
// client left or was too slow. h is nil if there is no well-formed head.
func (l *Listener) read(r *Request, s *slot) (h *http.Request, refusal *problem.Problem, err error) {
	if r.Conn, err = l.readProxy(r, s); err != nil {
		return nil, nil, err
	}
	if r.Secure {
		if refusal, err := l.handshakeTLS(r); refusal != nil || err != nil {
			return nil, refusal, err
		}
	}
	r.peer = r.Remote
	return l.readHead(r, r.Conn)
}

// readHead reads and checks a head from a source that reads from the connection. It returns
// as read does.
func (l *Listener) readHead(r *Request, from io.Reader) (h *http.Request, refusal *problem.Problem, err error) {
	reader := l.heads.Get()
	defer l.heads.Put(reader)
	raw, buffered, err := reader.ReadRequest(from, maxLine)
	if err != nil {
		refusal := l.refusalOf(err)
		if refusal != nil {
			err = nil
		}
		return nil, refusal, err
	}
	h, err = reader.Request(raw)
	if err != nil {
		return nil, malformed("the head of the request is malformed"), nil
	}
	return h, l.check(r, raw, buffered, h), nil
}

// errCrowded is why a connection is closed without an answer.
var errCrowded = errors.New("the client's address has too many connections")

// readProxy reads the PROXY header with which a trusted proxy's connection begins. From
// then on the connection counts for the client, however silent that is.
// The bytes that are read along with it are fewer than the reader of heads takes at
// once, and come before all that a TLS handshake needs: none of them is left for the
// relay, which reads the socket itself.
func (l *Listener) readProxy(r *Request, s *slot) (net.Conn, error) {
	accepted := r.Conn
	conn, err := r.proxies.ReadHeader(accepted)
	if err != nil {
		l.log.Info("a trusted proxy's connection has no PROXY header", "proxy", r.Remote, "error", err)
		return r.Conn, err
	}
	if conn == accepted {
		return conn, nil
	}
	r.Remote = proxies.AddrOf(conn.RemoteAddr())
	if !l.attribute(r, s) {
		return conn, errCrowded
	}
	if r.Deadline = l.deadline(s); !l.beginRead(accepted, r.Deadline) {
		return conn, net.ErrClosed
	}
	return conn, nil
}

// check fills in the request, or refuses it.
func (l *Listener) check(r *Request, raw, buffered []byte, h *http.Request) *problem.Problem {
	if len(h.RequestURI) > maxTarget {
		return l.refusalOf(head.ErrLongLine)
	}
	if refusal := checkHead(raw, h); refusal != nil {
		return refusal
	}
	r.fillTarget(h)
	r.Header = h.Header
	var err error
	if r.Way, err = r.proxies.Chain(r.Remote, h.Header); err != nil {
		return malformed(err.Error())
	}
	r.Remote = r.Way.Client()
	if len(buffered) > 0 {
		r.Buffered = bytes.Clone(buffered)
	}
	if strings.HasPrefix(r.Path, "/-/") {
		return nil
	}
	if l.cfg.Beside == nil || len(h.Header["Upgrade"]) > 0 {
		return r.checkUpgrade(h)
	}
	beside, refusal := newBeside(raw, h)
	if refusal == nil {
		beside.NoHandshake = r.checkUpgrade(h)
		r.Beside = beside
	}
	return refusal
}

// refusalOf returns the answer to a head that could not be read, nil if no answer
// can be sent.
func (l *Listener) refusalOf(err error) *problem.Problem {
	switch {
	case errors.Is(err, head.ErrLongLine):
		return &problem.Problem{
			Status: http.StatusRequestURITooLong, Code: problem.TargetTooLong, Detail: "the request target has more than 8192 bytes",
		}
	case errors.Is(err, head.ErrTooLarge):
		return &problem.Problem{
			Status: http.StatusRequestHeaderFieldsTooLarge, Code: problem.HeadTooLarge,
			Detail: fmt.Sprintf("the head of the request has more than %d bytes", l.cfg.MaxHead),
		}
	case errors.Is(err, head.ErrMalformed):
		return malformed("the head of the request is malformed")
	default:
		return nil
	}
}

// handshakeTLS does the TLS handshake. A client that sends plain HTTP is told to
// use TLS.
func (l *Listener) handshakeTLS(r *Request) (*problem.Problem, error) {
	conn := tls.Server(netpoll.UnderTLS(r.Conn), l.tls)
	err := conn.Handshake()
	if err == nil {
		r.Conn = conn
		return nil, nil
	}
	var record tls.RecordHeaderError
	if errors.As(err, &record) && record.Conn != nil && head.IsToken(string(record.RecordHeader[:3])) {
		return malformed("this address speaks TLS: use wss"), nil
	}
	return nil, err
}

// refuse answers a request that leads to no handshake.
func (l *Listener) refuse(r *Request, h *http.Request, p *problem.Problem) {
	now := time.Now()
	f := &refusal.Refusal{Ref: ref.NewAt(now, l.cfg.Tag), Problem: p, At: now, From: r.Remote, Host: r.Host, Path: r.Path}
	if h != nil {
		f.UserAgent = h.UserAgent()
	}
	l.refused.Note(context.Background(), f)
	l.send(r, p.Response(f.Ref, isHead(h)))
}

func (l *Listener) send(r *Request, response []byte) {
	if err := problem.Send(r.Conn, response); err != nil {
		l.log.Debug("answer not sent", "client", r.Remote, slog.Any("error", err))
	}
}

func isHead(h *http.Request) bool { return h != nil && h.Method == http.MethodHead }

// isProbe reports whether a path is that of an endpoint by which it is seen how the gateway
// is.
func isProbe(path string) bool { return path == "/-/healthz" || path == "/-/readyz" }

// serveProbe says how the gateway is.
func (l *Listener) serveProbe(r *Request, h *http.Request) {
	var p *problem.Problem
	switch {
	case h.Method != http.MethodGet && h.Method != http.MethodHead:
		p = methodNotAllowed("GET, HEAD")
	case r.Path == "/-/readyz":
		if err := l.ready(); err != nil {
			p = &problem.Problem{
				Status: http.StatusServiceUnavailable, Code: problem.NotReady, Detail: err.Error(),
				Header: []head.Field{problem.RetryAfter(time.Second)},
			}
		}
	}
	if p != nil {
		l.send(r, p.Response("", isHead(h))) // no handshake, so no record
		return
	}
	l.send(r, problem.Response(http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"), isHead(h)))
}

// serveOwn serves the other endpoints of the gateway's own. What they take is in the head:
// none has a body.
func (l *Listener) serveOwn(ctx context.Context, r *Request, h *http.Request) {
	if h.ContentLength != 0 || len(h.TransferEncoding) > 0 {
		l.send(r, malformed("the request must not have a body: what it asks for is in its query").Response("", isHead(h)))
		return
	}
	if l.cfg.Own != nil {
		if answer := l.cfg.Own(ctx, r, h.Method); answer != nil {
			l.send(r, answer)
			return
		}
	}
	p := &problem.Problem{Status: http.StatusNotFound, Code: problem.NotFound, Detail: "no such endpoint"}
	l.send(r, p.Response("", isHead(h)))
}
