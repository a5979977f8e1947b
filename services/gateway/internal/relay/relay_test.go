package relay

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/netpoll"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// quick is a configuration whose wheel turns fast, without pings. Clocks that a
// test wants to see the end of, it sets itself: no other may end on a slow machine.
func quick() Config {
	cfg := Default()
	cfg.Ping, cfg.Linger, cfg.FrameEnd, cfg.Tick = time.Hour, 100*time.Millisecond, patience, 5*time.Millisecond
	return cfg
}

// mode says which legs carry TLS, and whether compression was agreed.
type mode struct{ client, backend, compressed bool }

var modes = []mode{{}, {client: true, backend: true}, {client: true}, {backend: true}}

func (m mode) String() string {
	name := map[bool]string{false: "ws", true: "wss"}
	return name[m.client] + "-" + name[m.backend]
}

// eachMode runs the test with plain legs and with TLS legs.
func eachMode(t *testing.T, test func(t *testing.T, m mode)) {
	for _, m := range modes[:2] {
		t.Run(m.String(), func(t *testing.T) { t.Parallel(); test(t, m) })
	}
}

// rig is a session between two raw peers.
type rig struct {
	*Relay
	engine  *Engine
	client  *peer
	backend *peer
	ended   chan ending.Outcome
}

// peer is the far end of a leg. It speaks frames by its own code, not by that
// under test.
type peer struct {
	net.Conn
	t    testing.TB
	name string
	in   *bufio.Reader
	mask bool // frames are masked
}

type observerFunc func(ending.Outcome)

func (f observerFunc) Ended(o ending.Outcome) { f(o) }

// newRig starts a session. The terms' reference is REF.
func newRig(t testing.TB, cfg Config, m mode, terms ending.Terms) *rig {
	t.Helper()
	return newRigBuffered(t, cfg, m, terms, nil, nil)
}

func newRigBuffered(t testing.TB, cfg Config, m mode, terms ending.Terms, fromClient, fromBackend []byte) *rig {
	t.Helper()
	return newRigOn(t, NewEngine(cfg), m, terms, fromClient, fromBackend)
}

func newRigOn(t testing.TB, e *Engine, m mode, terms ending.Terms, fromClient, fromBackend []byte) *rig {
	t.Helper()
	r := &rig{engine: e, ended: make(chan ending.Outcome, 2)}
	c, client := connect(t, m.client, false)
	b, backend := connect(t, m.backend, true)
	r.client = &peer{Conn: c, t: t, name: "client", in: bufio.NewReader(c), mask: true}
	r.backend = &peer{Conn: b, t: t, name: "backend", in: bufio.NewReader(b)}
	terms.Ref = "REF"
	terms.Observer = observerFunc(func(o ending.Outcome) { r.ended <- o })
	r.Relay = New(e, Leg{Conn: client, Buffered: fromClient, Compressed: m.compressed}, Leg{Conn: backend, Buffered: fromBackend, Compressed: m.compressed})
	if err := r.Start(terms); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		b.Close()
		r.Abort(ending.New(ending.Drain, ""))
	})
	return r
}

// connect returns the far end of a leg, and the leg's connection as the gateway
// holds it: as a TLS client towards backends, as a server towards clients.
func connect(t testing.TB, secure, gatewayDials bool) (far, near net.Conn) {
	t.Helper()
	far, near = tcpPair(t)
	if !secure {
		return far, near
	}
	server := &tls.Config{Certificates: []tls.Certificate{testCert()}}
	client := &tls.Config{InsecureSkipVerify: true}
	near = netpoll.UnderTLS(near)
	var f, n *tls.Conn
	if gatewayDials {
		f, n = tls.Server(far, server), tls.Client(near, client)
	} else {
		f, n = tls.Client(far, client), tls.Server(near, server)
	}
	done := make(chan error, 1)
	go func() { done <- f.Handshake() }()
	if err := errors.Join(n.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return f, n
}

// tcpPair returns two ends of a loopback connection.
func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	a, err = net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err = lis.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

var testCert = sync.OnceValue(func() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
})

// frame is a WebSocket frame as tests write and read it.
type wireFrame struct {
	first   byte // FIN, reserved bits and opcode
	payload []byte
}

func (f wireFrame) String() string {
	if len(f.payload) > 40 {
		return fmt.Sprintf("%02x[%d bytes]", f.first, len(f.payload))
	}
	return fmt.Sprintf("%02x[%q]", f.first, f.payload)
}

func text(s string) wireFrame { return wireFrame{0x81, []byte(s)} }
func ping(s string) wireFrame { return wireFrame{0x89, []byte(s)} }
func pong(s string) wireFrame { return wireFrame{0x8a, []byte(s)} }

func closing(code uint16, reason string) wireFrame {
	return wireFrame{0x88, append(binary.BigEndian.AppendUint16(nil, code), reason...)}
}

var emptyClose = wireFrame{0x88, nil}

// bytes encodes the frame, with the shortest length form.
func (f wireFrame) bytes(mask bool) []byte {
	b := []byte{f.first, 0}
	switch n := len(f.payload); {
	case n < 126:
		b[1] = byte(n)
	case n < 65536:
		b[1] = 126
		b = append(b, byte(n>>8), byte(n))
	default:
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	if !mask {
		return append(b, f.payload...)
	}
	b[1] |= 0x80
	key := make([]byte, 4)
	_, _ = rand.Read(key)
	b = append(b, key...)
	for i, c := range f.payload {
		b = append(b, c^key[i%4])
	}
	return b
}

// readFrame decodes one frame and checks its masking.
func readFrame(r io.Reader, masked bool) (wireFrame, error) {
	var h [2]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return wireFrame{}, err
	}
	f := wireFrame{first: h[0]}
	if h[1]&0x80 != 0 != masked {
		return f, fmt.Errorf("frame %02x: masked %v, want %v", h[0], !masked, masked)
	}
	n := uint64(h[1] & 0x7f)
	if n >= 126 {
		ext := make([]byte, map[uint64]int{126: 2, 127: 8}[n])
		if _, err := io.ReadFull(r, ext); err != nil {
			return f, err
		}
		n = 0
		for _, c := range ext {
			n = n<<8 | uint64(c)
		}
	}
	key := make([]byte, 4)
	if masked {
		if _, err := io.ReadFull(r, key); err != nil {
			return f, err
		}
	}
	f.payload = make([]byte, n)
	if _, err := io.ReadFull(r, f.payload); err != nil {
		return f, err
	}
	for i := range f.payload {
		f.payload[i] ^= key[i%4]
	}
	return f, nil
}

// bytesOf encodes frames.
func bytesOf(mask bool, frames ...wireFrame) (b []byte) {
	for _, f := range frames {
		b = append(b, f.bytes(mask)...)
	}
	return b
}

// send writes the frames in one write.
func (p *peer) send(frames ...wireFrame) {
	p.t.Helper()
	p.sendRaw(bytesOf(p.mask, frames...))
}

func (p *peer) sendRaw(b []byte) {
	p.t.Helper()
	_ = p.SetWriteDeadline(time.Now().Add(patience))
	if _, err := p.Write(b); err != nil {
		p.t.Fatalf("%s: write: %v", p.name, err)
	}
}

// next reads a frame. What the gateway sends to the client is never masked, what
// it sends to the backend always.
func (p *peer) next() (wireFrame, error) {
	_ = p.SetReadDeadline(time.Now().Add(patience))
	return readFrame(p.in, !p.mask)
}

// expect reads exactly these frames.
func (p *peer) expect(want ...wireFrame) {
	p.t.Helper()
	for i, w := range want {
		got, err := p.next()
		if err != nil {
			p.t.Fatalf("%s: frame %d: %v, want %v", p.name, i, err, w)
		}
		if got.first != w.first || !bytes.Equal(got.payload, w.payload) {
			p.t.Fatalf("%s: frame %d = %v, want %v", p.name, i, got, w)
		}
	}
}

// expectClose reads a close of the gateway's own with this code and word.
func (p *peer) expectClose(code uint16, word string) (reason string) {
	p.t.Helper()
	got, err := p.next()
	if err != nil {
		p.t.Fatalf("%s: %v, want close %d %s", p.name, err, code, word)
	}
	return p.isClose(got, code, word)
}

// isClose wants a frame to be a close of the gateway's own with this code and word.
func (p *peer) isClose(got wireFrame, code uint16, word string) (reason string) {
	p.t.Helper()
	if got.first != 0x88 || len(got.payload) < 2 || binary.BigEndian.Uint16(got.payload) != code {
		p.t.Fatalf("%s: %v, want close %d %s", p.name, got, code, word)
	}
	reason = string(got.payload[2:])
	if !strings.HasPrefix(reason, word+" ref=REF") {
		p.t.Fatalf("%s: close reason %q, want %q", p.name, reason, word+" ref=REF")
	}
	return reason
}

// expectEnd reads the orderly end of the connection.
func (p *peer) expectEnd() {
	p.t.Helper()
	f, err := p.next()
	if err == nil {
		p.t.Fatalf("%s: %v, want the end", p.name, f)
	}
	if !errors.Is(err, io.EOF) {
		p.t.Fatalf("%s: end = %v, want EOF", p.name, err)
	}
}

// expectGone reads up to the end of the connection, orderly or not, and returns
// what it was.
func (p *peer) expectGone() error {
	p.t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(patience))
	_, err := io.Copy(io.Discard, p.in)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		p.t.Fatalf("%s: connection is still open", p.name)
	}
	return err
}

// reset closes the peer's connection with a reset.
func (p *peer) reset() {
	c := p.Conn
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

// talk sends a message each way.
func (r *rig) talk() {
	r.client.send(text("hello"))
	r.backend.answerUntil(text("hello"))
	r.backend.send(text("hello"))
	r.client.answerUntil(text("hello"))
}

// answerUntil reads frames up to this one, or up to any ping, and answers pings.
func (p *peer) answerUntil(want wireFrame) {
	p.t.Helper()
	for {
		f, err := p.next()
		if err != nil {
			p.t.Fatalf("%s: %v, want %v", p.name, err, want)
		}
		if f.first == 0x89 {
			p.send(pong(string(f.payload)))
		}
		if f.first == want.first {
			return
		}
	}
}

// until waits until something has become true of the session, whose mutex is
// held when it is asked.
func (r *rig) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	until(t, what, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.checkInvariants(t)
		return done()
	})
}

// checkInvariants checks what the package comment says of a session. Its mutex is
// held.
func (r *rig) checkInvariants(t testing.TB) {
	t.Helper()
	for _, l := range r.legs() {
		in, out := &l.in, &l.out
		if out.stalled != 0 && out.state > closeQueued {
			t.Errorf("the %s's writer is stalled and %d", l.party(), out.state)
		}
		if l.waits() && (in.held == nil || r.closing != nil || r.limited.of(l).keep().limit == nil) {
			t.Errorf("the %s's leg is paused, and holds bytes: %t, limit: %v, closing: %v", l.party(), in.held != nil, r.limited.of(l).keep().limit, r.closing)
		}
		if in.held != nil && !in.relays() {
			t.Errorf("the %s's reader holds bytes and is %d", l.party(), in.state)
		}
		if (out.state == closeQueued || out.state == closeSent) && out.code == 0 || out.state == writing && out.code != 0 {
			t.Errorf("the %s's writer is %d with the code %d", l.party(), out.state, out.code)
		}
		if out.state == writeClosed && in.state != readClosed {
			t.Errorf("the %s's socket is closed and its reader %d", l.party(), in.state)
		}
		if out.state == closeQueued && r.closing == nil || out.state > writing && out.state != broken && r.ended == nil {
			t.Errorf("the %s's writer is %d in a session that lives", l.party(), out.state)
		}
	}
	if closed := r.Relay.client.out.state == writeClosed && r.Relay.backend.out.state == writeClosed; r.over != closed {
		t.Errorf("over = %t, both closed = %t", r.over, closed)
	}
}

// until waits until something has become true.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	poll, late := time.NewTicker(time.Millisecond), time.NewTimer(patience)
	defer poll.Stop()
	defer late.Stop()
	for !done() {
		select {
		case <-poll.C:
		case <-late.C:
			t.Fatalf("not so: %s", what)
		}
	}
}

// hangUp closes the peers' connections, for sessions that would wait for them.
func (r *rig) hangUp() {
	_, _ = r.client.Close(), r.backend.Close()
}

// outcome waits for the session's end.
func (r *rig) outcome(t testing.TB) ending.Outcome {
	t.Helper()
	select {
	case o := <-r.ended:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.checkInvariants(t)
		for _, l := range r.legs() {
			if !reflect.ValueOf(l.conn).IsZero() || l.in.held != nil {
				t.Errorf("the %s's leg has a socket or keeps bytes after the end", l.party())
			}
		}
		return o
	case <-time.After(patience):
		t.Fatal("session does not end")
		return ending.Outcome{}
	}
}

// check compares the ending and both legs' codes with the session's outcome.
func (r *rig) check(t testing.TB, by ending.Party, reason ending.Reason, clientSent, clientReceived, backendSent, backendReceived uint16) ending.Outcome {
	t.Helper()
	o := r.outcome(t)
	if o.Ending.By != by || o.Ending.Reason != reason {
		t.Errorf("ending = %v %v (%s), want %v %v", o.Ending.By, o.Ending.Reason, o.Ending.Detail, by, reason)
	}
	got := [4]uint16{o.Client.Sent, o.Client.Received, o.Backend.Sent, o.Backend.Received}
	if want := [4]uint16{clientSent, clientReceived, backendSent, backendReceived}; got != want {
		t.Errorf("codes (client sent, received, backend sent, received) = %v, want %v", got, want)
	}
	return o
}
