//go:build !portable

package relay

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// TestSessionsCostNoGoroutine has sessions that are idle, and such that were used.
func TestSessionsCostNoGoroutine(t *testing.T) {
	for _, m := range modes[:2] {
		e := NewEngine(quick())
		rigs := make([]*rig, 20)
		rigs[0] = newRigOn(t, e, m, ending.Terms{}, nil, nil)
		before := runtime.NumGoroutine()
		for i := range rigs[1:] {
			rigs[i+1] = newRigOn(t, e, m, ending.Terms{}, nil, nil)
		}
		for range 3 {
			for _, r := range rigs {
				r.talk()
			}
			until(t, "sessions have no goroutines", func() bool { return runtime.NumGoroutine() <= before })
		}
	}
}

// unwatchable is a connection whose descriptor is that of a file.
type unwatchable struct {
	net.Conn
	file *os.File
}

func (u unwatchable) SyscallConn() (syscall.RawConn, error) { return u.file.SyscallConn() }

// TestUnwatchable has a connection that the kernel will not watch: both are closed,
// and no descriptor is left.
func TestUnwatchable(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	e := NewEngine(quick())
	files := openFiles(t)
	const often = 20
	for i := range often {
		c, client := tcpPair(t)
		b, backend := tcpPair(t)
		legs := [2]Leg{{Conn: client}, {Conn: unwatchable{backend, file}}}
		if i%2 == 0 {
			legs = [2]Leg{{Conn: unwatchable{client, file}}, {Conn: backend}}
		}
		err := New(e, legs[0], legs[1]).Start(ending.Terms{})
		if err == nil || !strings.HasPrefix(err.Error(), "watch a connection: ") {
			t.Fatalf("Start = %v, want an error", err)
		}
		expectClosed(t, c)
		expectClosed(t, b)
		_, _ = c.Close(), b.Close()
	}
	e.Wait()
	if n := openFiles(t); n >= files+often {
		t.Errorf("%d descriptors, %d before", n, files)
	}
}

// openFiles returns how many descriptors the process has.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
