package beside

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/handshake"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
	"github.com/tidegatehq/tidegate/services/gateway/internal/monitor"
	"github.com/tidegatehq/tidegate/services/gateway/internal/netpoll"
	"github.com/tidegatehq/tidegate/services/gateway/internal/problem"
)

// writers are those of answers.
var writers = sync.Pool{New: func() any { return bufio.NewWriter(nil) }}

// exchange is one request and its answer. It is the http.ResponseWriter of the answer, for one
// goroutine.
type exchange struct {
	s      *Server
	r      *listener.Request
	of     *handshake.Beside // the same request, as its steps see it
	ctx    context.Context
	cancel context.CancelCauseFunc
	conn   *client
	began  time.Time
	settle func() // ends the interruption of conn by the end of ctx, once

	body     *body // nil: there is none, or it is not known yet whether it is wanted
	monitor  monitor.Monitor
	watching bool
	member   *balance.Member // whose connection is in use; nil for none
	cancels  []context.CancelCauseFunc
	usage    usage
	// authorization is what backends get as that header; empty: what the client sent.
	authorization string
	noted         bool // as a refusal

	mu      sync.Mutex // of what follows
	header  http.Header
	out     *bufio.Writer
	wrote   bool // the head
	status  int
	closing bool  // the connection is closed after the answer
	left    int64 // bytes of the body that are to come; -1: chunks, or up to the end
	chunked bool
	failure error // of the connection
}

// newExchange returns the exchange of a request that has taken no step yet.
func (s *Server) newExchange(ctx context.Context, r *listener.Request, cancel context.CancelCauseFunc) *exchange {
	x := &exchange{
		s: s, r: r, of: s.Handshakes.NewBeside(r, cancel), ctx: ctx, cancel: cancel, header: http.Header{}, began: time.Now(),
		conn: &client{Conn: r.Conn, stall: s.cfg.Stall},
	}
	x.out, _ = writers.Get().(*bufio.Writer)
	x.out.Reset(x.conn)
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		x.conn.interrupt()
	})
	x.settle = sync.OnceFunc(func() {
		if !stop() {
			<-interrupted
			x.conn.allowWrites()
			x.closing = true
		}
	})
	return x
}

// begin makes the body of a request that is admitted, or has it noticed when the client of one
// without a body leaves.
func (x *exchange) begin() (err error) {
	most := min(cmp.Or(x.of.HTTP().MaxBody, x.s.cfg.MaxBody), x.of.Passage().MaxBody())
	if x.r.Beside.Length > most {
		return errBodyTooLarge
	}
	// While it waits for an answer only TCP finds out that the client is gone. Where the
	// connection has failed already, the next read or write says so.
	_ = netpoll.KeepAlive(x.conn.Conn)
	x.usage.begin(x)
	if x.r.Beside.Length == 0 {
		x.watch(x.r.Buffered)
		return nil
	}
	x.body, err = newBody(x, most)
	return err
}

// watch has it noticed when the client leaves: nothing of its request is to come any more.
func (x *exchange) watch(buffered []byte) {
	x.watching = true
	_ = x.conn.SetReadDeadline(time.Time{})
	x.monitor.Start(x.conn.Conn, buffered, monitor.Delay, func() { x.cancel(handshake.ErrClientGone) })
}

// came counts bytes of a body.
func (x *exchange) came(direction limits.Direction, n int) {
	if n > 0 {
		x.of.Passage().Charge(direction, int64(n))
		x.usage.add(x, direction, n)
	}
}

// Header implements http.ResponseWriter.
func (x *exchange) Header() http.Header { return x.header }

// sayContinue tells the client that its body is awaited.
func (x *exchange) sayContinue() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.wrote {
		_, _ = x.conn.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	}
}

// WriteHeader implements http.ResponseWriter. Interim answers end here: the gateway itself says
// 100, and hints are none of what a client must know.
func (x *exchange) WriteHeader(status int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.wrote || status < 200 {
		return
	}
	x.wrote, x.status = true, status
	r := x.r.Beside
	x.closing = x.closing || r.Close || r.Minor == 0 || r.Crowded || x.body != nil && !x.body.isWhole() || x.body == nil && r.Length != 0 || x.s.Ready() != nil
	length := x.header.Get("Content-Length")
	x.header.Del("Content-Length")
	switch n, err := strconv.ParseInt(length, 10, 64); {
	case x.bodyless():
		x.left = 0
	case err == nil && n >= 0:
		x.left = n
	case r.Minor > 0:
		x.left, x.chunked, length = -1, true, ""
	default:
		x.left, length = -1, ""
	}
	_, _ = fmt.Fprintf(x.out, "HTTP/1.1 %03d %s\r\n", status, http.StatusText(status))
	if _, ok := x.header["Date"]; !ok {
		x.header["Date"] = []string{time.Now().UTC().Format(http.TimeFormat)}
	}
	_ = x.header.Write(x.out)
	line := func(name, value string) { _, _ = fmt.Fprintf(x.out, "%s: %s\r\n", name, value) }
	if length != "" && status != http.StatusNoContent {
		line("Content-Length", length)
	}
	if x.chunked {
		line("Transfer-Encoding", "chunked")
	}
	if x.closing {
		line("Connection", "close")
	}
	_, x.failure = x.out.WriteString("\r\n")
}

// bodyless reports whether the answer has no body, whatever its head says.
func (x *exchange) bodyless() bool {
	return x.r.Beside.Method == http.MethodHead || x.status == http.StatusNoContent || x.status == http.StatusNotModified
}

// Write implements http.ResponseWriter.
func (x *exchange) Write(p []byte) (int, error) {
	x.WriteHeader(http.StatusOK)
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.failure != nil:
		return 0, x.failure
	case x.bodyless() || len(p) == 0:
		return len(p), nil
	case x.left >= 0 && int64(len(p)) > x.left:
		return 0, http.ErrContentLength
	}
	if x.chunked {
		_, _ = fmt.Fprintf(x.out, "%x\r\n", len(p))
	}
	if x.left > 0 {
		x.left -= int64(len(p))
	}
	_, x.failure = x.out.Write(p)
	if x.chunked {
		_, x.failure = x.out.WriteString("\r\n")
	}
	if x.failure != nil {
		return 0, x.failure
	}
	x.came(limits.Outbound, len(p))
	return len(p), nil
}

// FlushError is what http.ResponseController calls: what was written goes out.
func (x *exchange) FlushError() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.failure == nil {
		x.failure = x.out.Flush()
	}
	return x.failure
}

// finish writes the end of the answer. An error means that the client has not got all of it.
func (x *exchange) finish() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.failure != nil:
		return x.failure
	case x.chunked && !x.bodyless():
		_, _ = x.out.WriteString("0\r\n\r\n")
	case x.left > 0:
		x.failure = io.ErrUnexpectedEOF
		return x.failure
	}
	x.failure = x.out.Flush()
	return x.failure
}

// abort has the connection closed without more of the answer.
func (x *exchange) abort(why error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.failure == nil {
		x.failure = why
	}
}

// answered reports whether the head of an answer was written.
func (x *exchange) answered() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.wrote
}

// refuse answers a request that failed, unless its client has left. Where the answer has begun
// already the connection is cut.
func (x *exchange) refuse(err error) {
	if ended := x.of.Ended(); ended != nil {
		err = ended
	} else if cause := context.Cause(x.ctx); cause != nil {
		err = cause
	} else {
		err = x.problemOf(err)
	}
	if x.answered() {
		x.abort(err)
		x.s.Log.Debug("request cut", "ref", x.of.Ref(), "error", err)
		return
	}
	if errors.Is(err, handshake.ErrClientGone) {
		x.abort(err)
		x.s.Log.Debug("client left during the request", "ref", x.of.Ref(), "client", x.r.Remote)
		return
	}
	x.settle()
	x.noted = true
	x.send(x.of.Refuse(context.WithoutCancel(x.ctx), err))
}

// problemOf returns the answer to what is wrong with a body, or else the error.
func (x *exchange) problemOf(err error) error {
	bad := func(status int, code problem.Code, detail string) error {
		return &problem.Problem{Status: status, Code: code, Detail: detail, Cause: err}
	}
	switch {
	case errors.Is(err, errBodyTooLarge):
		return bad(http.StatusRequestEntityTooLarge, problem.BodyTooLarge, "the body of the request is too large")
	case x.body == nil || x.body.failed() == nil:
		return err
	}
	return bad(http.StatusBadRequest, problem.BadRequest, "the body of the request is cut off, malformed or too slow")
}

// send writes a refusal.
func (x *exchange) send(p *problem.Problem) {
	clear(x.header)
	x.header["Content-Type"], x.header["Cache-Control"] = []string{problem.ContentType}, []string{"no-store"}
	for _, f := range p.Header {
		x.header.Add(f.Name, f.Value)
	}
	if !x.of.Trusted() {
		x.closing = true
	}
	x.allowReader()
	content := p.Body(x.of.Ref())
	x.header.Set("Content-Length", strconv.Itoa(len(content)))
	x.WriteHeader(p.Status)
	_, _ = x.writeOwn(content)
	_ = x.finish()
}

// writeOwn writes a body of the gateway's own, which counts for no plan.
func (x *exchange) writeOwn(content []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.bodyless() {
		return len(content), nil
	}
	x.left -= int64(len(content))
	return x.out.Write(content)
}

// served ends the exchange on the client's side, and says whether the connection goes on.
func (x *exchange) served() listener.Served {
	served := listener.Served{Untrusted: !x.of.Trusted() && !x.of.Preflight, Rest: x.r.Buffered}
	whole := x.r.Beside.Length == 0
	if x.body != nil {
		whole = x.body.end()
	}
	if x.watching {
		served.Rest = x.monitor.Stop()
	}
	x.settle()
	x.mu.Lock()
	failed, closing := x.failure != nil || !x.wrote, x.closing || !whole
	x.mu.Unlock()
	switch {
	case failed:
		_ = x.conn.Close()
	case closing:
		problem.Linger(x.conn.Conn)
	default:
		served.Again = true
	}
	return served
}

// end gives back what the exchange has, and reports what it used.
func (x *exchange) end() {
	x.settle()
	for _, cancel := range x.cancels {
		cancel(nil)
	}
	if x.member != nil {
		x.member.Release()
	}
	x.usage.end(x)
	x.out.Reset(nil)
	writers.Put(x.out)
	if !x.noted {
		x.s.Metrics.Request(x.status)
	}
	x.of.End()
}
