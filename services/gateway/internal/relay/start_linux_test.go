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
)

// TestSessionsCostNoGoroutine has sessions that are idle, and such that were used.
func TestSessionsCostNoGoroutine(t *testing.T) {
	for _, m := range modes[:2] {
		e := NewEngine(quick())
		rigs := make([]*rig, 20)
		rigs[0] = newRigOn(t, e, m, Options{}, nil, nil)
		before := runtime.NumGoroutine()
		for i := range rigs[1:] {
			rigs[i+1] = newRigOn(t, e, m, Options{}, nil, nil)
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

// TestUnwatchable has a connection that the kernel will not watch: the caller has
// both back as they were, and no descriptor is left.
func TestUnwatchable(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	a, b := tcpPair(t)
	defer a.Close()
	defer b.Close()
	e := NewEngine(quick())
	files := openFiles(t)
	const often = 20
	for range often {
		for _, legs := range [][2]net.Conn{{b, unwatchable{b, file}}, {unwatchable{b, file}, b}} {
			err := new(Relay).Start(e, Options{}, Leg{Conn: legs[0]}, Leg{Conn: legs[1]})
			if err == nil || !strings.HasPrefix(err.Error(), "watch a connection: ") {
				t.Fatalf("Start = %v, want an error", err)
			}
		}
	}
	e.Wait()
	if n := openFiles(t); n >= files+often {
		t.Errorf("%d descriptors, %d before", n, files)
	}
	if _, err := a.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if n, err := b.Read(make([]byte, 10)); n != 1 || err != nil {
		t.Errorf("Read = %d, %v, want the connection unharmed", n, err)
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
