//go:build !portable

package netpoll

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestShare has more connections become ready at once than one goroutine is given:
// a handler that is in the way of those behind it does not stop all.
func TestShare(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	p := newPoller(t)
	var notices atomic.Int64
	front := serve(t, p, func() { notices.Add(1) })
	conns := make([]*served, 80)
	for i := range conns {
		conns[i] = serve(t, p, nil)
	}
	for _, s := range append(conns, front) {
		s.send(t, "a")
		s.expect(t, "a")
	}

	front.mu.Lock()
	before := notices.Load()
	front.send(t, "b")
	until(t, "the poller waits for the first", func() bool { return notices.Load() > before })
	first, last := conns[0], conns[len(conns)-1]
	for _, s := range conns {
		s.send(t, "b")
		until(t, "the byte is there", func() bool {
			n, err := unix.IoctlGetInt(s.socket.fd, unix.TIOCINQ)
			return err == nil && n > 0
		})
	}
	first.mu.Lock()
	front.mu.Unlock()
	last.expect(t, "ab")
	first.mu.Unlock()
	for _, s := range conns {
		s.expect(t, "ab")
	}
}

// unwatchable is a connection whose descriptor is that of a file.
type unwatchable struct {
	net.Conn
	file *os.File
}

func (u unwatchable) SyscallConn() (syscall.RawConn, error) { return u.file.SyscallConn() }

// TestUnwatchable has a connection that the kernel will not watch.
func TestUnwatchable(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	p := newPoller(t)
	_, near := tcpPair(t)
	h := handlerFunc(func(Readiness) int { return 0 })
	for range 2 { // the slot is free again
		var c Conn
		if err := c.Attach(unwatchable{near, file}); err != nil {
			t.Fatal(err)
		}
		if err := p.Add(&c, &h); err == nil || !strings.HasPrefix(err.Error(), "watch a connection: ") {
			t.Errorf("Add = %v, want an error", err)
		}
		c.Detach()
	}
	if len(p.handlers) != 1 || p.handlers[0] != nil {
		t.Errorf("%d slots, want one that is free", len(p.handlers))
	}
}

// TestRemove has a connection that is served no more, but not closed.
func TestRemove(t *testing.T) {
	p := newPoller(t)
	far, near := tcpPair(t)
	var calls atomic.Int64
	h := handlerFunc(func(Readiness) int { calls.Add(1); return 0 })
	var c Conn
	if err := c.Attach(near); err != nil {
		t.Fatal(err)
	}
	if err := p.Add(&c, &h); err != nil {
		t.Fatal(err)
	}
	p.Remove(&c)
	c.Detach()
	before := calls.Load()
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := near.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("Read = %d, %v, want the connection unharmed", n, err)
	}
	other := serve(t, p, nil) // gets the slot, and what came is not for it
	other.send(t, "y")
	other.expect(t, "y")
	if n := calls.Load(); n > before+1 { // one event may have been on its way
		t.Errorf("the handler was called %d times after Remove", n-before)
	}
}
