package handshake

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
)

// moody is a backend that is killed, frozen and so on while it runs, at one address.
type moody struct {
	t    *testing.T
	url  string
	addr string
	mood atomic.Value // of string
	open atomic.Int64 // sessions

	mu    sync.Mutex
	ln    net.Listener
	conns map[net.Conn]bool
	wg    sync.WaitGroup
}

// Moods of a backend.
const (
	fine     = "fine"
	killed   = "killed"   // nothing listens
	frozen   = "frozen"   // takes connections and says nothing
	refusing = "refusing" // answers 503
	nonsense = "nonsense" // answers what is no HTTP
)

func newMoody(t *testing.T) *moody {
	m := &moody{t: t, conns: map[net.Conn]bool{}}
	m.mood.Store(fine)
	m.listen("127.0.0.1:0")
	m.addr = m.ln.Addr().String()
	m.url = "ws://" + m.addr
	t.Cleanup(m.end)
	return m
}

func (m *moody) listen(addr string) {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		m.t.Fatal(err)
	}
	m.mu.Lock()
	m.ln = ln
	m.mu.Unlock()
	m.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			m.mu.Lock()
			m.conns[conn] = true
			m.mu.Unlock()
			m.wg.Go(func() { m.treat(conn) })
		}
	})
}

func (m *moody) treat(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		m.mu.Lock()
		delete(m.conns, conn)
		m.mu.Unlock()
	}()
	br := bufio.NewReader(conn)
	r, err := http.ReadRequest(br)
	if err != nil {
		return
	}
	switch m.mood.Load() {
	case frozen, killed:
		_, _ = io.Copy(io.Discard, br)
	case refusing:
		_, _ = io.WriteString(conn, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")
	case nonsense:
		_, _ = io.WriteString(conn, "220 ready when you are\r\n\r\n")
	default:
		ws, err := (&websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}).Upgrade(&hijackable{conn: conn, br: br}, r, nil)
		if err != nil {
			return
		}
		m.open.Add(1)
		defer m.open.Add(-1)
		for {
			kind, p, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, p) != nil {
				return
			}
		}
	}
}

// set changes the mood. A killed backend gives up its address, and its connections.
func (m *moody) set(mood string) {
	was := m.mood.Swap(mood)
	switch {
	case mood == killed && was != killed:
		m.mu.Lock()
		_ = m.ln.Close()
		for conn := range m.conns {
			_ = conn.Close()
		}
		m.mu.Unlock()
	case mood != killed && was == killed:
		m.listen(m.addr)
	}
}

func (m *moody) end() {
	m.mu.Lock()
	_ = m.ln.Close()
	for conn := range m.conns {
		_ = conn.Close()
	}
	m.mu.Unlock()
	m.wg.Wait()
}

// quick has short suspensions, for tests that wait for their end.
func quick(r *routes.Route) {
	cfg := balance.Default()
	cfg.First, cfg.Longest = 50*time.Millisecond, 200*time.Millisecond
	r.Production = routes.NewStage(cfg, r.Production.Endpoints...)
	r.Timeouts.Handshake = 300 * time.Millisecond
}

// fourBackends returns a version with four backends, of whose sessions no records are kept.
func fourBackends(t *testing.T) (w *world, backends []*moody) {
	over := make(chan struct{})
	var discarding sync.WaitGroup
	t.Cleanup(func() { close(over); discarding.Wait() }) // after the end of the world
	w = newWorld(t, nil)
	discarding.Go(func() {
		for {
			select {
			case <-w.records:
			case <-over:
				return
			}
		}
	})
	var urls []string
	for range 4 {
		m := newMoody(t)
		backends, urls = append(backends, m), append(urls, m.url)
	}
	w.serveAll(urls, quick)
	return w, backends
}

// TestOneIsHealthy: whatever three of four backends suffer from, in turns and under load,
// no handshake fails, as the fourth is healthy, and those that are healthy again get
// sessions again.
func TestOneIsHealthy(t *testing.T) {
	w, backends := fourBackends(t)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	var done [8]atomic.Int64 // handshakes of each client
	for i := range done {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				conn, err := net.Dial("tcp", w.listener.Addr().String())
				if err != nil {
					t.Errorf("dial: %v", err)
					return
				}
				_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
				_, _ = io.WriteString(conn, request("/echo/1.0.0", good))
				buf := make([]byte, 2048)
				n, err := conn.Read(buf)
				if err != nil || !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 101 ") {
					t.Errorf("a handshake was answered %q, %v", buf[:n], err)
				}
				_ = conn.Close()
				done[i].Add(1)
			}
		})
	}
	// goOn waits until all that was under way is over.
	goOn := func() {
		for i := range done {
			before := done[i].Load()
			eventually(t, "handshakes go on", func() bool { return done[i].Load() > before+1 })
		}
	}
	moods := []string{killed, frozen, refusing, nonsense}
	for round := range 8 {
		healthy := round % 4
		backends[healthy].set(fine)
		eventually(t, "the healthy backend is taken", func() bool { return stageOf(w).Member(healthy).Status(time.Now()).State == balance.Healthy })
		goOn() // what has found it ill may be at the one that falls ill now
		for i, b := range backends {
			if i != healthy {
				b.set(moods[(i+round)%4])
			}
		}
		goOn()
	}
	close(stop)
	clients.Wait()
}

func stageOf(w *world) *routes.Stage { return w.routes.Load().Get("apis/echo/versions/1").Production }

// TestSocketsAreSpread: sockets that are opened one by one and kept open are spread over the
// healthy backends, so that their counts differ by at most one; of those that close, others
// take the place. One backend suffers from something.
func TestSocketsAreSpread(t *testing.T) {
	for _, mood := range []string{killed, frozen, refusing, nonsense} {
		t.Run(mood, func(t *testing.T) {
			t.Parallel()
			spreadSockets(t, mood)
		})
	}
}

func spreadSockets(t *testing.T, mood string) {
	w, backends := fourBackends(t)
	backends[1].set(mood)
	var conns []net.Conn
	connect := func() {
		conn := w.dial(false)
		w.send(conn, request("/echo/1.0.0", good))
		if a := w.receive(conn); a.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("answer = %d %s", a.StatusCode, a.Detail)
		}
		conns = append(conns, conn)
	}
	spread := func() []int {
		var all []int
		for i := range backends {
			if i != 1 {
				all = append(all, stageOf(w).Member(i).Status(time.Now()).Connections)
			}
		}
		return all
	}
	for i := range 20 {
		connect()
		if all := spread(); slices.Max(all)-slices.Min(all) > 1 {
			t.Fatalf("after %d sockets there are %v", i+1, all)
		}
	}
	if n := backends[1].open.Load(); n != 0 {
		t.Errorf("the backend that is %s has %d sessions", mood, n)
	}
	for _, conn := range conns[:10] {
		_ = conn.Close()
	}
	sum := func() (n int) {
		for _, c := range spread() {
			n += c
		}
		return n
	}
	eventually(t, "what is closed is counted no more", func() bool { return sum() == 10 })
	for sum() < 21 {
		connect()
	}
	if all := spread(); slices.Max(all)-slices.Min(all) > 1 {
		t.Errorf("after some have closed and others come there are %v", all)
	}
}

// TestAnswers: which answers of a backend are for the client, and which have the next one
// tried. What is passed on is the last one's.
func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		answer string
		next   bool
		status int // where each answers so
	}{
		{"400 Bad Request", false, 502}, {"401 Unauthorized", false, 401}, {"403 Forbidden", false, 403}, {"404 Not Found", false, 404},
		{"410 Gone", false, 410}, {"429 Too Many Requests", false, 429}, {"500 Internal Server Error", false, 502}, {"200 OK", false, 502},
		{"502 Bad Gateway", true, 502}, {"503 Service Unavailable", true, 503}, {"504 Gateway Timeout", true, 504},
	} {
		t.Run(tt.answer, func(t *testing.T) {
			w := newWorld(t, nil)
			answer := "HTTP/1.1 " + tt.answer + "\r\nContent-Length: 0\r\n\r\n"
			first, second, third := saying(t, answer), newEcho(t, nil), saying(t, answer)
			w.serveAll([]string{first, second.url})
			switch got := w.ask("/echo/1.0.0", good).StatusCode; {
			case tt.next && got != http.StatusSwitchingProtocols:
				t.Errorf("the answer is %d, want that of the next one", got)
			case !tt.next && got != tt.status:
				t.Errorf("the answer is %d, want %d", got, tt.status)
			}
			if state := stageOf(w).Member(0).Status(time.Now()).State; (state != balance.Healthy) != tt.next {
				t.Errorf("the endpoint's state is %d", state)
			}
			w.serveAll([]string{first, third})
			if got := w.ask("/echo/1.0.0", good).StatusCode; got != tt.status {
				t.Errorf("where both answer so the answer is %d, want %d", got, tt.status)
			}
		})
	}
}

// TestFrozenOnly: where every endpoint hangs, a handshake is over in its time, and says so.
func TestFrozenOnly(t *testing.T) {
	w, backends := fourBackends(t)
	for _, b := range backends {
		b.set(frozen)
	}
	if a := w.ask("/echo/1.0.0", good); a.StatusCode != http.StatusGatewayTimeout || a.Code != "BACKEND_TIMEOUT" {
		t.Errorf("the answer is %d %s", a.StatusCode, a.Code)
	}
	for i := range backends {
		s := stageOf(w).Member(i).Status(time.Now())
		if s.Connections != 0 || s.LastFailure != "the backend did not answer in time" {
			t.Errorf("of endpoint %d is known %+v", i, s)
		}
	}
}

// TestChangeKeepsWhatIsKnown: a change of a version forgets nothing of the endpoints that
// stay, and touches no session, not even one whose endpoint goes.
func TestChangeKeepsWhatIsKnown(t *testing.T) {
	w := newWorld(t, nil)
	stays, goes, refuses := newEcho(t, nil), newEcho(t, nil), saying(t, "HTTP/1.1 503 Service Unavailable\r\n\r\n")
	w.serveAll([]string{refuses, stays.url, goes.url})
	for range 2 {
		conn := w.dial(false)
		w.send(conn, request("/echo/1.0.0", good))
		w.receive(conn)
	}
	w.serveAll([]string{"ws://127.0.0.1:1", stays.url, refuses})
	stage := stageOf(w)
	for i, want := range []balance.Status{{}, {Connections: 1}, {State: balance.Suspended, LastFailure: "the backend answered 503 Service Unavailable"}} {
		got := stage.Member(i).Status(time.Now())
		got.Since, got.Until, got.LastFailed = time.Time{}, time.Time{}, time.Time{}
		if got != want {
			t.Errorf("of endpoint %d is known %+v, want %+v", i, got, want)
		}
	}
	eventually(t, "the sessions live after the change", func() bool { return w.sessions.Gauges().Live == 2 })
}
