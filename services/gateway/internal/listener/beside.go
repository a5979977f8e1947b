package listener

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
)

// Beside is what a plain request has, which is no handshake. The listener reads
// the head of each request on a connection in the same way, and with the same checks, the
// first and those that follow on it.
type Beside struct {
	Method   string
	Minor    int   // of the version of HTTP: 1.0 or 1.1
	Length   int64 // of the body; -1: it is chunked
	Continue bool  // the client waits for 100 before it sends the body
	Close    bool  // the client wants the connection closed after the answer
	Head     int   // bytes of its head
	// Crowded says that so many connections are open that this one should be closed after
	// the answer.
	Crowded bool
	// NoHandshake is the answer where only handshakes are served.
	NoHandshake *problem.Problem

	rate *addressRate // of handshakes, where the request has not been counted; else nil
	from netip.Prefix // the network that it counts for there
}

// Count counts the request as a handshake of its address, if that was not done when its
// connection was opened. It returns the answer where the address has too many, else nil. It is
// called at most once.
func (b *Beside) Count() *problem.Problem {
	if b.rate == nil {
		return nil
	}
	return b.rate.refusal(b.from)
}

// Served is what came of a plain request.
type Served struct {
	// Again says that the connection can take another request; else it has been closed.
	Again bool
	// Rest is what was read of the next request.
	Rest []byte
	// Untrusted says that the request was refused before its credential was found good: it
	// counts as a handshake of its address.
	Untrusted bool
}

// newBeside checks a head that asks for no upgrade, and whose body is to be read: whoever
// stands before the gateway must find the same end of it.
func newBeside(raw []byte, h *http.Request) (*Beside, *problem.Problem) {
	lengths, encodings := h.Header["Content-Length"], countFraming(raw)
	switch {
	case h.Method == http.MethodConnect || h.Method == http.MethodTrace:
		return nil, methodNotAllowed("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	case bareLines(raw):
		return nil, malformed("each line of the head must end in CR LF, and have no other CR and no NUL")
	case encodings.length > 1 || len(lengths) > 1:
		return nil, malformed("there must be at most one Content-Length header")
	case encodings.length > 0 && encodings.transfer > 0:
		return nil, malformed("there must not be both Content-Length and Transfer-Encoding")
	case encodings.transfer > 1 || encodings.transfer == 1 && !h.ProtoAtLeast(1, 1):
		return nil, malformed("there must be at most one Transfer-Encoding header, and none in HTTP/1.0")
	}
	return &Beside{
		Method: h.Method, Minor: h.ProtoMinor, Length: h.ContentLength, Close: h.Close, Head: len(raw),
		Continue: h.ContentLength != 0 && h.ProtoAtLeast(1, 1) && strings.EqualFold(h.Header.Get("Expect"), "100-continue"),
	}, nil
}

// framing counts the header lines that say where a body ends. The parsed head does not have
// them all.
type framing struct{ length, transfer int }

func countFraming(raw []byte) framing {
	return framing{length: head.Count(raw, "Content-Length"), transfer: head.Count(raw, "Transfer-Encoding")}
}

// bareLines reports whether a line of a head ends in LF alone, or has a CR or a NUL within.
func bareLines(raw []byte) bool {
	for line := range bytes.SplitSeq(bytes.TrimSuffix(raw, []byte("\n")), []byte("\n")) {
		text, ok := bytes.CutSuffix(line, []byte("\r"))
		if !ok || bytes.ContainsAny(text, "\r\x00") {
			return true
		}
	}
	return false
}

// serveBeside serves the plain requests of a connection, one after the other.
// Each has its head read and checked as the first one's was.
func (l *Listener) serveBeside(ctx context.Context, r *Request, s *slot) {
	l.progress.Add(-1)
	l.beside.Add(1)
	defer func() {
		l.progress.Add(1)
		l.beside.Add(-1)
	}()
	for {
		r.Beside.Crowded = s.crowded()
		served := l.cfg.Beside(ctx, r)
		if served.Untrusted {
			_ = r.Beside.Count() // the connection is closed already
		}
		if !served.Again {
			return
		}
		next := &Request{Conn: r.Conn, Secure: r.Secure, Remote: r.peer, peer: r.peer, proxies: r.proxies}
		if r = l.another(ctx, next, served.Rest); r == nil {
			return
		}
	}
}

// another reads the next request on a connection. It answers all that is not beside the
// socket, and returns nil then, or once the connection is closed.
func (l *Listener) another(ctx context.Context, r *Request, rest []byte) *Request {
	from := &awaited{l: l, conn: r.Conn, rest: rest}
	if !from.begin() {
		_ = r.Conn.Close()
		return nil
	}
	h, refusal, err := l.readHead(r, from)
	l.endRead(r.Conn)
	r.Buffered = append(r.Buffered, from.rest...)
	r.Proxy = r.proxies.Trusts(r.Remote.Addr())
	if err == nil && refusal == nil && r.Beside == nil && !strings.HasPrefix(r.Path, "/-/") {
		refusal = upgradeRequired("a handshake must be the first request on its connection: open another one for it")
	}
	r.Deadline = time.Now().Add(l.cfg.Timeout)
	switch {
	case err != nil:
		_ = r.Conn.Close()
		if !errors.Is(err, net.ErrClosed) {
			l.log.Debug("connection without another request", "client", r.Remote, "error", err)
		}
	case refusal != nil:
		l.refuse(r, h, refusal)
	case isProbe(r.Path):
		l.serveProbe(r, h)
	case strings.HasPrefix(r.Path, "/-/"):
		l.serveOwn(ctx, r, h)
	default:
		if !r.Proxy {
			r.Beside.rate, r.Beside.from = l.rate, clientaddr.Network(r.Remote.Addr())
		}
		return r
	}
	return nil
}

// awaited is a connection on which another request may come: it has the idle time for its
// first byte, and from then on the time of a head.
type awaited struct {
	l     *Listener
	conn  net.Conn
	rest  []byte // read before
	begun bool
}

// begin begins to wait. It returns false if the connection is to be closed.
func (a *awaited) begin() bool {
	if a.begun = len(a.rest) > 0; a.begun {
		return a.l.beginRead(a.conn, time.Now().Add(a.l.cfg.Timeout))
	}
	return a.l.beginIdle(a.conn, time.Now().Add(a.l.cfg.Idle))
}

// Read implements io.Reader.
func (a *awaited) Read(p []byte) (int, error) {
	if len(a.rest) > 0 {
		n := copy(p, a.rest)
		a.rest = a.rest[n:]
		return n, nil
	}
	n, err := a.conn.Read(p)
	if n > 0 && !a.begun {
		a.begun = true
		if !a.l.beginRead(a.conn, time.Now().Add(a.l.cfg.Timeout)) {
			return 0, net.ErrClosed
		}
	}
	return n, err
}

// beginIdle notes that a connection waits for another request, until a deadline. It returns
// false if none is to come.
func (l *Listener) beginIdle(conn net.Conn, deadline time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing || l.noneIdle || conn.SetDeadline(deadline) != nil {
		return false
	}
	l.idle[conn] = struct{}{}
	return true
}

// CloseIdle closes the connections on which another request may come and none has begun, and
// has those closed from now on whose request is answered.
func (l *Listener) CloseIdle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.noneIdle = true
	l.cutIdle()
}

// cutIdle interrupts the reads of idle connections. The lock is held.
func (l *Listener) cutIdle() {
	for conn := range l.idle {
		_ = conn.SetDeadline(time.Unix(1, 0))
	}
}

// Connections returns how many connections have plain requests, in progress or
// between two.
func (l *Listener) Connections() int { return int(l.beside.Load()) }
