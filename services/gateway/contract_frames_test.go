package gateway

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"google.golang.org/protobuf/types/known/durationpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// maxMessage is the largest message in these tests.
const maxMessage = 100_000

// frames returns a world whose version raw leads to a backend that leaves its
// frames to the test, and the addresses of that version.
func frames(t *testing.T, edit func(*Config)) (w *world, b *rawBackend, urls []string) {
	t.Helper()
	w = newWorld(t)
	w.cfg.Relay.MaxMessage = maxMessage
	w.cfg.Relay.Close, w.cfg.Relay.Linger, w.cfg.Relay.Write = 300*time.Millisecond, 100*time.Millisecond, 300*time.Millisecond
	if edit != nil {
		edit(&w.cfg)
	}
	secure := w.withTLS()
	b = newRawBackend(t)
	b.serve(w, "raw")
	w.start()
	return w, b, []string{w.plain + "/x/raw", secure + "/x/raw"}
}

// TestFrames sends frames of all kinds through a gateway, both ways.
func TestFrames(t *testing.T) {
	w, b, urls := frames(t, nil)
	for _, url := range urls {
		client, backend := w.pair(b, url, nil)
		for _, way := range [][2]*end{{client, backend}, {backend, client}} {
			from, to := way[0], way[1]
			for _, size := range []int{0, 1, 125, 126, 65535, 65536, maxMessage} {
				for _, op := range []ws.OpCode{ws.OpText, ws.OpBinary} {
					f := ws.NewFrame(op, true, bytes.Repeat([]byte{0xfe}, size))
					from.send(f)
					to.expect(f)
				}
			}
			parts := []ws.Frame{
				ws.NewFrame(ws.OpBinary, false, []byte("one ")), ws.NewFrame(ws.OpContinuation, false, nil),
				ws.NewFrame(ws.OpContinuation, false, []byte("message")), ws.NewFrame(ws.OpContinuation, true, nil),
			}
			for i, f := range parts {
				from.send(f)
				to.expect(f)
				ping := fmt.Sprint("ping ", i)
				from.send(ws.NewPingFrame([]byte(ping)))
				from.expect(ws.NewPongFrame([]byte(ping)))
			}
		}
	}
}

// TestEndings ends sessions in the ways that need no control plane, and looks at
// what each side sees and what the record says.
func TestEndings(t *testing.T) {
	w, b, urls := frames(t, nil)
	closing := func(code ws.StatusCode, reason string) ws.Frame {
		return ws.NewCloseFrame(ws.NewCloseFrameBody(code, reason))
	}
	large := func() ws.Frame { return ws.NewBinaryFrame(make([]byte, maxMessage+1)) }
	const atClient, atBackend, atGateway = usagev1.SessionRecord_PARTY_CLIENT, usagev1.SessionRecord_PARTY_BACKEND, usagev1.SessionRecord_PARTY_GATEWAY
	for _, tt := range []struct {
		name            string
		do              func(client, backend *end)
		client, backend int // the code that each sees; 0: none, or it is gone itself
		by              usagev1.SessionRecord_Party
		word            string
	}{
		{"client closes", func(c, _ *end) { c.send(closing(4000, "bye")) }, 4000, 4000, atClient, "PEER_CLOSE"},
		{"backend closes", func(_, b *end) { b.send(closing(4321, "bye")) }, 4321, 4321, atBackend, "PEER_CLOSE"},
		{"empty close", func(c, _ *end) { c.send(ws.NewCloseFrame(nil)) }, 1005, 1005, atClient, "PEER_CLOSE"},
		{"client reset", func(c, _ *end) { c.reset() }, 0, 1001, atClient, "CLIENT_GONE"},
		{"client cut", func(c, _ *end) { _ = c.Close() }, 0, 1001, atClient, "CLIENT_GONE"},
		{"backend reset", func(_, b *end) { b.reset() }, 1013, 0, atBackend, "BACKEND_GONE"},
		{"backend cut", func(_, b *end) { _ = b.Close() }, 1013, 0, atBackend, "BACKEND_GONE"},
		{"client too big", func(c, _ *end) { _ = c.write(large()) }, 1009, 1001, atGateway, "TOO_BIG"},
		{"backend too big", func(_, b *end) { _ = b.write(large()) }, 1011, 1009, atGateway, "TOO_BIG"},
		{"client without a mask", func(c, _ *end) { _ = ws.WriteFrame(c.Conn, ws.NewTextFrame(nil)) }, 1002, 1001, atGateway, "PROTOCOL"},
		{"backend with a mask", func(_, b *end) { _ = ws.WriteFrame(b.Conn, ws.MaskFrame(ws.NewTextFrame(nil))) }, 1011, 1002, atGateway, "PROTOCOL"},
		{"client floods", flood, 1008, 1001, atGateway, "FLOOD"},
		{"backend floods", func(c, b *end) { flood(b, c) }, 1011, 1008, atGateway, "FLOOD"},
	} {
		for _, url := range urls {
			client, backend := w.pair(b, url, nil)
			client.send(ws.NewTextFrame([]byte(tt.name)))
			backend.expect(ws.NewTextFrame([]byte(tt.name)))
			tt.do(client, backend)
			begin := time.Now()
			codes, reasons := seen(client, backend)
			want := [2]int{tt.client, tt.backend}
			if codes != want {
				t.Errorf("%s, %s: the sides saw %d %q, want %d", tt.name, url, codes, reasons, want)
			}
			if took := time.Since(begin); took > patience {
				t.Errorf("%s, %s: the closes came after %v, want %v at most", tt.name, url, took, patience)
			}
			rec := w.nextRecord()
			if rec.GetEndedBy() != tt.by || rec.GetEndReason().String() != "END_REASON_"+tt.word || rec.GetInbound().GetMessages() < 1 || rec.GetLastInboundTime() == nil || rec.GetRouteChangeNumber() == 0 {
				t.Errorf("%s, %s: the record is %v, want one of %v, %s", tt.name, url, rec, tt.by, tt.word)
			}
			if tt.by == atGateway && (!strings.HasPrefix(reasons[0], tt.word+" ref=") || !strings.HasPrefix(reasons[1], tt.word+" ref=")) {
				t.Errorf("%s, %s: the reasons are %q, want %s and a ref", tt.name, url, reasons, tt.word)
			}
		}
	}
}

// flood sends three times as many pings as a second may have, all at once: of two
// seconds that they fall into, one has too many.
func flood(from, _ *end) {
	ping := ws.NewPingFrame(nil)
	if from.mask {
		ping = ws.MaskFrame(ping)
	}
	_, _ = from.Write(bytes.Repeat(ws.MustCompileFrame(ping), 300))
}

// seen reads both sides up to their closes, which they answer, and hangs up.
func seen(client, backend *end) (codes [2]int, reasons [2]string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		codes[1], reasons[1] = backend.closed()
	}()
	codes[0], reasons[0] = client.closed()
	<-done
	_, _ = client.Close(), backend.Close()
	return codes, reasons
}

// nextRecord waits for the record of the session that ended next.
func (w *world) nextRecord() *usagev1.SessionRecord {
	w.t.Helper()
	var found *usagev1.SessionRecord
	eventually(w.t, "the session's record is reported", func() bool {
		w.plane.mu.Lock()
		defer w.plane.mu.Unlock()
		if len(w.plane.records) > 0 {
			found, w.plane.records = w.plane.records[0], w.plane.records[1:]
		}
		return found != nil
	})
	return found
}

// TestSilentClientIsIdle: without a pong both sides are told.
func TestSilentClientIsIdle(t *testing.T) {
	w, b, urls := frames(t, func(c *Config) { c.Relay.Ping, c.Relay.Pong = 100*time.Millisecond, 200*time.Millisecond })
	for _, url := range urls {
		client, backend := w.pair(b, url, nil)
		over := make(chan int)
		go func() { // a backend that is there
			for {
				f, err := backend.next()
				switch {
				case err != nil:
					over <- 0
					return
				case f.Header.OpCode == ws.OpClose:
					code, _ := ws.ParseCloseFrameData(f.Payload)
					over <- int(code)
					return
				case f.Header.OpCode == ws.OpPing:
					_ = backend.write(ws.NewPongFrame(f.Payload))
				}
			}
		}()
		code, reason := client.closed()
		if atBackend := <-over; code != 1001 || !strings.HasPrefix(reason, "IDLE ref=") || atBackend != 1001 {
			t.Errorf("%s: closed with %d %q, the backend with %d, want 1001 IDLE", url, code, reason, atBackend)
		}
		if rec := w.record(reason); rec.GetEndReason() != usagev1.EndReason_END_REASON_IDLE {
			t.Errorf("%s: the record is %v, want IDLE", url, rec)
		}
	}
}

// TestMaximumAge: sessions of the API's age end with 1012 and a hint.
func TestMaximumAge(t *testing.T) {
	w, b, _ := frames(t, nil)
	r := w.open()
	r.Endpoints.Production, r.MaxSessionAge = endpoint("ws://"+b.Addr().String()), durationpb.New(300*time.Millisecond)
	w.plane.put(r)
	w.settled()
	begin := time.Now()
	client, backend := w.pair(b, w.plain+"/x/open", nil)
	codes, reasons := seen(client, backend)
	if codes != [2]int{1012, 1001} || !strings.HasPrefix(reasons[0], "MAX_AGE ref=") || !strings.Contains(reasons[0], " retry=") {
		t.Errorf("closed with %d %q, want 1012 MAX_AGE with a hint", codes, reasons)
	}
	if took := time.Since(begin); took < 250*time.Millisecond || took > patience {
		t.Errorf("the close came after %v, want 270 to 300 ms", took)
	}
}

// TestIdleTimeout: a session ends after the version's time without a message, though its
// client is there and pings.
func TestIdleTimeout(t *testing.T) {
	w, b, _ := frames(t, nil)
	r := w.open()
	r.Endpoints.Production, r.IdleTimeout = endpoint("ws://"+b.Addr().String()), durationpb.New(300*time.Millisecond)
	w.plane.put(r)
	w.settled()
	client, backend := w.pair(b, w.plain+"/x/open", nil)
	if err := client.write(ws.NewPingFrame([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	if f, err := client.next(); err != nil || f.Header.OpCode != ws.OpPong {
		t.Fatalf("a ping is answered with %v, %v", f.Header, err)
	}
	codes, reasons := seen(client, backend)
	if codes != [2]int{1001, 1001} || !strings.HasPrefix(reasons[0], "IDLE ref=") {
		t.Errorf("closed with %d %q, want 1001 IDLE", codes, reasons)
	}
	if rec := w.record(reasons[0]); rec.GetEndReason() != usagev1.EndReason_END_REASON_IDLE || rec.GetDetail() != "no message for 300ms" {
		t.Errorf("the record is %v, want IDLE", rec)
	}
}

// TestSlowReader: a client that takes no bytes is cut, its backend told 1013, and
// no more than the sockets hold was read from it.
func TestSlowReader(t *testing.T) {
	w, b, urls := frames(t, nil)
	for _, url := range urls {
		_, backend := w.pair(b, url, nil)
		sent := make(chan int)
		go func() {
			n := 0
			for f := ws.NewBinaryFrame(make([]byte, maxMessage)); backend.write(f) == nil && n < 1000; n++ {
			}
			sent <- n
		}()
		code, reason := backend.closed()
		_ = backend.Close()
		if n := <-sent; code != 1013 || !strings.HasPrefix(reason, "SLOW ref=") || n == 1000 {
			t.Errorf("%s: the backend was closed with %d %q after %d messages, want 1013 SLOW", url, code, reason, n)
		}
		if rec := w.record(reason); rec.GetEndReason() != usagev1.EndReason_END_REASON_SLOW {
			t.Errorf("%s: the record is %v, want SLOW", url, rec)
		}
	}
}

// limit is how long an end may take, by the contract.
const limit = time.Second

// TestListenersEnd: clients that only listen to a busy backend are told as well
// that their tokens ended, in time. The machine may be late, but not three times.
func TestListenersEnd(t *testing.T) {
	w := newWorld(t)
	b := newRawBackend(t)
	r := w.route("1")
	r.Endpoints.Production = endpoint("ws://" + b.Addr().String())
	w.plane.put(r)
	w.start()
	for _, tt := range []struct {
		word string
		life time.Duration
		end  func(name string) (at time.Time)
	}{
		{"EXPIRED", 3 * time.Second, func(name string) time.Time { return w.plane.tokens[name].expires }},
		{"REVOKED", time.Hour, func(name string) time.Time {
			begin := time.Now()
			w.plane.end(backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED, func(n string, _ *token) bool { return n == name })
			w.plane.touch(backplanev1.GrantEvent_CAUSE_TOKEN_REVOKED, "grants/"+name)
			return begin
		}},
	} {
		var took []time.Duration
		for i := 0; i < 3 && (i == 0 || took[i-1] > limit); i++ {
			name := w.plane.issue(fmt.Sprint("token-", tt.word, i), "subscriptions/1", tt.life)
			took = append(took, w.listenerEnds(b, name, tt.word, tt.end))
		}
		if slices.Min(took) > limit {
			t.Errorf("%s: the closes came after %v, want %v at most", tt.word, took, limit)
		}
	}
}

// listenerEnds has a client listen until its token ends, and returns how long
// after that it was told.
func (w *world) listenerEnds(b *rawBackend, token, word string, end func(token string) (at time.Time)) time.Duration {
	w.t.Helper()
	client, backend := w.pair(b, w.plain+"/x/1", bearer(token))
	busy := make(chan struct{})
	go func() {
		defer close(busy)
		pace := time.NewTicker(time.Millisecond) // or the close would stand behind megabytes
		defer pace.Stop()
		for backend.write(ws.NewTextFrame([]byte("news"))) == nil {
			<-pace.C
		}
	}()
	client.expect(ws.NewTextFrame([]byte("news")))
	begin := end(token)
	code, reason := client.closed()
	took := time.Since(begin)
	if code != 4001 || !strings.HasPrefix(reason, word+" ref=") {
		w.t.Errorf("closed with %d %q, want 4001 %s", code, reason, word)
	}
	if code, _ := backend.closed(); code != 1001 {
		w.t.Errorf("%s: the backend was closed with %d, want 1001", word, code)
	}
	_ = backend.Close()
	<-busy
	return took
}

// TestPingsOfTheVersion: a version chooses who is sent pings; who is sent none may be
// silent for as long as it likes.
func TestPingsOfTheVersion(t *testing.T) {
	w, b, _ := frames(t, func(c *Config) { c.Relay.Ping, c.Relay.Pong = 20*time.Millisecond, 10*time.Second })
	for pings, toClient := range map[catalogv1.Version_Pings]bool{catalogv1.Version_PINGS_CLIENTS: true, catalogv1.Version_PINGS_BACKENDS: false} {
		r := w.open()
		r.Name, r.Version, r.Pings = "apis/x/versions/"+pings.String(), pings.String(), pings
		r.Endpoints = &catalogv1.Endpoints{Production: endpoint("ws://" + b.Addr().String())}
		w.plane.put(r)
		w.settled()
		client, backend := w.pair(b, w.plain+"/x/"+r.GetVersion(), nil)
		pinged, silent := client, backend
		if !toClient {
			pinged, silent = backend, client
		}
		for range 3 {
			f, err := pinged.next()
			if err != nil || f.Header.OpCode != ws.OpPing {
				t.Fatalf("%v: the %s reads %v, %v, want a ping", pings, pinged.name, f.Header, err)
			}
			pinged.send(ws.NewPongFrame(f.Payload))
		}
		pinged.send(ws.NewTextFrame([]byte("through")))
		silent.expect(ws.NewTextFrame([]byte("through")))
	}
}
