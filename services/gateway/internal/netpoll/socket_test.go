package netpoll

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

// newSocket returns a socket that is one end of a connection, and the other end.
func newSocket(t *testing.T) (*socket, net.Conn) {
	t.Helper()
	far, near := tcpPair(t)
	s := new(socket)
	if err := s.take(near); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s, far
}

// fill writes until the socket is full, and returns what it took. It may take
// more once the kernel has looked at what it has.
func (s *socket) fill(t *testing.T) (taken []byte) {
	t.Helper()
	for i := byte(0); ; i++ {
		p := bytes.Repeat([]byte{i}, 64<<10)
		n, some, all, err := s.push(p)
		if err != nil || some != (n > 0) || all != (n == len(p)) {
			t.Fatalf("push = %d, %v, %v, %v", n, some, all, err)
		}
		if taken = append(taken, p[:n]...); !all {
			return taken
		}
	}
}

// keep puts bytes until some are kept, and returns what was put. From then on put
// only keeps.
func (s *socket) keep(t *testing.T) (put []byte) {
	t.Helper()
	some := bytes.Repeat([]byte("some"), 16<<10)
	until(t, "bytes are kept", func() bool {
		if len(s.pending) == 0 {
			if err := s.put(some); err != nil {
				t.Fatal(err)
			}
			put = append(put, some...)
		}
		return len(s.pending) > 0
	})
	return put
}

// TestSocketKeeps writes to a full socket without waiting: the bytes are kept, and
// leave in order before those that come later.
func TestSocketKeeps(t *testing.T) {
	s, far := newSocket(t)
	want := s.fill(t)
	until(t, "the full socket takes nothing", func() bool {
		want = append(want, s.keep(t)...)
		for _, word := range []string{"first", "second"} {
			if err := s.put([]byte(word)); err != nil {
				t.Fatal(err)
			}
			want = append(want, word...)
		}
		n, some, all, err := s.push([]byte("third"))
		if err != nil || n > 0 && !some || all != (n == len("third")) {
			t.Fatalf("push to a full socket = %d, %v, %v, %v", n, some, all, err)
		}
		want = append(want, "third"[:n]...)
		return !some && len(s.pending) > 0
	})
	want = append(want, "third"...)
	got := make([]byte, len(want))
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(far, got)
		done <- err
	}()
	for p := []byte("third"); len(p) > 0; {
		n, _, _, err := s.push(p)
		if err != nil {
			t.Fatal(err)
		}
		p = p[n:]
	}
	if err := <-done; err != nil || !bytes.Equal(got, want) || len(s.pending) > 0 {
		t.Errorf("%v, the same %v, %d bytes pending", err, bytes.Equal(got, want), len(s.pending))
	}
}

// TestSocketBound keeps no more than a bounded number of bytes.
func TestSocketBound(t *testing.T) {
	s, _ := newSocket(t)
	s.fill(t)
	s.keep(t)
	if err := s.put(make([]byte, maxPending-len(s.pending))); err != nil {
		t.Fatal(err)
	}
	if err := s.put(make([]byte, 1)); !errors.Is(err, errPending) {
		t.Errorf("put beyond the bound = %v, want %v", err, errPending)
	}
}

// TestSocketErrors reads and writes after the other end is gone.
func TestSocketErrors(t *testing.T) {
	s, far := newSocket(t)
	if _, err := s.read(make([]byte, 1)); !errors.Is(err, errWouldBlock) {
		t.Errorf("read of nothing = %v, want %v", err, errWouldBlock)
	}
	if err := far.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for err := errWouldBlock; !errors.Is(err, io.EOF); {
		if _, err = s.read(make([]byte, 1)); !errors.Is(err, errWouldBlock) && !errors.Is(err, io.EOF) {
			t.Fatalf("read at the end = %v, want EOF", err)
		}
	}
	_ = far.(*net.TCPConn).SetLinger(0)
	_ = far.Close()
	var err error
	for err == nil {
		err = s.put([]byte("x"))
	}
	if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("write after a reset = %v", err)
	}
}
