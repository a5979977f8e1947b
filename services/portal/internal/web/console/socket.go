package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lxzan/gws"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc/codes"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// Times of a socket.
const (
	// openWithin is how long the page may take for its first command, and a gateway for
	// its answer.
	openWithin = 10 * time.Second
	// pageTakes is how long the page may take for one event.
	pageTakes = 10 * time.Second
	// closeWithin is how long what is being written may still take at the end, on each
	// side.
	closeWithin = 300 * time.Millisecond
	// askEvery is how often the services are asked whether the sign-in has ended.
	askEvery = 500 * time.Millisecond
	// pingEvery is how often the page's browser must show that it is there; after
	// pageSilent without anything from it, it is not.
	pingEvery, pageSilent = 20 * time.Second, time.Minute
	// renewBefore is how long before the end of the sign-in's token the page is asked to
	// renew it.
	renewBefore = 45 * time.Second
)

// Codes that the portal closes with.
const (
	codeNormal  = 1000
	codeAway    = 1001
	codeBroken  = 1006 // not sent: there was no close
	codePolicy  = 1008
	codeRefused = 4001 // as gateways do when a credential is no longer good
)

// ending is why a socket ended.
type ending struct {
	code   uint16
	reason string
	// gateway says that the gateway has closed, page that the page has asked for it.
	gateway, page bool
}

// Error says why.
func (e ending) Error() string { return fmt.Sprintf("%d %s", e.code, e.reason) }

// socket is one page's socket.
type socket struct {
	console *Console
	page    *gws.Conn
	under   net.Conn // below page, which cannot close it
	client  string   // the user's address
	version *catalogv1.Version

	ctx context.Context // ends with the socket; its cause is an ending
	end context.CancelCauseFunc

	access atomic.Pointer[access]
	signIn string

	// open has the first command; queue those for the gateway, which hold room.
	open  chan *command
	queue chan waiting
	room  *semaphore.Weighted

	told           sync.Mutex // one event is written at a time
	sent, received counter
}

// waiting is a command that waits for the gateway, with the room that it takes.
type waiting struct {
	command *command
	room    int64
}

// counter counts messages that went one way.
type counter struct{ messages, bytes atomic.Int64 }

func (c *counter) add(n int) {
	c.messages.Add(1)
	c.bytes.Add(int64(n))
}

func (c *counter) now() *count { return &count{Messages: c.messages.Load(), Bytes: c.bytes.Load()} }

// run serves the socket until it ends. All that it starts has ended when it returns.
func (s *socket) run() {
	var tasks sync.WaitGroup
	tasks.Go(func() {
		s.page.ReadLoop()
		s.end(ending{code: codeAway, reason: "the page has gone"})
	})
	tasks.Go(s.watch)
	hurry := context.AfterFunc(s.ctx, func() { _ = s.under.SetWriteDeadline(time.Now().Add(closeWithin)) })
	last := s.serve()
	hurry()
	s.end(ending{code: codeNormal})
	s.tell(last, time.Second)
	code := uint16(codeNormal)
	if last.Type == "closed" && last.Code == codeRefused {
		code = codeRefused
	}
	_ = s.page.WriteClose(code, nil)
	cut := time.AfterFunc(closeWithin, func() { _ = s.under.Close() })
	tasks.Wait() // the page has closed too, or is cut off
	cut.Stop()
	_ = s.under.Close()
}

// serve connects to the gateway as the page says, and moves messages until the end. It
// returns the last event.
func (s *socket) serve() event {
	var open *command
	select {
	case open = <-s.open:
	case <-time.After(openWithin):
		s.end(ending{code: codePolicy, reason: "the page has not said what to open"})
	case <-s.ctx.Done():
	}
	if open == nil {
		return s.closed()
	}
	gateway, first := s.dial(open)
	if gateway == nil || !s.tell(first, pageTakes) {
		return first
	}
	hurry := context.AfterFunc(s.ctx, func() { _ = gateway.under.SetWriteDeadline(time.Now().Add(closeWithin)) })
	defer hurry()
	done := make(chan struct{})
	go func() {
		defer close(done)
		gateway.ReadLoop()
	}()
	s.forward(gateway)
	e := s.ending()
	if !e.gateway {
		code, reason := uint16(codeAway), "the console has gone"
		if e.page {
			code, reason = e.code, e.reason
		}
		_ = gateway.WriteClose(code, []byte(reason))
	}
	cut := time.AfterFunc(closeWithin, func() { _ = gateway.under.Close() })
	<-done // the gateway has closed too, or is cut off
	cut.Stop()
	_ = gateway.under.Close()
	return s.closed()
}

// forward writes what the page sends to the gateway until the socket ends.
func (s *socket) forward(gateway *connection) {
	for {
		var w waiting
		select {
		case w = <-s.queue:
		case <-s.ctx.Done():
			return
		}
		if s.ctx.Err() != nil {
			return
		}
		op, data := gws.OpcodeText, []byte(w.command.Text)
		switch w.command.Type {
		case "binary":
			op, data = gws.OpcodeBinary, w.command.Data
		case "ping":
			op, data = gws.OpcodePing, w.command.Data
		case "credential":
			s.room.Release(w.room)
			s.tell(s.renew(w.command, gateway.ref), pageTakes)
			continue
		}
		if err := gateway.WriteMessage(op, data); err != nil {
			// Where the gateway has closed, what it said decides: its reader knows.
			_ = gateway.under.SetReadDeadline(time.Now().Add(closeWithin))
			<-s.ctx.Done()
			return
		}
		s.room.Release(w.room)
		if op != gws.OpcodePing {
			s.sent.add(len(data))
			s.tell(event{Type: "taken", Sent: s.sent.now()}, pageTakes)
		}
	}
}

// ending returns why the socket has ended.
func (s *socket) ending() ending {
	var e ending
	if !errors.As(context.Cause(s.ctx), &e) {
		e = ending{code: codeAway}
	}
	return e
}

// closed is the last event of a socket that has ended.
func (s *socket) closed() event {
	e := s.ending()
	return event{Type: "closed", Code: e.code, Reason: e.reason, Sent: s.sent.now(), Received: s.received.now()}
}

// tell writes an event to the page, and reports whether it has. At the end of the socket
// what is being written has little time.
func (s *socket) tell(e event, within time.Duration) bool {
	text, err := json.Marshal(e)
	if err != nil {
		return false
	}
	s.told.Lock()
	defer s.told.Unlock()
	_ = s.under.SetWriteDeadline(time.Now().Add(within))
	if s.ctx.Err() != nil && within > time.Second {
		_ = s.under.SetWriteDeadline(time.Now().Add(closeWithin))
	}
	if err := s.page.WriteMessage(gws.OpcodeText, text); err != nil {
		s.end(ending{code: codeAway, reason: "the page takes nothing"})
		return false
	}
	return true
}

// watch ends the socket when the sign-in ends, and asks the page for signs of life.
func (s *socket) watch() {
	ask, ping := time.NewTicker(askEvery), time.NewTicker(pingEvery)
	defer ask.Stop()
	defer ping.Stop()
	var asked *access
	for {
		select {
		case <-ask.C:
		case <-ping.C:
			s.told.Lock()
			_ = s.under.SetWriteDeadline(time.Now().Add(pageTakes))
			err := s.page.WritePing(nil)
			s.told.Unlock()
			if err != nil { // a page that is not read now is missed only here
				s.end(ending{code: codeAway, reason: "the page has gone"})
			}
			continue
		case <-s.ctx.Done():
			return
		}
		a := s.access.Load()
		left := time.Unix(a.Expires, 0).Sub(s.console.Now())
		if left <= 0 || s.refused(a) {
			s.end(ending{code: codeRefused, reason: "the sign-in has ended"})
			return
		}
		if left < renewBefore && asked != a {
			asked = a
			s.tell(event{Type: "renew"}, pageTakes)
		}
	}
}

// refused reports whether the services refuse the sign-in. While they do not answer it goes
// on, until its token expires.
func (s *socket) refused(a *access) bool {
	ctx, cancel := context.WithTimeout(s.ctx, askEvery)
	defer cancel()
	_, err := s.console.Services.Users.GetUser(a.on(ctx), &identityv1.GetUserRequest{Name: "users/me"})
	return fault.Is(err, codes.Unauthenticated) || fault.Is(err, codes.PermissionDenied) || fault.Is(err, codes.NotFound)
}

// fromPage has what comes from the page.
type fromPage struct {
	gws.BuiltinEventHandler
	*socket
	opened bool
}

// OnOpen begins the time in which the browser must show that it is there.
func (p *fromPage) OnOpen(c *gws.Conn) { _ = c.NetConn().SetReadDeadline(time.Now().Add(pageSilent)) }

// OnPong is a sign of life.
func (p *fromPage) OnPong(c *gws.Conn, _ []byte) {
	_ = c.NetConn().SetReadDeadline(time.Now().Add(pageSilent))
}

// OnMessage takes a command. It returns when there is room for the next.
func (p *fromPage) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	if p.ctx.Err() != nil {
		return // only its close is waited for
	}
	defer func() { _ = c.NetConn().SetReadDeadline(time.Now().Add(pageSilent)) }()
	cmd := &command{}
	if err := json.Unmarshal(m.Bytes(), cmd); err != nil {
		p.end(ending{code: codePolicy, reason: "the page has sent what is no command"})
		return
	}
	switch {
	case !p.opened && cmd.Type == "open":
		p.opened = true
		p.open <- cmd // has room for the one
	case cmd.Type == "close":
		if cmd.Code != codeNormal && (cmd.Code < 3000 || cmd.Code > 4999) || len(cmd.Reason) > 123 {
			cmd.Code, cmd.Reason = codeNormal, ""
		}
		p.end(ending{code: cmd.Code, reason: cmd.Reason, page: true})
	case cmd.Type == "renew":
		if a, ok := p.console.redeem(cmd.Renewal); ok && a.SignIn == p.signIn {
			p.access.Store(&a)
		}
	case cmd.Type == "text", cmd.Type == "binary", cmd.Type == "credential", cmd.Type == "ping" && len(cmd.Data) <= 125:
		w := waiting{command: cmd, room: int64(m.Data.Len()) + 64}
		if p.room.Acquire(p.ctx, w.room) != nil {
			return
		}
		select {
		case p.queue <- w:
		case <-p.ctx.Done():
		}
	default:
		p.end(ending{code: codePolicy, reason: "the page has sent an unknown command"})
	}
}

// OnPing answers the browser.
func (p *fromPage) OnPing(c *gws.Conn, payload []byte) {
	p.told.Lock()
	defer p.told.Unlock()
	_ = c.WritePong(payload)
}

// fromGateway has what comes from the gateway.
type fromGateway struct {
	gws.BuiltinEventHandler
	*socket
}

// OnMessage hands a message to the page. It returns when the page has taken it.
func (g *fromGateway) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	if g.ctx.Err() != nil {
		return
	}
	e := event{Type: "text", Text: string(m.Bytes())}
	if m.Opcode == gws.OpcodeBinary {
		e = event{Type: "binary", Data: m.Bytes()}
	}
	if g.tell(e, pageTakes) {
		g.received.add(m.Data.Len())
	}
}

// OnPing answers, and says so.
func (g *fromGateway) OnPing(c *gws.Conn, payload []byte) {
	_ = c.WritePong(payload)
	g.tell(event{Type: "ping", Data: payload}, pageTakes)
}

// OnPong says that a ping was answered.
func (g *fromGateway) OnPong(_ *gws.Conn, payload []byte) {
	g.tell(event{Type: "pong", Data: payload}, pageTakes)
}

// OnClose ends the socket with what the gateway has said.
func (g *fromGateway) OnClose(_ *gws.Conn, err error) {
	e := ending{code: codeBroken, reason: "the gateway's connection has ended without a close", gateway: true}
	var said *gws.CloseError
	switch {
	case errors.As(err, &said):
		e.code, e.reason = said.Code, string(said.Reason)
	case err != nil && !errors.Is(err, net.ErrClosed):
		e.reason = err.Error()
	}
	if e.code == 0 {
		e.code = 1005
	}
	g.end(e)
}
