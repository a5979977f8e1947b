package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	gobwas "github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// proxy puts a session between each client and the backend. It passes the heads
// of the handshake on as they are.
type proxy struct {
	lis     net.Listener
	backend string
	engine  *Engine
	ended   chan ending.Outcome
	wg      sync.WaitGroup
}

func newProxy(t *testing.T, backend string) *proxy {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{lis: lis, backend: backend, engine: NewEngine(quick()), ended: make(chan ending.Outcome, 10)}
	p.wg.Go(func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			if err := p.serve(c); err != nil {
				t.Error(err)
			}
		}
	})
	t.Cleanup(func() {
		lis.Close()
		p.wg.Wait()
		p.engine.Wait()
	})
	return p
}

func (p *proxy) serve(c net.Conn) error {
	request, fromClient, err := readHead(c)
	if err != nil {
		return err
	}
	b, err := net.Dial("tcp", p.backend)
	if err != nil {
		return err
	}
	if _, err := b.Write(request); err != nil {
		return err
	}
	response, fromBackend, err := readHead(b)
	if err != nil {
		return err
	}
	if _, err := c.Write(response); err != nil {
		return err
	}
	r := New(p.engine, Leg{Conn: c, Buffered: fromClient}, Leg{Conn: b, Buffered: fromBackend})
	return r.Start(ending.Terms{Ref: "REF", Observer: observerFunc(func(o ending.Outcome) { p.ended <- o })})
}

func readHead(c net.Conn) (head, buffered []byte, err error) {
	b := make([]byte, 0, 8<<10)
	for {
		n, err := c.Read(b[len(b):cap(b)])
		if err != nil {
			return nil, nil, err
		}
		b = b[:len(b)+n]
		if i := bytes.Index(b, []byte("\r\n\r\n")); i >= 0 {
			return b[:i+4], b[i+4:], nil
		}
	}
}

// message is what libraries send and receive.
type message struct {
	binary bool
	data   []byte
}

// socket is what the libraries' connections have in common.
type socket interface {
	write(message) error
	read() (message, error)              // an error of type closeError for a close
	close(code int, reason string) error // sends a close
	end()
}

type closeError struct {
	code   int
	reason string
}

func (e closeError) Error() string { return fmt.Sprintf("close %d %s", e.code, e.reason) }

type coderSocket struct{ *coder.Conn }

func (s coderSocket) write(m message) error {
	kind := coder.MessageText
	if m.binary {
		kind = coder.MessageBinary
	}
	w, err := s.Writer(context.Background(), kind) // fragments, where it is written in parts
	if err != nil {
		return err
	}
	half := len(m.data) / 2
	_, err1 := w.Write(m.data[:half])
	_, err2 := w.Write(m.data[half:])
	return errors.Join(err1, err2, w.Close())
}

func (s coderSocket) read() (message, error) {
	s.SetReadLimit(4 << 20)
	kind, data, err := s.Read(context.Background())
	if c, ok := errors.AsType[coder.CloseError](err); ok {
		return message{}, closeError{int(c.Code), c.Reason}
	}
	return message{kind == coder.MessageBinary, data}, err
}

func (s coderSocket) close(code int, reason string) error {
	return s.Close(coder.StatusCode(code), reason)
}

func (s coderSocket) end() { _ = s.CloseNow() }

type gorillaSocket struct{ *gorilla.Conn }

func (s gorillaSocket) write(m message) error {
	kind := gorilla.TextMessage
	if m.binary {
		kind = gorilla.BinaryMessage
	}
	w, err := s.NextWriter(kind) // fragments, where the buffer is too small
	if err != nil {
		return err
	}
	_, err = w.Write(m.data)
	return errors.Join(err, w.Close())
}

func (s gorillaSocket) read() (message, error) {
	kind, data, err := s.ReadMessage()
	if c, ok := errors.AsType[*gorilla.CloseError](err); ok {
		return message{}, closeError{c.Code, c.Text}
	}
	return message{kind == gorilla.BinaryMessage, data}, err
}

func (s gorillaSocket) close(code int, reason string) error {
	return s.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(code, reason), time.Now().Add(patience))
}

func (s gorillaSocket) end() { _ = s.Close() }

type gobwasSocket struct {
	net.Conn
	state gobwas.State
}

func (s gobwasSocket) write(m message) error {
	op := gobwas.OpText
	if m.binary {
		op = gobwas.OpBinary
	}
	return wsutil.WriteMessage(s.Conn, s.state, op, m.data)
}

func (s gobwasSocket) read() (message, error) {
	data, op, err := wsutil.ReadData(s.Conn, s.state)
	if c, ok := errors.AsType[wsutil.ClosedError](err); ok {
		return message{}, closeError{int(c.Code), c.Reason}
	}
	return message{op == gobwas.OpBinary, data}, err
}

func (s gobwasSocket) close(code int, reason string) error {
	return wsutil.WriteMessage(s.Conn, s.state, gobwas.OpClose, gobwas.NewCloseFrameBody(gobwas.StatusCode(code), reason))
}

func (s gobwasSocket) end() { _ = s.Close() }

// servers accept connections by different libraries.
var servers = map[string]func(w http.ResponseWriter, r *http.Request) (socket, error){
	"coder": func(w http.ResponseWriter, r *http.Request) (socket, error) {
		c, err := coder.Accept(w, r, nil)
		return coderSocket{c}, err
	},
	"gorilla": func(w http.ResponseWriter, r *http.Request) (socket, error) {
		c, err := new(gorilla.Upgrader).Upgrade(w, r, nil)
		return gorillaSocket{c}, err
	},
	"gobwas": func(w http.ResponseWriter, r *http.Request) (socket, error) {
		c, _, _, err := gobwas.UpgradeHTTP(r, w)
		return gobwasSocket{c, gobwas.StateServerSide}, err
	},
}

// clients dial by different libraries.
var clients = map[string]func(url string) (socket, error){
	"coder": func(url string) (socket, error) {
		c, _, err := coder.Dial(context.Background(), url, nil)
		return coderSocket{c}, err
	},
	"gorilla": func(url string) (socket, error) {
		c, _, err := gorilla.DefaultDialer.Dial(url, nil)
		return gorillaSocket{c}, err
	},
	"gobwas": func(url string) (socket, error) {
		c, _, _, err := gobwas.Dial(context.Background(), url)
		return gobwasSocket{c, gobwas.StateClientSide}, err
	},
}

// echo answers each message with itself, up to the client's close or the message
// "close", and reports how it ended.
func echo(s socket) error {
	defer s.end()
	for {
		m, err := s.read()
		switch {
		case err != nil:
			return err
		case string(m.data) == "close":
			if err := s.close(4321, "as you say"); err != nil {
				return err
			}
			_, err := s.read()
			return err
		}
		if err := s.write(m); err != nil {
			return err
		}
	}
}

// TestLibraries has the usual libraries on both sides: messages of all sizes come
// back, and each side sees the other's close.
func TestLibraries(t *testing.T) {
	for server, accept := range servers {
		results := make(chan error, 1)
		backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, err := accept(w, r)
			if err == nil {
				err = echo(s)
			}
			results <- err
		}))
		t.Cleanup(backend.Close)
		for client, dial := range clients {
			t.Run(client+" to "+server, func(t *testing.T) {
				p := newProxy(t, strings.TrimPrefix(backend.URL, "http://"))
				url := "ws://" + p.lis.Addr().String()
				s, err := dial(url)
				if err != nil {
					t.Fatal(err)
				}
				defer s.end()
				roundTrips(t, s)
				if err := s.close(4000, "bye"); err != nil && !errors.As(err, new(closeError)) && !errors.Is(err, io.EOF) {
					t.Error(err)
				}
				if err := <-results; !isClose(err, 4000, "bye") {
					t.Errorf("backend's end = %v, want close 4000 bye", err)
				}
				s.end()
				if o := <-p.ended; o.Ending.By != ending.Client || o.Ending.Reason != ending.PeerClose || o.Client.Received != 4000 || o.Backend.Sent != 4000 {
					t.Errorf("outcome = %+v", o)
				}

				s, err = dial(url)
				if err != nil {
					t.Fatal(err)
				}
				defer s.end()
				if err := s.write(message{data: []byte("close")}); err != nil {
					t.Fatal(err)
				}
				if _, err := s.read(); !isClose(err, 4321, "as you say") {
					t.Errorf("client's end = %v, want close 4321", err)
				}
				s.end()
				if err := <-results; err == nil {
					t.Error("the backend's end = nil, want an error")
				}
				if o := <-p.ended; o.Ending.By != ending.Backend || o.Ending.Reason != ending.PeerClose || o.Client.Sent != 4321 || o.Backend.Received != 4321 {
					t.Errorf("outcome = %+v", o)
				}
			})
		}
	}
}

func isClose(err error, code int, reason string) bool {
	return errors.Is(err, closeError{code, reason})
}

func roundTrips(t *testing.T, s socket) {
	t.Helper()
	for _, n := range lengths {
		for _, m := range []message{{true, bytes.Repeat([]byte{0xfe}, n)}, {false, bytes.Repeat([]byte("t"), n)}} {
			if err := s.write(m); err != nil {
				t.Fatal(err)
			}
			got, err := s.read()
			if err != nil {
				t.Fatal(err)
			}
			if got.binary != m.binary || !bytes.Equal(got.data, m.data) {
				t.Fatalf("%d bytes came back, binary %v; want %d, %v", len(got.data), got.binary, n, m.binary)
			}
		}
	}
}
