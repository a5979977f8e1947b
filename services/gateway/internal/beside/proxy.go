package beside

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/handshake"
	"github.com/tidegatehq/tidegate/services/gateway/internal/metrics"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/upstream"
)

// exchangeKey is the key of an exchange in the context of its request, and upstreamKey that of
// what the backend gets which is tried.
type exchangeKey struct{}
type upstreamKey struct{}

func exchangeOf(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// newProxy returns the proxy of all exchanges. What a backend gets is written by the transport,
// which chooses it.
func (s *Server) newProxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { clear(r.Out.Header) },
		Transport:     (*transport)(s),
		FlushInterval: -1,
		BufferPool:    &copyBuffers{},
		ErrorLog:      slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
		ModifyResponse: func(resp *http.Response) error {
			x := exchangeOf(resp.Request.Context())
			upstream.FilterAnswer(resp.Header)
			resp.Trailer = nil
			x.share(resp.Header)
			resp.Header.Set(handshake.RefHeader, x.of.Ref())
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, err error) { exchangeOf(r.Context()).refuse(err) },
	}
}

// copyBuffers are the buffers of answers.
type copyBuffers struct{ sync.Pool }

// bufferSize is how much of an answer is read at once.
const bufferSize = 16 << 10

// Get implements httputil.BufferPool.
func (p *copyBuffers) Get() []byte {
	if b, ok := p.Pool.Get().(*[bufferSize]byte); ok {
		return b[:]
	}
	return new([bufferSize]byte)[:]
}

// Put implements httputil.BufferPool.
func (p *copyBuffers) Put(b []byte) { p.Pool.Put((*[bufferSize]byte)(b)) }

// forward has a backend answer the request.
func (s *Server) forward(x *exchange) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler: // the backend's answer, or the connection, ended in the middle
			x.abort(http.ErrAbortHandler)
		default:
			x.abort(http.ErrAbortHandler)
			panic(v)
		}
	}()
	// The key of net/http's server has the proxy cut an answer whose backend does.
	ctx := context.WithValue(context.WithValue(x.ctx, exchangeKey{}, x), http.ServerContextKey, s)
	r := &http.Request{
		Method: x.r.Beside.Method, URL: &url.URL{Scheme: "http", Host: "backend", Path: "/"}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: http.NoBody, ContentLength: x.r.Beside.Length,
	}
	if x.body != nil {
		r.Body = x.body
	}
	s.proxy.ServeHTTP(x, r.WithContext(ctx))
	if err := x.finish(); err != nil {
		x.abort(err)
	}
}

// transport is the Server as the proxy sends requests with it.
type transport Server

// RoundTrip sends the request of an exchange to one of its stage's endpoints. Another one is
// tried where the one before cannot have acted on the request: it was not connected to, or the
// request has no body and a method that changes nothing.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeOf(r.Context())
	stage := x.of.Stage()
	// That there is no token says nothing of an endpoint.
	up, err := x.of.Upstream(stage.Endpoints[0])
	if err != nil {
		return nil, err
	}
	failed := t.Dialer.Authorize(x.ctx, up)
	if failed != nil {
		return nil, failed
	}
	x.authorization = up.Authorization
	turn := stage.Turn()
	for turn.Next(time.Now()) {
		e := stage.Endpoints[turn.Index()]
		resp, err := t.authorized(x, r, e)
		if err == nil && x.repeatable(r) && turn.Left() > 0 && isUnavailable(resp.StatusCode) {
			_ = resp.Body.Close()
			err = upstream.Unavailable(resp.StatusCode)
		}
		if err == nil {
			t.works(x, &turn, e)
			return resp, nil
		}
		failed = err
		if !t.judge(x, r, &turn, e, err) {
			break
		}
	}
	return nil, failed
}

// authorized is try, and once more where the endpoint has refused an access token, another one
// is to be had, and the request can be sent again.
func (t *transport) authorized(x *exchange, r *http.Request, e *routes.Endpoint) (*http.Response, error) {
	resp, err := t.try(x, r, e)
	if err == nil || x.authorization == "" {
		return resp, err
	}
	up, wrong := x.of.Upstream(e)
	if wrong != nil {
		return nil, wrong
	}
	up.Authorization = x.authorization
	again, dropped := t.Dialer.Renewed(x.ctx, up, err)
	if dropped != nil {
		return nil, dropped
	}
	if x.authorization = up.Authorization; again && x.repeatable(r) {
		return t.try(x, r, e)
	}
	return resp, err
}

// repeatable reports whether another endpoint may get the request which one has got.
func (x *exchange) repeatable(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return x.body == nil
	}
	return false
}

// isUnavailable reports whether a status says that another endpoint may give a better answer.
func isUnavailable(status int) bool {
	return !(&upstream.Error{Kind: upstream.Refused, Status: status}).Answered()
}

// works notes that an endpoint has answered.
func (t *transport) works(x *exchange, turn *balance.Turn, e *routes.Endpoint) {
	m, recovered := turn.Done(time.Now())
	x.member = m
	if recovered {
		t.Log.Info("endpoint works again", "version", x.of.Route().Name, "host", e.Host)
	}
	t.Metrics.Attempt(metrics.Connected)
}

// judge notes what an error says of an endpoint, and reports whether the next one is tried.
func (t *transport) judge(x *exchange, r *http.Request, turn *balance.Turn, e *routes.Endpoint, err error) (goOn bool) {
	var backend *upstream.Error
	if x.ctx.Err() != nil || x.body != nil && x.body.failed() != nil || !errors.As(err, &backend) ||
		backend.Kind == upstream.Exhausted || backend.Kind == upstream.NoToken {
		turn.Skip()
		t.Metrics.Attempt(metrics.GivenUp)
		return false
	}
	if backend.Kind == upstream.NotAuthorized { // it works, and says no
		t.works(x, turn, e)
		return false
	}
	t.Metrics.Attempt(metrics.Failed)
	if within := turn.Failed(time.Now(), backend.Detail()); within > 0 {
		t.Metrics.Suspended()
		t.Log.Warn("endpoint suspended", "version", x.of.Route().Name, "host", e.Host, "for", within, "error", err)
	}
	return isDial(err) || x.repeatable(r)
}

// try sends the request to an endpoint. The error is an *upstream.Error, or why the request
// ended.
func (t *transport) try(x *exchange, r *http.Request, e *routes.Endpoint) (*http.Response, error) {
	http1 := x.of.HTTP()
	within := t.cfg.Timeout
	if http1.Timeout > 0 {
		within = http1.Timeout
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	x.cancels = append(x.cancels, cancel)
	tooSlow := upstream.TooSlow(within)
	timer := time.AfterFunc(time.Hour, func() { cancel(tooSlow) })
	timer.Stop()
	defer timer.Stop()
	if x.body == nil {
		timer.Reset(within)
	} else {
		x.body.whenWhole(func() { timer.Reset(within) })
		defer x.body.forget()
	}
	up, err := x.of.Upstream(e)
	if err != nil {
		return nil, err
	}
	up.Authorization = x.authorization
	out := r.WithContext(context.WithValue(ctx, upstreamKey{}, up))
	pool := t.pools.of(x.of.Route().Name, http1)
	if err := up.Outgoing(out, pool.host(e)); err != nil {
		return nil, upstream.Failed(x.ctx, err)
	}
	if x.body != nil {
		out.Body = x.body // the proxy's own is closed with the first attempt
	}
	out.Close = !t.pools.keeps()
	resp, err := pool.transport.RoundTrip(out)
	switch {
	case err == nil && resp.StatusCode == http.StatusSwitchingProtocols:
		_ = resp.Body.Close()
		return nil, upstream.Refuse("it is 101, which nobody asked for")
	case err == nil && resp.StatusCode == http.StatusUnauthorized && up.Authorization != "":
		_ = resp.Body.Close() // the client can do nothing about it
		return nil, upstream.Unauthorized()
	case err == nil && !timer.Stop() && ctx.Err() != nil:
		_ = resp.Body.Close()
		return nil, tooSlow
	case err == nil:
		return resp, nil
	case x.ctx.Err() == nil && errors.Is(context.Cause(ctx), tooSlow):
		return nil, tooSlow
	case x.body != nil && x.body.failed() != nil:
		return nil, x.body.failed()
	case strings.Contains(err.Error(), "malformed") || strings.Contains(err.Error(), "exceeded"):
		return nil, upstream.Refuse("its head is malformed or has more than %d bytes", t.Dialer.MaxHead())
	}
	return nil, upstream.Failed(x.ctx, err)
}

var _ io.ReadCloser = (*body)(nil)
