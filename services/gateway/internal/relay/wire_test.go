package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

// newWire returns a wire over one end of a connection, and the other end.
func newWire(t *testing.T) (*wire, net.Conn) {
	t.Helper()
	far, near := tcpPair(t)
	t.Cleanup(func() { _, _ = far.Close(), near.Close() })
	raw, err := near.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	w := new(wire)
	if err := w.take(near, raw); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.drop)
	return w, far
}

// fill writes until the socket is full, and returns what it took. It may take
// more once the kernel has looked at what it has.
func (w *wire) fill(t *testing.T) (taken []byte) {
	t.Helper()
	for i := byte(0); ; i++ {
		p := bytes.Repeat([]byte{i}, 64<<10)
		n, some, all, err := w.push(p)
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
func (w *wire) keep(t *testing.T) (put []byte) {
	t.Helper()
	some := bytes.Repeat([]byte("some"), 16<<10)
	until(t, "bytes are kept", func() bool {
		if !w.waiting() {
			if err := w.put(some); err != nil {
				t.Fatal(err)
			}
			put = append(put, some...)
		}
		return w.waiting()
	})
	return put
}

// TestWireKeeps writes to a full socket without waiting: the bytes are kept, and
// leave in order before those that come later.
func TestWireKeeps(t *testing.T) {
	w, far := newWire(t)
	want := w.fill(t)
	until(t, "the full socket takes nothing", func() bool {
		want = append(want, w.keep(t)...)
		for _, s := range []string{"first", "second"} {
			if err := w.put([]byte(s)); err != nil {
				t.Fatal(err)
			}
			want = append(want, s...)
		}
		n, some, all, err := w.push([]byte("third"))
		if err != nil || n > 0 && !some || all != (n == len("third")) {
			t.Fatalf("push to a full socket = %d, %v, %v, %v", n, some, all, err)
		}
		want = append(want, "third"[:n]...)
		return !some && w.waiting()
	})
	want = append(want, "third"...)
	got := make([]byte, len(want))
	done := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(far, got)
		done <- err
	}()
	for p := []byte("third"); len(p) > 0; {
		n, _, _, err := w.push(p)
		if err != nil {
			t.Fatal(err)
		}
		p = p[n:]
	}
	if err := <-done; err != nil || !bytes.Equal(got, want) || w.waiting() {
		t.Errorf("%v, the same %v, waiting %v", err, bytes.Equal(got, want), w.waiting())
	}
}

// TestWireBound keeps no more than a bounded number of bytes.
func TestWireBound(t *testing.T) {
	w, _ := newWire(t)
	w.fill(t)
	w.keep(t)
	if err := w.put(make([]byte, maxSpill-len(w.spill))); err != nil {
		t.Fatal(err)
	}
	if err := w.put(make([]byte, 1)); !errors.Is(err, errSpill) {
		t.Errorf("put beyond the bound = %v, want %v", err, errSpill)
	}
}

// TestWireErrors reads and writes after the other end is gone.
func TestWireErrors(t *testing.T) {
	w, far := newWire(t)
	if _, err := w.read(make([]byte, 1)); !errors.Is(err, errWouldBlock) {
		t.Errorf("read of nothing = %v, want %v", err, errWouldBlock)
	}
	if err := far.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	for err := errWouldBlock; !errors.Is(err, io.EOF); {
		if _, err = w.read(make([]byte, 1)); !errors.Is(err, errWouldBlock) && !errors.Is(err, io.EOF) {
			t.Fatalf("read at the end = %v, want EOF", err)
		}
	}
	_ = far.(*net.TCPConn).SetLinger(0)
	_ = far.Close()
	var err error
	for err == nil {
		err = w.put([]byte("x"))
	}
	if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("write after a reset = %v", err)
	}
}
