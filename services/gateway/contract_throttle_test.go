package gateway

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"
	"google.golang.org/protobuf/types/known/durationpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// withTLSBackend has the gateway trust a backend of TLS, before it is started.
func (w *world) withTLSBackend() *rawBackend {
	w.t.Helper()
	srv := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	defer srv.Close()
	file := filepath.Join(w.t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.cfg.Upstream.CAFile = file
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	return newRawBackendOn(w.t, tls.NewListener(l, &tls.Config{Certificates: srv.TLS.Certificates}))
}

// cutStream is a stream that a rate of bytes that is used up leaves one message of, and how
// many messages it drops. What passes begins with an empty frame. The stream begins with a
// ping, which is not cut.
func cutStream(mask bool, number int) (stream []byte, ping, passes string, dropped int) {
	ping, passes = fmt.Sprint(number), fmt.Sprint("passed ", number)
	for _, f := range []ws.Frame{
		ws.NewPingFrame([]byte(ping)),
		ws.NewFrame(ws.OpText, false, nil), ws.NewPingFrame([]byte(ping)), ws.NewFrame(ws.OpContinuation, false, []byte(passes[:3])),
		ws.NewFrame(ws.OpContinuation, true, []byte(passes[3:])),
		ws.NewBinaryFrame(bytes.Repeat([]byte("d"), 126)),
		ws.NewFrame(ws.OpText, false, []byte("drop")), ws.NewFrame(ws.OpContinuation, false, []byte("p")), ws.NewPingFrame([]byte(ping)),
		ws.NewFrame(ws.OpContinuation, true, []byte("ed")),
	} {
		if mask {
			f = ws.MaskFrame(f)
		}
		stream = append(stream, ws.MustCompileFrame(f)...)
	}
	return stream, ping, passes, 2
}

// TestDropOfFragmentsCutAnywhere sends messages of several frames, with pings inside, of
// which a limit drops some, in two writes that are parted at every byte, either way: what a
// client library reads are whole messages that pass, in order, and error frames, and the
// record counts what was dropped.
func TestDropOfFragmentsCutAnywhere(t *testing.T) {
	const cuts = 20 // in a session: more empty frames and pings in a second are a flood
	w := newWorld(t)
	secure := w.withTLS()
	b := w.withTLSBackend()
	own := func(way catalogv1.Direction) *catalogv1.Limit {
		l := perHour("bytes", catalogv1.Unit_UNIT_BYTES, 10, way, catalogv1.Limit_REACTION_DROP)
		l.GetRate().PerConnection = true
		return l
	}
	w.plane.putPlan("client", own(catalogv1.Direction_DIRECTION_FROM_CLIENT))
	w.plane.putPlan("backend", own(catalogv1.Direction_DIRECTION_FROM_BACKEND))
	w.likeWSO2("client", func(r *backplanev1.Route) { r.TrafficPlan = "plans/client" })
	w.likeWSO2("backend", func(r *backplanev1.Route) {
		r.TrafficPlan, r.Endpoints = "plans/backend", &catalogv1.Endpoints{Production: endpoint("wss://" + b.Addr().String())}
	})
	w.plane.issue("t", "subscriptions/1", time.Hour)
	w.start()
	var sessions, dropped int
	for _, version := range []string{"client", "backend"} {
		for _, url := range []string{w.plain, secure} {
			masked := version == "client"
			length, _, _, _ := cutStream(masked, 100)
			begin := 5 // after the ping
			if masked {
				begin = 9
			}
			for at := begin; at < len(length); at += cuts {
				pongs := make(chan string, 4*cuts)
				client, conn := w.wired(url+"/x/"+version, "t", pongs)
				sends := conn
				if !masked {
					backend := <-b.ends
					t.Cleanup(func() { _ = backend.Close() })
					go backend.obey(pongs)
					sends = backend
				}
				first := ws.NewTextFrame([]byte("0123456789")) // takes all there is
				if masked {
					first = ws.MaskFrame(first)
				}
				parts, want, due := []part{{ws.MustCompileFrame(first), ""}}, []string{"0123456789"}, 0
				for cut := at; cut < min(at+cuts, len(length)); cut++ {
					stream, ping, passes, n := cutStream(masked, 100+cut-at)
					parts, want, due = append(parts, part{stream[:cut], ping}, part{stream[cut:], ""}), append(want, passes), due+n
				}
				last, _, passes, n := cutStream(masked, 999)
				parts, want = append(parts, part{last, ""}), append(want, passes)
				sent := make(chan error, 1)
				go func() { sent <- inParts(sends, parts, pongs) }()
				notices := w.hearsAll(client, want)
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
				if notices == 0 || notices > due+n {
					t.Errorf("%s, cut from %d on: %d error frames for %d dropped messages", version, at, notices, due)
				}
				_ = client.Close(websocket.StatusNormalClosure, "") // reads what is left
				sessions, dropped = sessions+1, dropped+due+n
			}
		}
	}
	if err := w.shut(); err != nil {
		t.Errorf("Run = %v", err)
	}
	if len(w.plane.records) != sessions {
		t.Errorf("%d records, want %d", len(w.plane.records), sessions)
	}
	for _, r := range w.plane.records {
		if len(r.GetLimits()) != 1 || r.GetEndReason() != usagev1.EndReason_END_REASON_PEER_CLOSE {
			t.Errorf("the record is %v, want one of a limit and a client that closed", r)
			continue
		}
		dropped -= int(r.GetLimits()[0].GetDroppedMessages())
	}
	if dropped != 0 {
		t.Errorf("the records have %d dropped messages too few", dropped)
	}
}

// part is what is written at once. A ping in it says, by its pong, that the gateway has read
// it; "" for none.
type part struct {
	bytes []byte
	ping  string
}

// inParts writes each part when the gateway has read the one before.
func inParts(conn net.Conn, parts []part, pongs <-chan string) error {
	for _, p := range parts {
		if _, err := conn.Write(p.bytes); err != nil {
			return err
		}
		for got := ""; got != p.ping; {
			select {
			case got = <-pongs:
			case <-time.After(patience):
				return fmt.Errorf("no pong of %q came", p.ping)
			}
		}
	}
	return nil
}

// obey reads what comes, tells of pongs, and answers a close.
func (e *end) obey(pongs chan<- string) {
	for {
		f, err := e.next()
		if err != nil {
			return
		}
		switch f.Header.OpCode {
		case ws.OpPong:
			pongs <- string(f.Payload)
		case ws.OpClose:
			_ = e.write(ws.NewCloseFrame(f.Payload))
			return
		}
	}
}

// wired connects, and returns what the client is wired with too: what is written there
// goes out as it is. It tells of pongs while it reads.
func (w *world) wired(url, token string, pongs chan<- string) (*websocket.Conn, net.Conn) {
	w.t.Helper()
	client := trusting(w.t)
	transport := client.Transport.(*http.Transport)
	var wire net.Conn
	transport.DialContext = func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
		wire, err = (&net.Dialer{}).DialContext(ctx, network, addr)
		return wire, err
	}
	transport.DialTLSContext = func(ctx context.Context, network, addr string) (_ net.Conn, err error) {
		wire, err = (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, network, addr)
		return wire, err
	}
	//nolint:bodyclose // the library documents that the body of this response need not be closed
	c, _, err := websocket.Dial(w.t.Context(), url, &websocket.DialOptions{
		HTTPClient: client, HTTPHeader: bearer(token), OnPongReceived: func(_ context.Context, payload []byte) { pongs <- string(payload) },
	})
	if err != nil {
		w.t.Fatalf("dial %s: %v", url, err)
	}
	w.t.Cleanup(func() { _ = c.CloseNow() })
	return c, wire
}

// hearsAll reads until these messages have come, in this order, and returns how many error
// frames came in between.
func (w *world) hearsAll(c *websocket.Conn, want []string) (notices int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	for _, text := range want {
		for {
			kind, got, err := c.Read(ctx)
			if err != nil || kind != websocket.MessageText {
				w.t.Fatalf("read %v %q, %v, want %q", kind, got, err, text)
			}
			if string(got) == text {
				break
			}
			if string(got) != throttledOut {
				w.t.Fatalf("read %q, want %q", got, text)
			}
			notices++
		}
	}
	return notices
}

// TestFloodingSessionsArePausedFairly has eight sessions flood through a rate that pauses,
// in writes of all sizes. Nothing is lost or out of order, and when half of all has passed
// nobody has got less than half of an equal part.
func TestFloodingSessionsArePausedFairly(t *testing.T) {
	const sessions, each, decided = 8, 250, 1000
	w, b, _ := frames(t, nil)
	flood := perHour("messages-rate", catalogv1.Unit_UNIT_MESSAGES, 1, catalogv1.Direction_DIRECTION_FROM_CLIENT, catalogv1.Limit_REACTION_PAUSE)
	flood.GetRate().LongestPause = durationpb.New(time.Minute)
	w.plane.putPlan("flood", flood)
	r := w.open()
	r.TrafficPlan, r.Endpoints = "plans/flood", &catalogv1.Endpoints{Production: endpoint("ws://" + b.Addr().String())}
	w.plane.put(r)
	w.settled()
	var got [sessions]atomic.Int64
	var sum atomic.Int64
	parts, done := make(chan [sessions]int64, 1), make(chan error, 2*sessions)
	ends := make([]*end, 0, sessions)
	for i, size := range []int{250, 1, 25, 1, 250, 10, 5, 2} {
		client, backend := w.pair(b, w.plain+"/x/open", nil)
		ends = append(ends, client, backend)
		go func() {
			for n := range uint32(each) {
				f, err := backend.next()
				if err != nil || len(f.Payload) != 4 || binary.BigEndian.Uint32(f.Payload) != n {
					done <- fmt.Errorf("session %d: %v %x, %w instead of message %d", i, f.Header, f.Payload, err, n)
					return
				}
				got[i].Add(1)
				if sum.Add(1) == decided {
					var all [sessions]int64
					for i := range all {
						all[i] = got[i].Load()
					}
					parts <- all
				}
			}
			done <- nil
		}()
		go func() {
			var b []byte
			for n := range uint32(each) {
				b = append(b, ws.MustCompileFrame(ws.MaskFrame(ws.NewBinaryFrame(binary.BigEndian.AppendUint32(nil, n))))...)
				if (int(n)+1)%size == 0 || n == each-1 {
					if _, err := client.Write(b); err != nil {
						done <- err
						return
					}
					b = b[:0]
				}
			}
			done <- nil
		}()
	}
	api, ctx := w.sessions()
	eventually(t, "all are paused", func() bool {
		list, err := api.ListSessions(ctx, &gatewayv1.ListSessionsRequest{Parent: "gateways/gateway-1"})
		paused := 0
		for _, s := range list.GetSessions() {
			if s.GetPausedSinceTime() != nil {
				paused++
			}
		}
		return err == nil && paused == sessions
	})
	wider := perHour("messages-rate", catalogv1.Unit_UNIT_MESSAGES, 20, catalogv1.Direction_DIRECTION_FROM_CLIENT, catalogv1.Limit_REACTION_PAUSE)
	wider.GetRate().Amount, wider.GetRate().Per = 10_000, durationpb.New(time.Second)
	w.plane.putPlan("flood", wider)
	for i, n := range <-parts {
		if n < decided/sessions/2 {
			t.Errorf("session %d got %d of %d messages, want half of an equal part at least", i, n, decided)
		}
	}
	for range 2 * sessions {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	for _, e := range ends {
		_ = e.Close()
	}
	for range sessions {
		r := w.nextRecord()
		l := r.GetLimits()
		if len(l) != 1 || l[0].GetPauses() == 0 || l[0].GetDroppedMessages() != 0 || r.GetInbound().GetMessages() != each {
			t.Errorf("the record is %v, want one of %d messages, of which some were paused", r, each)
		}
	}
}

// swallower is a network between clients and the gateway that can cease to be: it takes and
// brings no byte any more, and ends no connection.
type swallower struct {
	net.Listener
	conns chan net.Conn
}

// newSwallower forwards connections to an address until it swallows.
func newSwallower(t *testing.T, to string) *swallower {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &swallower{l, make(chan net.Conn, 16)}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				s.conns <- pair[0]
				go func() { _, _ = io.Copy(hidden{pair[0]}, hidden{pair[1]}) }() // by reads and writes, which have an end
			}
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		for len(s.conns) > 0 {
			_ = (<-s.conns).Close()
		}
	})
	return s
}

// hidden is a connection of which no more is known than that it is read and written.
type hidden struct{ io.ReadWriter }

// swallow makes the network of all that is connected cease to be.
func (s *swallower) swallow() {
	for range len(s.conns) {
		c := <-s.conns
		_ = c.SetDeadline(time.Unix(1, 0))
		s.conns <- c
	}
}

// from connects from an address of this machine.
func (w *world) from(ip, url, token string) (*websocket.Conn, int) {
	w.t.Helper()
	client := trusting(w.t)
	client.Transport.(*http.Transport).DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}).DialContext
	c, resp, err := websocket.Dial(w.t.Context(), url, &websocket.DialOptions{HTTPClient: client, HTTPHeader: bearer(token)}) //nolint:bodyclose // Dial has read the body
	if resp == nil {
		w.t.Fatalf("dial %s: %v", url, err)
	}
	if c != nil {
		w.t.Cleanup(func() { _ = c.CloseNow() })
	}
	return c, resp.StatusCode
}

// TestNetworkChanged: a client whose network is gone, so that its connection does not end,
// comes from another address: it gets in at once, though the gateway still has much to say
// on the old one, which ends as replaced.
func TestNetworkChanged(t *testing.T) {
	w := newWorld(t)
	w.cfg.Relay.Close, w.cfg.Relay.Linger = 100*time.Millisecond, 50*time.Millisecond
	b := newRawBackend(t)
	one := connections(1)
	one.Reaction = catalogv1.Limit_REACTION_CLOSE_OLDEST
	w.plane.putPlan("one", one)
	r := w.route("1")
	r.Endpoints = &catalogv1.Endpoints{Production: endpoint("ws://" + b.Addr().String())}
	w.plane.put(r)
	token := w.plane.subscribe("t", "plans/one", "")
	w.start()
	for _, busy := range []bool{false, true} {
		network := newSwallower(t, strings.TrimPrefix(w.plain, "ws://"))
		old, oldBackend := w.pair(b, "ws://"+network.Addr().String()+"/x/1", bearer(token))
		oldBackend.send(ws.NewTextFrame([]byte("hello")))
		old.expect(ws.NewTextFrame([]byte("hello")))
		network.swallow()
		if busy { // until no more goes
			_ = oldBackend.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			for big := ws.NewBinaryFrame(make([]byte, 1<<20)); oldBackend.write(big) == nil; {
			}
			_ = oldBackend.SetWriteDeadline(time.Time{})
		}
		c, status := w.from("127.0.0.2", w.plain+"/x/1", token)
		if status != http.StatusSwitchingProtocols {
			t.Fatalf("busy %t: from the new network: %d, want 101", busy, status)
		}
		backend := <-b.ends
		if err := c.Write(t.Context(), websocket.MessageText, []byte("again")); err != nil {
			t.Fatal(err)
		}
		backend.expect(ws.NewTextFrame([]byte("again")))
		if code, reason := oldBackend.closed(); code != 1001 || !strings.HasPrefix(reason, "REPLACED ref=") {
			t.Errorf("busy %t: the backend of the old session was closed with %d %q, want 1001 REPLACED", busy, code, reason)
		}
		rec := w.nextRecord()
		if rec.GetEndReason() != usagev1.EndReason_END_REASON_REPLACED || !strings.HasPrefix(rec.GetClientAddress(), "127.0.0.1:") || rec.GetEndedBy() != usagev1.SessionRecord_PARTY_GATEWAY ||
			len(rec.GetLimits()) != 1 || rec.GetLimits()[0].GetLimit() != "connections" || rec.GetLimits()[0].GetClosedSessions() != 1 || rec.GetTruncated() != busy {
			t.Errorf("busy %t: the record is %v, want REPLACED by the limit connections", busy, rec)
		}
		_ = c.CloseNow()
		_, _ = oldBackend.Close(), backend.Close()
		if rec := w.nextRecord(); rec.GetEndReason() == usagev1.EndReason_END_REASON_REPLACED || !strings.HasPrefix(rec.GetClientAddress(), "127.0.0.2:") {
			t.Errorf("busy %t: the record of the newcomer is %v", busy, rec)
		}
	}
}

// TestSilentHolderOfASeat: a client whose network is gone holds the only seat of a plan that
// refuses. Whoever comes is refused until the holder has been silent long enough to be asked
// whether it is still there; when it has not answered, the newcomer has the seat.
func TestSilentHolderOfASeat(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a client to be silent")
	}
	t.Parallel()
	w := newWorld(t)
	w.cfg.Relay.Close, w.cfg.Relay.Linger = 100*time.Millisecond, 50*time.Millisecond
	w.plane.putPlan("one", connections(1))
	w.plane.put(w.route("1"))
	token := w.plane.subscribe("t", "plans/one", "")
	w.start()
	network := newSwallower(t, strings.TrimPrefix(w.plain, "ws://"))
	old, status := w.from("127.0.0.1", "ws://"+network.Addr().String()+"/x/1", token)
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("the first: %d, want 101", status)
	}
	echoes(t, old, "hello")
	network.swallow()
	w.full("1", token)
	var c *websocket.Conn
	pause := time.NewTicker(100 * time.Millisecond)
	defer pause.Stop()
	for end := time.Now().Add(3 * patience); c == nil; <-pause.C {
		if c, status = w.from("127.0.0.2", w.plain+"/x/1", token); c == nil && (status != http.StatusTooManyRequests || time.Now().After(end)) {
			t.Fatalf("a newcomer: %d, want 429 and then 101", status)
		}
	}
	echoes(t, c, "there")
	_ = c.Close(websocket.StatusNormalClosure, "")
	if rec := w.nextRecord(); rec.GetCode() != "CONNECTIONS_FULL" {
		t.Errorf("the first record is %v, want that of a newcomer who was refused", rec)
	}
	eventually(t, "the holder's session has ended", func() bool {
		w.plane.mu.Lock()
		defer w.plane.mu.Unlock()
		return slices.ContainsFunc(w.plane.records, func(r *usagev1.SessionRecord) bool {
			return r.GetEndReason() == usagev1.EndReason_END_REASON_IDLE && strings.HasPrefix(r.GetClientAddress(), "127.0.0.1:")
		})
	})
}

// TestPlansOfLiveSessionsChange: a plan that is edited, a subscription that is moved, an
// application that is given a plan and a version that is given one hold for the next message
// of a session that lives, wider or tighter, within a second and without a close.
func TestPlansOfLiveSessionsChange(t *testing.T) {
	w := newWorld(t)
	both := catalogv1.Direction_DIRECTION_BOTH
	at := func(burst int64) *catalogv1.Limit {
		return perHour("messages-rate", catalogv1.Unit_UNIT_MESSAGES, burst, both, catalogv1.Limit_REACTION_DROP)
	}
	w.plane.putPlan("tight", at(1)) // of which a message takes all, so that no echo comes
	w.plane.putPlan("wide", at(1000))
	w.plane.putPlan("edited", at(1000))
	w.likeWSO2("1", nil)
	w.start()
	change := map[string]func(tight bool, token string){
		"plan edited": func(tight bool, _ string) {
			w.plane.putPlan("edited", at(map[bool]int64{true: 1, false: 1000}[tight]))
		},
		"subscription moved": func(tight bool, token string) {
			w.plane.give(token, map[bool]string{true: "plans/tight", false: "plans/wide"}[tight], "")
		},
		"application given a plan": func(tight bool, token string) {
			w.plane.give(token, "plans/wide", map[bool]string{true: "plans/tight"}[tight])
		},
		"version given a plan": func(tight bool, _ string) {
			w.likeWSO2("1", func(r *backplanev1.Route) { r.TrafficPlan = map[bool]string{true: "plans/tight"}[tight] })
		},
	}
	for name, do := range change {
		token := w.plane.subscribe(strings.ReplaceAll(name, " ", "-"), "plans/edited", "")
		c := w.connect("1", token)
		echoes(t, c, "wide")
		var took []time.Duration
		for i := 0; i < 3 && (i == 0 || took[i-1] > limit); i++ {
			var slowest time.Duration
			for _, tight := range []bool{true, false, true, false} {
				want := map[bool]string{true: throttledOut, false: "message"}[tight]
				begin := time.Now()
				do(tight, token)
				eventually(t, fmt.Sprintf("%s, tight %t: %q comes", name, tight, want), func() bool { return w.said(c, "message") == want })
				slowest = max(slowest, time.Since(begin))
			}
			took = append(took, slowest)
		}
		if slices.Min(took) > limit {
			t.Errorf("%s: it held after %v, want %v at most", name, took, limit)
		}
		_ = c.Close(websocket.StatusNormalClosure, "")
		if rec := w.nextRecord(); rec.GetEndReason() != usagev1.EndReason_END_REASON_PEER_CLOSE {
			t.Errorf("%s: the record is %v, want that the client closed", name, rec)
		}
	}
}
