package handshake

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/credential"
	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/refusal"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/kit/apikey"
)

// firstMessage has a version take its credential in the first message.
func firstMessage(m credential.Message, before ...credential.Place) func(*routes.Route) {
	return func(r *routes.Route) {
		r.Schemes = []credential.Scheme{{Type: credential.OAuth2, Places: append(before, credential.Place{Part: credential.FirstMessage, Message: &m})}}
	}
}

// method is a message such as {"method":"TOKEN_AUTH","token":"…"}.
func method() credential.Message {
	return credential.Message{Pointer: credential.Pointer{"token"}, If: &credential.Condition{Pointer: credential.Pointer{"method"}, Value: "TOKEN_AUTH"}}
}

// opened sends a handshake that is answered 101 before its credential.
func (w *world) opened(t *testing.T, lines string) (net.Conn, answer) {
	t.Helper()
	conn := w.dial(false)
	w.send(conn, request("/echo/1.0.0", lines))
	a := w.receive(conn)
	if a.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answer = %d %s, want 101 before the credential", a.StatusCode, a.Detail)
	}
	return conn, a
}

// masked is a frame as clients send it.
func masked(f ws.Frame) string {
	var b bytes.Buffer
	_ = ws.WriteFrame(&b, ws.MaskFrame(f))
	return b.String()
}

// comesFrame reads a frame, and returns its opcode and payload.
func comesFrame(t *testing.T, br *bufio.Reader) (ws.OpCode, string) {
	t.Helper()
	f, err := readFrame(br)
	if err != nil {
		t.Fatalf("read a frame: %v", err)
	}
	return f.Header.OpCode, string(f.Payload)
}

// comesClose reads a close and what the connection ends with.
func comesClose(t *testing.T, br *bufio.Reader) (code uint16, reason string) {
	t.Helper()
	op, payload := comesFrame(t, br)
	if op != ws.OpClose || len(payload) < 2 {
		t.Fatalf("frame %v %q, want a close", op, payload)
	}
	if rest, err := io.ReadAll(br); err != nil || len(rest) > 0 {
		t.Errorf("after the close: %q, %v, want EOF", rest, err)
	}
	return binary.BigEndian.Uint16([]byte(payload)), payload[2:]
}

// TestFirstMessage has clients show the credential in their first message, in all forms,
// and wants their session to go on with what follows.
func TestFirstMessage(t *testing.T) {
	for _, tt := range []struct {
		name    string
		message credential.Message
		send    string
		passed  string // the first message that the backend sends back, before "hello"
	}{
		{"the whole text", credential.Message{}, textFrame("good"), ""},
		{"white space around it", credential.Message{}, textFrame(" good\n"), ""},
		{"JSON", credential.Message{Pointer: credential.Pointer{"a", "1", "t/~"}}, textFrame(`{"a":[0,{"t/~":"good"}]}`), ""},
		{"a condition", method(), textFrame(`{"method":"TOKEN_AUTH","token":"good","rem":true}`), ""},
		{"fragments, and a ping between them", method(), masked(ws.NewFrame(ws.OpText, false, []byte(`{"method":"TOKEN`))) + masked(ws.NewFrame(ws.OpContinuation, false, []byte(`_AUTH","tok`))) +
			masked(ws.NewFrame(ws.OpContinuation, true, []byte(`en":"good"}`))), ""},
		{"passed on", credential.Message{PassOn: true}, textFrame("good"), "good"},
		{"fragments that are passed on", credential.Message{PassOn: true}, masked(ws.NewFrame(ws.OpText, false, []byte("go"))) + masked(ws.NewFrame(ws.OpContinuation, true, []byte("od"))), "good"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			backend := newEcho(t, nil)
			w.serve(backend.url, firstMessage(tt.message))
			conn, a := w.opened(t, "")
			w.send(conn, tt.send+textFrame("hello"))
			if op, got := comesFrame(t, a.br); op != ws.OpText || tt.passed != "" && got != tt.passed || tt.passed == "" && got != "hello" {
				t.Errorf("the first message back is %v %q", op, got)
			}
			if tt.passed != "" {
				if _, got := comesFrame(t, a.br); got != "hello" {
					t.Errorf("then %q, want hello", got)
				}
			}
			if asked := w.grants.asked; len(asked) != 1 || asked[0] != "good apis/echo/versions/1" {
				t.Errorf("asked about %q", asked)
			}
			if r := <-backend.requests; len(r.Header["Authorization"]) > 0 || r.URL.RawQuery != "" {
				t.Errorf("the backend was asked %s with %v", r.RequestURI, r.Header)
			}
		})
	}
}

// The places before it are looked at in the handshake: such a client sends no message, and is
// answered 101 once the backend has been.
func TestFirstMessageStandsLast(t *testing.T) {
	w := newWorld(t, nil)
	backend := newEcho(t, nil)
	w.serve(backend.url, firstMessage(credential.Message{}, credential.OAuth2Places()...))
	if a := w.ask("/echo/1.0.0", good); a.StatusCode != 101 {
		t.Fatalf("answer = %d %s", a.StatusCode, a.Detail)
	}
	<-backend.requests
	if a := w.ask("/echo/1.0.0", "Authorization: Bearer nobody\r\n"); a.StatusCode != 401 || a.Code != "CREDENTIAL_INVALID" {
		t.Errorf("a credential that is not good: %d %s, want 401: no other place is tried", a.StatusCode, a.Code)
	}
	conn, a := w.opened(t, "")
	w.send(conn, textFrame("good")+textFrame("x"))
	if _, got := comesFrame(t, a.br); got != "x" {
		t.Errorf("the message back is %q", got)
	}
}

// TestFirstMessageRefused: what is wrong after the 101 is a close, with a record.
func TestFirstMessageRefused(t *testing.T) {
	refuses := saying(t, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
	for _, tt := range []struct {
		name    string
		message credential.Message
		backend string
		send    string
		code    uint16
		word    string
		record  string // the code of the record
	}{
		{"a credential that is not good", method(), "", textFrame(`{"method":"TOKEN_AUTH","token":"nobody"}`), 4001, "CREDENTIAL_INVALID", ""},
		{"one that has expired", credential.Message{}, "", textFrame("expired"), 4001, "CREDENTIAL_INVALID", ""},
		{"none at the pointer", method(), "", textFrame(`{"method":"TOKEN_AUTH"}`), 4001, "CREDENTIAL_MISSING", ""},
		{"one that is no text", method(), "", textFrame(`{"method":"TOKEN_AUTH","token":7}`), 4001, "CREDENTIAL_MISSING", ""},
		{"another method", method(), "", textFrame(`{"method":"PING","token":"good"}`), 4001, "CREDENTIAL_MISSING", ""},
		{"an empty message", credential.Message{}, "", textFrame(""), 4001, "CREDENTIAL_MISSING", ""},
		{"a name twice", method(), "", textFrame(`{"method":"TOKEN_AUTH","token":"good","token":"good"}`), 4001, "CREDENTIAL_INVALID", ""},
		{"a name twice, once escaped", method(), "", textFrame(`{"method":"TOKEN_AUTH","token":"good","\u0074oken":"nobody"}`), 4001, "CREDENTIAL_INVALID", ""},
		{"a name twice elsewhere", method(), "", textFrame(`{"method":"TOKEN_AUTH","token":"good","x":[{"a":1,"a":2}]}`), 4001, "CREDENTIAL_INVALID", ""},
		{"two values", method(), "", textFrame(`{"method":"TOKEN_AUTH","token":"good"}{}`), 4001, "CREDENTIAL_INVALID", ""},
		{"no JSON", method(), "", textFrame("good"), 4001, "CREDENTIAL_INVALID", ""},
		{"JSON that nests too deep", method(), "", textFrame(strings.Repeat("[", 1000) + strings.Repeat("]", 1000)), 4001, "CREDENTIAL_INVALID", ""},
		{"binary", credential.Message{}, "", masked(ws.NewBinaryFrame([]byte("good"))), 4001, "CREDENTIAL_INVALID", ""},
		{"no UTF-8", credential.Message{}, "", textFrame("good\xff"), 1007, "BAD_REQUEST", ""},
		{"too long", credential.Message{}, "", textFrame(strings.Repeat("a", 16<<10+1)), 1009, "BAD_REQUEST", ""},
		{"too long in fragments", credential.Message{}, "", masked(ws.NewFrame(ws.OpText, false, make([]byte, 16<<10))) + masked(ws.NewFrame(ws.OpContinuation, true, []byte("a"))), 1009, "BAD_REQUEST", ""},
		{"too many fragments", credential.Message{}, "", masked(ws.NewFrame(ws.OpText, false, []byte("a"))) + strings.Repeat(masked(ws.NewFrame(ws.OpContinuation, false, []byte("a"))), 128), 1009, "BAD_REQUEST", ""},
		{"a frame that is not masked", credential.Message{}, "", "\x81\x01a", 1002, "BAD_REQUEST", ""},
		{"a flood of pings", credential.Message{}, "", strings.Repeat(masked(ws.NewPingFrame(nil)), 101), 1008, "BAD_REQUEST", ""},
		{"no subscription", credential.Message{}, "", textFrame("unsubscribed"), 4002, "NOT_SUBSCRIBED", ""},
		{"no endpoint of the stage", credential.Message{}, "", textFrame("sandbox"), 4002, "NO_ENDPOINT", ""},
		{"the control plane is away", credential.Message{}, "", textFrame("away"), 1013, "CREDENTIAL_UNCHECKED", ""},
		{"the backend refuses", credential.Message{}, refuses, textFrame("good"), 1013, "BACKEND_GONE", "BACKEND_REFUSED"},
		{"the backend is away", credential.Message{}, "ws://127.0.0.1:1", textFrame("good"), 1013, "BACKEND_GONE", "BACKEND_UNREACHABLE"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			url := tt.backend
			if url == "" {
				url = newEcho(t, nil).url
			}
			w.serve(url, firstMessage(tt.message))
			conn, a := w.opened(t, "")
			w.send(conn, tt.send)
			br := a.br
			for tt.code == 1008 { // the pongs before it
				if b, err := br.Peek(1); err != nil || b[0] != 0x8a {
					break
				}
				comesFrame(t, br)
			}
			code, reason := comesClose(t, br)
			word, rest, _ := strings.Cut(reason, " ref=")
			ref, _, _ := strings.Cut(rest, " ")
			if code != tt.code || word != tt.word {
				t.Errorf("the close is %d %q, want %d %s", code, reason, tt.code, tt.word)
			}
			record := w.refusalOf(ref)
			if want := tt.record; want == "" && record.Problem.Code.String() != tt.word || want != "" && record.Problem.Code.String() != want || record.CloseCode != tt.code {
				t.Errorf("the record is %+v of %s with the close %d", record.Problem, ref, record.CloseCode)
			}
		})
	}
}

// refusalOf returns what was noted under a ref.
func (w *world) refusalOf(ref string) refusal.Refusal {
	w.t.Helper()
	v, ok := w.noted.Load(ref)
	f, _ := v.(refusal.Refusal)
	if !ok {
		w.t.Fatalf("nothing is noted of the ref %q", ref)
	}
	return f
}

// Before the 101 a refusal is an HTTP answer: route, origin and bounds are judged first.
func TestFirstMessageRefusedBefore101(t *testing.T) {
	w := newWorld(t, nil)
	w.serve(newEcho(t, nil).url, firstMessage(credential.Message{}), func(r *routes.Route) { r.Origins = origins(t, "https://ok.example") })
	if a := w.ask("/echo/1.0.0", "Origin: https://bad.example\r\n"); a.StatusCode != 403 || a.Code != "ORIGIN_REFUSED" {
		t.Errorf("another origin: %d %s, want 403", a.StatusCode, a.Code)
	}
	var open []net.Conn
	for range 8 {
		conn, _ := w.opened(t, "")
		open = append(open, conn)
	}
	if a := w.ask("/echo/1.0.0", ""); a.StatusCode != 429 || a.Code != "ADDRESS_BUSY" || a.Header.Get("Retry-After") == "" {
		t.Errorf("the ninth without a credential: %d %s %s, want 429", a.StatusCode, a.Code, a.Detail)
	}
	_ = open[0].Close()
	for { // its place is free once the gateway has seen that
		conn := w.dial(false)
		w.send(conn, request("/echo/1.0.0", ""))
		br := bufio.NewReader(conn)
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode == http.StatusSwitchingProtocols {
			w.send(conn, textFrame("good")+textFrame("x"))
			if _, got := comesFrame(t, br); got != "x" {
				t.Errorf("the message back is %q", got)
			}
			return
		}
	}
}

// A client that sends no whole message in time gets 4001.
func TestFirstMessageTakesTooLong(t *testing.T) {
	w := newWorld(t, nil)
	w.handler.first.Timeout = 50 * time.Millisecond
	w.serve(newEcho(t, nil).url, firstMessage(credential.Message{}))
	conn, a := w.opened(t, "")
	w.send(conn, masked(ws.NewFrame(ws.OpText, false, []byte("go"))))
	if code, reason := comesClose(t, a.br); code != 4001 || !strings.HasPrefix(reason, "CREDENTIAL_MISSING ref=") {
		t.Errorf("the close is %d %q", code, reason)
	}
}

// A close before the message is answered with its code.
func TestFirstMessageClosed(t *testing.T) {
	w := newWorld(t, nil)
	w.serve(newEcho(t, nil).url, firstMessage(credential.Message{}))
	conn, a := w.opened(t, "")
	w.send(conn, masked(ws.NewCloseFrame(ws.NewCloseFrameBody(3001, "bye"))))
	if code, reason := comesClose(t, a.br); code != 3001 || reason != "" {
		t.Errorf("the close is %d %q, want the client's own code", code, reason)
	}
}

// The answer has the first sub-protocol of the client's that the version speaks; the backend
// is offered that alone, and has to choose it.
func TestFirstMessageSubprotocol(t *testing.T) {
	for _, tt := range []struct {
		name            string
		offered, answer string
		backend         []string
		code            uint16 // of the close; 0: there is none
	}{
		{"none offered", "", "", nil, 0},
		{"none listed", "Sec-WebSocket-Protocol: c\r\n", "", []string{"c"}, 0},
		{"the second", "Sec-WebSocket-Protocol: c, b, a\r\n", "b", []string{"a", "b"}, 0},
		{"the backend chooses none", "Sec-WebSocket-Protocol: a\r\n", "a", nil, 1013},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, nil)
			backend := newEcho(t, func(e *echo) { e.protocols = tt.backend })
			w.serve(backend.url, firstMessage(credential.Message{Protocols: []string{"a", "b"}}))
			conn, a := w.opened(t, tt.offered)
			if got := a.Header.Get("Sec-WebSocket-Protocol"); got != tt.answer {
				t.Errorf("answered %q, want %q", got, tt.answer)
			}
			w.send(conn, textFrame("good")+textFrame("x"))
			if tt.code == 0 {
				if _, got := comesFrame(t, a.br); got != "x" {
					t.Errorf("the message back is %q", got)
				}
			} else if code, reason := comesClose(t, a.br); code != tt.code || !strings.HasPrefix(reason, "BACKEND_GONE ref=") {
				t.Errorf("the close is %d %q", code, reason)
			}
			if r := <-backend.requests; r.Header.Get("Sec-WebSocket-Protocol") != tt.answer {
				t.Errorf("the backend was offered %q, want %q", r.Header["Sec-Websocket-Protocol"], tt.answer)
			}
		})
	}
}

// While the backend is dialled, pings are answered, and what follows the message waits, a
// little of it in the gateway and the rest in the network, until all of it goes on in order.
func TestFirstMessageWhileDialling(t *testing.T) {
	w := newWorld(t, nil)
	w.handler.monitorDelay = 0
	ask := make(chan struct{})
	got := make(chan string, 1)
	const count, size = 40, 1000 // ten times what is kept
	url := accepting(t, func(conn net.Conn) {
		br := bufio.NewReader(conn)
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		<-ask
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
			head.AcceptKey(r.Header.Get("Sec-WebSocket-Key"))+"\r\n\r\n")
		var all strings.Builder
		for range count {
			f, err := readFrame(br)
			if err != nil {
				t.Errorf("the backend's frame: %v", err)
				break
			}
			all.WriteString(string(ws.UnmaskFrame(f).Payload[:1]))
		}
		got <- all.String()
	})
	w.serve(url, firstMessage(credential.Message{}))
	conn, a := w.opened(t, "")
	w.send(conn, textFrame("good")+masked(ws.NewPingFrame([]byte("1"))))
	if op, payload := comesFrame(t, a.br); op != ws.OpPong || payload != "1" {
		t.Errorf("while the backend is dialled: %v %q, want the pong", op, payload)
	}
	var want, sent strings.Builder
	for i := range count {
		letter := string(rune('A' + i))
		want.WriteString(letter)
		sent.WriteString(textFrame(strings.Repeat(letter, size)))
	}
	w.send(conn, masked(ws.NewFrame(ws.OpText, false, []byte("A")))) // a ping inside a message is answered, too
	w.send(conn, masked(ws.NewPingFrame([]byte("2")))+masked(ws.NewFrame(ws.OpContinuation, true, []byte("b"))))
	if op, payload := comesFrame(t, a.br); op != ws.OpPong || payload != "2" {
		t.Errorf("inside a message: %v %q, want the pong", op, payload)
	}
	w.send(conn, sent.String())
	close(ask)
	if got := <-got; got != "Ab"+want.String()[:count-2] {
		t.Errorf("the backend got the messages %q, want %q", got, "Ab"+want.String()[:count-2])
	}
}

// A client that leaves, or sends what it must not, while its backend is dialled ends that.
func TestFirstMessageEndsWhileDialling(t *testing.T) {
	for name, tt := range map[string]struct {
		send string
		code uint16
	}{
		"a close":     {masked(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, ""))), 1000},
		"a violation": {"\x81\x01a", 1002},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.handler.monitorDelay = 0
			url, asked, left := silent(t)
			w.serve(url, firstMessage(credential.Message{}))
			conn, a := w.opened(t, "")
			w.send(conn, textFrame("good"))
			comes(t, "the backend is asked", asked)
			w.send(conn, tt.send)
			if code, reason := comesClose(t, a.br); code != tt.code {
				t.Errorf("the close is %d %q, want %d", code, reason, tt.code)
			}
			comes(t, "the backend is left", left)
		})
	}
}

// A plan holds for who is known after the message: what its limits refuse, the quota at the
// session's begin among them, is a close.
func TestFirstMessageOfAPlan(t *testing.T) {
	for code, limit := range map[string]*catalogv1.Limit{
		"HANDSHAKE_RATE": handshakes(1), "CONNECTIONS_FULL": connections(1, catalogv1.Limit_REACTION_REFUSE), "SESSION_QUOTA": sessionQuota(1),
	} {
		t.Run(code, func(t *testing.T) {
			w := newWorld(t, nil)
			w.plan("one", limit)
			w.plan("none")
			w.subscribe("plans/one", "plans/none")
			w.serve(newEcho(t, nil).url, firstMessage(credential.Message{}))
			conn, a := w.opened(t, "")
			w.send(conn, textFrame("a")+textFrame("x"))
			if _, got := comesFrame(t, a.br); got != "x" {
				t.Fatalf("the message back is %q", got)
			}
			second, b := w.opened(t, "")
			w.send(second, textFrame("a"))
			closed, reason := comesClose(t, b.br)
			if closed != 4003 || !strings.HasPrefix(reason, code+" ref=") || !strings.HasSuffix(reason, "ms") {
				t.Errorf("the close is %d %q, want 4003 %s with a hint", closed, reason, code)
			}
			_, ref, _ := strings.Cut(strings.Fields(reason)[1], "=")
			if f := w.refusalOf(ref); !f.Limit.Refused() || f.Problem.Status != 429 || f.Application != "applications/a" || f.Plans == nil {
				t.Errorf("the record is %+v", f)
			}
		})
	}
}

// A gateway that stops does not wait for a message.
func TestFirstMessageOfAGatewayThatStops(t *testing.T) {
	w := newWorld(t, nil)
	w.serve(newEcho(t, nil).url, firstMessage(credential.Message{}))
	_, a := w.opened(t, "")
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		w.stop()
	}()
	if code, reason := comesClose(t, a.br); code != 1013 || !strings.HasPrefix(reason, "DRAINING ref=") {
		t.Errorf("the close is %d %q, want 1013", code, reason)
	}
	<-stopped
}

// An API key can be in the first message, too.
func TestFirstMessageOfAnAPIKey(t *testing.T) {
	w := newWorld(t, nil)
	w.serve(newEcho(t, nil).url, firstMessage(method()), func(r *routes.Route) { r.Schemes[0].Type = credential.APIKey })
	key := apikey.Declared()[0].Make()
	w.grants.byToken[key] = w.grants.byToken["good"]
	conn, a := w.opened(t, "")
	w.send(conn, textFrame(`{"method":"TOKEN_AUTH","token":"`+key+`"}`)+textFrame("x"))
	if _, got := comesFrame(t, a.br); got != "x" {
		t.Errorf("the message back is %q", got)
	}
}
