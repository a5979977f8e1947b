//go:build linux && !portable

package relay

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// gate waits, as the runtime waits for a socket, until an epoll instance has
// something, and says so once. In the runtime's own instance the other would wake
// a thread for each event, though nobody waits for one as long as there is work.
type gate struct {
	file    *os.File // an epoll instance, with the other in it
	raw     syscall.RawConn
	fd      int
	watched int
}

// newGate returns a gate before the epoll instance watched.
func newGate(watched int) (*gate, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	g := &gate{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, watched: watched}
	err = g.file.SetReadDeadline(time.Time{}) // it can be waited for
	if err == nil {
		g.raw, err = g.file.SyscallConn()
	}
	if err == nil {
		err = g.ctl(unix.EPOLL_CTL_ADD)
	}
	if err != nil {
		_ = g.file.Close()
		return nil, err
	}
	return g, nil
}

func (g *gate) ctl(op int) error {
	return unix.EpollCtl(g.fd, op, g.watched, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT})
}

// wait calls serve, which must leave nothing that was there, each time that there
// may be something, until the gate is closed.
func (g *gate) wait(serve func()) {
	var told [1]unix.EpollEvent
	_ = g.raw.Read(func(uintptr) bool {
		for _, err := unix.EpollWait(g.fd, told[:], 0); err == unix.EINTR; {
			_, err = unix.EpollWait(g.fd, told[:], 0)
		}
		serve()
		_ = g.ctl(unix.EPOLL_CTL_MOD) // from now on it tells again
		return false
	})
}

func (g *gate) close() { _ = g.file.Close() }
