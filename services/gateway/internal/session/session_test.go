package session

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"go.uber.org/goleak"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/netpoll"
	"github.com/tidegatehq/tidegate/services/gateway/internal/relay"
	"github.com/tidegatehq/tidegate/services/gateway/internal/throttle"
	"github.com/tidegatehq/tidegate/services/kit/certs/certtest"
	"github.com/tidegatehq/tidegate/services/kit/ref"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// bench is a registry whose records are kept.
type bench struct {
	*Registry
	engine  *relay.Engine
	t       testing.TB
	records chan Record
	plans   *throttle.Controller // nil: no plan holds

	cert                        tls.Certificate
	secureClient, secureBackend bool // the leg carries TLS
}

func newBench(t testing.TB) *bench {
	t.Helper()
	cfg := relay.Default()
	cfg.Ping, cfg.Tick, cfg.Close = time.Hour, 5*time.Millisecond, 2*time.Second
	cfg.Linger, cfg.FrameEnd = 100*time.Millisecond, 2*time.Second
	return newBenchOn(t, cfg)
}

func newBenchOn(t testing.TB, cfg relay.Config) *bench {
	t.Helper()
	b := &bench{t: t, engine: relay.NewEngine(cfg), records: make(chan Record, 5000)}
	b.Registry = NewRegistry(nil, func(r Record) { b.records <- r })
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = b.Drain(ctx, 0)
		b.engine.Wait()
	})
	return b
}

// register registers a session that rests on these names.
func (b *bench) register(names ...string) *Session {
	b.t.Helper()
	s, err := b.New(nil, Info{
		Ref: ref.New(time.Now()), Route: testRoute, Grant: &grant.Grant{Name: "grants/g", RestsOn: names},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if b.plans != nil {
		h, err := b.plans.Enter(context.Background(), subscriber)
		if err != nil {
			b.t.Fatal(err)
		}
		s.SetHold(h)
	}
	return s
}

// subscriber has the plan of bench.plans.
var subscriber = throttle.Who{Version: "apis/a/versions/1", Grant: &grant.Grant{Application: "applications/a", Plan: "plans/p"}}

var testRoute = &Route{API: "apis/a", Version: "apis/a/versions/1"}

// start makes the session live and returns the far ends of its legs.
func (b *bench) start(s *Session) (client, backend *peer) {
	b.t.Helper()
	c, clientLeg := b.pair()
	p, backendLeg := b.pair()
	if b.secureClient {
		c, clientLeg = b.secure(c, clientLeg, false)
	}
	if b.secureBackend {
		p, backendLeg = b.secure(p, backendLeg, true)
	}
	if err := s.Start(relay.New(b.engine, relay.Leg{Conn: clientLeg}, relay.Leg{Conn: backendLeg})); err != nil {
		b.t.Fatal(err)
	}
	return &peer{b.t, c, true}, &peer{b.t, p, false}
}

func (b *bench) pair() (far, near net.Conn) {
	b.t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	defer lis.Close()
	if far, err = net.Dial("tcp", lis.Addr().String()); err != nil {
		b.t.Fatal(err)
	}
	if near, err = lis.Accept(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { far.Close() })
	return far, near
}

// newCert makes the certificate of legs that carry TLS.
func (b *bench) newCert() {
	b.t.Helper()
	files := certtest.NewCA(b.t).Issue(b.t, "gateway")
	var err error
	if b.cert, err = tls.LoadX509KeyPair(files.Cert, files.Key); err != nil {
		b.t.Fatal(err)
	}
}

// secure puts TLS on both ends of a leg. The gateway is the TLS client if it dials.
func (b *bench) secure(far, near net.Conn, dials bool) (_, _ net.Conn) {
	b.t.Helper()
	server, client := &tls.Config{Certificates: []tls.Certificate{b.cert}}, &tls.Config{InsecureSkipVerify: true}
	near = netpoll.UnderTLS(near)
	f, n := tls.Client(far, client), tls.Server(near, server)
	if dials {
		f, n = tls.Server(far, server), tls.Client(near, client)
	}
	done := make(chan error, 1)
	go func() { done <- f.Handshake() }()
	if err := errors.Join(n.Handshake(), <-done); err != nil {
		b.t.Fatal(err)
	}
	return f, n
}

// record waits for the next record.
func (b *bench) record() Record {
	b.t.Helper()
	select {
	case r := <-b.records:
		return r
	case <-time.After(patience):
		b.t.Fatal("no record came")
		return Record{}
	}
}

// peer is the far end of a leg.
type peer struct {
	t testing.TB
	net.Conn
	mask bool
}

func (p *peer) send(op ws.OpCode, payload string) {
	p.t.Helper()
	f := ws.NewFrame(op, true, []byte(payload))
	if p.mask {
		f = ws.MaskFrame(f)
	}
	if err := ws.WriteFrame(p, f); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) close(reason string) {
	p.t.Helper()
	p.send(ws.OpClose, string(ws.NewCloseFrameBody(ws.StatusNormalClosure, reason)))
}

func (p *peer) next() (ws.Frame, error) {
	_ = p.SetReadDeadline(time.Now().Add(patience))
	h, err := ws.ReadHeader(p)
	if err != nil {
		return ws.Frame{}, err
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	if _, err := io.ReadFull(p, f.Payload); err != nil {
		return f, err
	}
	if h.Masked {
		f = ws.UnmaskFrame(f)
	}
	return f, nil
}

func (p *peer) expect(op ws.OpCode, payload string) {
	p.t.Helper()
	f, err := p.next()
	if err != nil || f.Header.OpCode != op || string(f.Payload) != payload {
		p.t.Fatalf("frame = %v %q (%v), want %v %q", f.Header.OpCode, f.Payload, err, op, payload)
	}
}

// expectClose reads a close and returns its reason.
func (p *peer) expectClose(want ws.StatusCode) string {
	p.t.Helper()
	f, err := p.next()
	if err != nil || f.Header.OpCode != ws.OpClose {
		p.t.Fatalf("frame = %v (%v), want a close", f.Header.OpCode, err)
	}
	code, reason := ws.ParseCloseFrameData(f.Payload)
	if code != want {
		p.t.Fatalf("close = %d %q, want %d", code, reason, want)
	}
	return reason
}

// current returns the session's state.
func (s *Session) current() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

func TestRecord(t *testing.T) {
	b := newBench(t)
	begin := time.Now()
	info := Info{
		Ref: "ref", Route: testRoute,
		Grant: &grant.Grant{Name: "grants/g", RestsOn: []string{"grants/g"}, Expires: time.Now().Add(time.Hour)},
	}
	s, err := b.New(nil, info)
	if err != nil {
		t.Fatal(err)
	}
	if !s.inHandshake() || s.Err() != nil || !s.Started().IsZero() {
		t.Errorf("state %v, err %v, started %v, want a handshake", s.state, s.Err(), s.Started())
	}
	if got, want := b.Gauges(), (Gauges{Registered: 1}); got != want {
		t.Errorf("gauges = %+v, want %+v", got, want)
	}
	s.SetSubprotocol("chat")
	client, backend := b.start(s)
	s.Abandon() // as a deferred call does
	if got, want := b.Gauges(), (Gauges{Live: 1}); got != want || s.current() != live || s.Err() != nil || b.Get("ref") != s {
		t.Errorf("gauges = %+v, state %v, err %v, want %+v, live", got, s.current(), s.Err(), want)
	}
	if at := s.Started(); at.Before(begin) || at.After(time.Now()) {
		t.Errorf("started = %v, want now", at)
	}
	client.send(ws.OpText, "hello")
	backend.expect(ws.OpText, "hello")
	client.close("bye")
	backend.expectClose(1000)
	if got, err := s.current(), s.Err(); got != live || err == nil {
		t.Errorf("state = %v, err = %v, want live, and what ends it", got, err)
	}
	backend.close("")
	client.expectClose(1000)
	r := b.record()
	info.Subprotocol = "chat"
	if r.Info != info {
		t.Errorf("info = %+v, want %+v", r.Info, info)
	}
	if want := (ending.ByPeer(ending.Client, 1000, "bye")); r.Ending != want {
		t.Errorf("ending = %+v, want %+v", r.Ending, want)
	}
	if r.Client.Received != 1000 || r.Backend.Sent != 1000 || r.Client.Sent != 1000 || r.Totals.FromClient.Messages != 1 || len(r.Uncollected) != 1 || r.Uncollected[0].Totals != r.Totals {
		t.Errorf("record = %+v", r)
	}
	if c, p := r.Client.Last, r.Backend.Last; time.Since(c) > patience || !p.IsZero() {
		t.Errorf("last frames = %v, %v, want now, never", c, p)
	}
	if s.current() != over || s.Err() == nil || b.Get("ref") != nil || b.Gauges() != (Gauges{}) || len(b.RestingOn("grants/g")) != 0 {
		t.Errorf("afterwards: state %v, err %v, gauges %+v", s.current(), s.Err(), b.Gauges())
	}
	if s.End(ending.New(ending.OperatorClose, "late")) {
		t.Error("End after the end = true")
	}
	s.SetGrant(&grant.Grant{Expires: time.Now()})
	if b.Gauges().Registered != 0 {
		t.Error("a session that is over is listed")
	}
}

// TestEndInHandshake ends a session whose backend is being dialled.
func TestEndInHandshake(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	s, err := b.New(cancel, Info{Route: testRoute, Grant: &grant.Grant{RestsOn: []string{"grants/g"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Err(); err != nil || ctx.Err() != nil {
		t.Fatalf("before: %v, %v", err, ctx.Err())
	}
	if n := b.EndAllOn(ending.New(ending.Revoked, "token"), "grants/g"); n != 1 {
		t.Errorf("EndAllOn = %d, want 1", n)
	}
	if s.End(ending.New(ending.OperatorClose, "")) {
		t.Error("second End = true, want false")
	}
	<-ctx.Done()
	var ended *EndedError
	if !errors.As(context.Cause(ctx), &ended) || ended.Ending.Reason != ending.Revoked {
		t.Errorf("cause of the context = %v, want REVOKED", context.Cause(ctx))
	}
	if !errors.As(s.Err(), &ended) || ended.Ending.ClientCode != 4001 {
		t.Errorf("Err = %v", s.Err())
	}
	s.Abandon()
	s.Abandon()
	if !s.Started().IsZero() || s.Totals() != (ending.Totals{}) || s.collect() != nil || s.End(ending.New(ending.Drain, "")) {
		t.Error("an abandoned session has begun, has relayed something or can be ended")
	}
	s.abort(ending.New(ending.Drain, ""))
	s.SetGrant(&grant.Grant{})
	other := b.register("grants/g")
	if other.Abandon(); other.Err() != nil || !other.Started().IsZero() {
		t.Errorf("an abandoned session: err %v, started %v", other.Err(), other.Started())
	}
	if b.Gauges() != (Gauges{}) || len(b.records) != 0 {
		t.Errorf("afterwards: gauges %+v, %d records", b.Gauges(), len(b.records))
	}
}

// TestEndBeforeStart ends a session between its 101 and its start.
func TestEndBeforeStart(t *testing.T) {
	b := newBench(t)
	s := b.register("users/p")
	b.EndAllOn(ending.New(ending.Blocked, "user removed"), "users/p")
	client, backend := b.start(s)
	if got, want := client.expectClose(4006), "BLOCKED ref="+s.Ref(); got != want {
		t.Errorf("reason = %q, want %q", got, want)
	}
	backend.expectClose(1001)
	if r := b.record(); r.Ending.Reason != ending.Blocked || r.Ending.Detail != "user removed" || r.Client.Sent != 4006 {
		t.Errorf("record = %+v", r)
	}
}

func TestStartRefused(t *testing.T) {
	b := newBench(t)
	began := 0
	b.began = func(*Session) { began++ }
	s := b.register()
	c, clientLeg := b.pair()
	pipe, far := net.Pipe()
	defer far.Close()
	if err := s.Start(relay.New(b.engine, relay.Leg{Conn: clientLeg}, relay.Leg{Conn: pipe})); err == nil {
		t.Error("Start with a pipe = nil, want an error")
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("client's end = %v, want EOF", err)
	}
	if b.Gauges() != (Gauges{}) || s.current() != over {
		t.Errorf("gauges = %+v, state = %v", b.Gauges(), s.current())
	}
	s = b.register()
	s.Abandon()
	c, clientLeg = b.pair()
	p, backendLeg := b.pair()
	if err := s.Start(relay.New(b.engine, relay.Leg{Conn: clientLeg}, relay.Leg{Conn: backendLeg})); err == nil {
		t.Error("Start after Abandon = nil, want an error")
	}
	for _, far := range []net.Conn{c, p} {
		if _, err := far.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("end of a connection = %v, want EOF", err)
		}
	}
}

func TestExpiry(t *testing.T) {
	b := newBench(t)
	s := b.register("grants/g")
	s.SetGrant(&grant.Grant{Name: "grants/g", RestsOn: []string{"grants/g"}, Expires: time.Now().Add(time.Hour)})
	client, _ := b.start(s)
	s.SetGrant(&grant.Grant{Name: "grants/new", RestsOn: []string{"grants/new"}, Expires: time.Now().Add(30 * time.Millisecond)})
	if len(b.RestingOn("grants/g")) != 0 || len(b.RestingOn("grants/new")) != 1 {
		t.Error("the session is not found by its new grant alone")
	}
	if got, want := client.expectClose(4001), "EXPIRED ref="+s.Ref(); got != want {
		t.Errorf("reason = %q, want %q", got, want)
	}
	if r := b.record(); r.Ending.Reason != ending.Expired || r.Grant.Name != "grants/new" {
		t.Errorf("record = %+v", r)
	}
}

func TestOperatorCloses(t *testing.T) {
	b := newBench(t)
	s := b.register()
	client, backend := b.start(s)
	if !s.End(ending.New(ending.OperatorClose, "by users/admin")) {
		t.Error("End = false")
	}
	client.expectClose(4010)
	backend.expectClose(1001)
	if r := b.record(); r.Ending.By != ending.Operator || r.Ending.Reason != ending.OperatorClose || r.Ending.Detail != "by users/admin" {
		t.Errorf("ending = %+v", r.Ending)
	}
}

func TestDrain(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	waiting, err := b.New(cancel, Info{Route: testRoute})
	if err != nil {
		t.Fatal(err)
	}
	const n = 20
	clients := make([]*peer, n)
	for i := range clients {
		clients[i], _ = b.start(b.register())
	}
	drained := make(chan error, 1)
	begin := time.Now()
	go func() { drained <- b.Drain(context.Background(), 200*time.Millisecond) }()
	<-ctx.Done()
	var ended *EndedError
	if err := context.Cause(ctx); !errors.As(err, &ended) || ended.Ending.Reason != ending.Drain {
		t.Errorf("handshake's end = %v, want DRAIN", err)
	}
	if _, err := b.New(nil, Info{Route: testRoute}); !errors.Is(err, ErrDraining) {
		t.Errorf("New = %v, want ErrDraining", err)
	}
	hints := map[string]bool{}
	for _, c := range clients {
		reason := c.expectClose(1012)
		hint := reason[strings.LastIndex(reason, " ")+1:]
		if !strings.HasPrefix(reason, "DRAIN ref=") || !strings.HasPrefix(hint, "retry=") {
			t.Errorf("reason = %q, want DRAIN with a hint", reason)
		}
		hints[hint] = true
		c.Close()
	}
	if d := time.Since(begin); d < 150*time.Millisecond {
		t.Errorf("all were closed after %v, want that spread over 200ms", d)
	}
	if len(hints) < n/2 {
		t.Errorf("%d different hints for %d sessions", len(hints), n)
	}
	select {
	case err := <-drained:
		t.Fatalf("Drain = %v before the handshake was over", err)
	default:
	}
	waiting.Abandon()
	if err := <-drained; err != nil {
		t.Errorf("Drain = %v", err)
	}
	if len(b.records) != n {
		t.Errorf("%d records, want %d", len(b.records), n)
	}
	for range n {
		if r := b.record(); r.Ending.Reason != ending.Drain || r.Client.Sent != 1012 || r.Backend.Sent != 1001 {
			t.Errorf("record = %+v", r)
		}
	}
	if err := b.Drain(context.Background(), time.Hour); err != nil {
		t.Errorf("second Drain = %v", err)
	}
}

// TestDrainCuts has a drain end before its sessions do.
func TestDrainCuts(t *testing.T) {
	cfg := relay.Default()
	cfg.Ping, cfg.Tick, cfg.Close, cfg.Linger = time.Hour, 5*time.Millisecond, time.Hour, time.Hour
	b := newBenchOn(t, cfg)
	for range 3 {
		b.start(b.register()) // nobody answers a close
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := b.Drain(ctx, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain = %v, want the context's end", err)
	}
	if len(b.records) != 3 || b.Gauges() != (Gauges{}) {
		t.Errorf("%d records, gauges %+v, want 3, none", len(b.records), b.Gauges())
	}
}
