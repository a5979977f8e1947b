package netpoll

import (
	"net"
	"sync"
	"testing"
)

// handlerFunc is a Handler.
type handlerFunc func(what Readiness) int

func (f *handlerFunc) Ready(what Readiness) int { return (*f)(what) }

// newPoller returns a Poller that is closed when the test ends. Connections must be
// gone by then.
func newPoller(t *testing.T) *Poller {
	t.Helper()
	p, err := NewPoller()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// served is a connection that a Poller serves.
type served struct {
	Conn
	mu  sync.Mutex // guards Conn and what follows
	far net.Conn
	got []byte
	end error
}

// serve has p serve one end of a connection, by reading it. notice is called first,
// each time that the connection is ready; nil: nothing.
func serve(t *testing.T, p *Poller, notice func()) *served {
	t.Helper()
	s := new(served)
	var near net.Conn
	s.far, near = tcpPair(t)
	if err := s.Attach(near); err != nil {
		t.Fatal(err)
	}
	closed := false
	h := handlerFunc(func(what Readiness) (read int) {
		if notice != nil {
			notice()
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if closed || what&Readable == 0 {
			return 0
		}
		buf := make([]byte, 100)
		for {
			n, drained, err := s.Read(buf)
			s.got = append(s.got, buf[:n]...)
			read += n
			if err != nil {
				s.end = err
			}
			if n == 0 || drained && what&Ended == 0 {
				return read
			}
		}
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := p.Add(&s.Conn, &h); err != nil {
		t.Fatal(err)
	}
	CloseOriginal(near)
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		closed = true
		p.CloseConn(&s.Conn)
	})
	return s
}

// send sends from the other end.
func (s *served) send(t *testing.T, text string) {
	t.Helper()
	if _, err := s.far.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// expect waits until exactly these bytes were read.
func (s *served) expect(t *testing.T, want string) {
	t.Helper()
	until(t, "these bytes were read: "+want, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return string(s.got) == want
	})
}

// TestPoller has connections served, until they end.
func TestPoller(t *testing.T) {
	p := newPoller(t)
	one, two := serve(t, p, nil), serve(t, p, nil)
	for range 3 {
		for _, s := range []*served{one, two} {
			s.send(t, "x")
		}
	}
	one.expect(t, "xxx")
	two.expect(t, "xxx")
	_ = one.far.Close()
	until(t, "the end was read", func() bool {
		one.mu.Lock()
		defer one.mu.Unlock()
		return one.end != nil
	})
}

// TestRequeue has a handler called of which the kernel says nothing.
func TestRequeue(t *testing.T) {
	p := newPoller(t)
	calls := make(chan Readiness, 1)
	h := handlerFunc(func(what Readiness) int { calls <- what; return 0 })
	p.Requeue(&h)
	if what := <-calls; what != Readable|Ended {
		t.Errorf("Ready(%b), want it to be read up to the end", what)
	}
}
