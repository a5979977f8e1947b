//go:build linux && !portable

package netpoll

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// notifier waits, as Go's runtime waits for a socket, until an epoll instance has
// something, and says so once. If the instance were in the runtime's own, a thread
// would be woken for each event, though nobody waits for one as long as there is
// work.
type notifier struct {
	file    *os.File // an epoll instance with the watched one in it, which the runtime watches
	raw     syscall.RawConn
	fd      int
	watched int
}

// newNotifier returns a notifier of the epoll instance watched.
func newNotifier(watched int) (*notifier, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	n := &notifier{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, watched: watched}
	err = n.file.SetReadDeadline(time.Time{}) // fails if the runtime does not watch it
	if err == nil {
		n.raw, err = n.file.SyscallConn()
	}
	if err == nil {
		err = n.arm(unix.EPOLL_CTL_ADD)
	}
	if err != nil {
		_ = n.file.Close()
		return nil, err
	}
	return n, nil
}

// arm has the runtime told of the next event.
func (n *notifier) arm(op int) error {
	return unix.EpollCtl(n.fd, op, n.watched, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT})
}

// run calls serve, which must leave nothing that was there, each time that there
// may be something, until the notifier is closed.
func (n *notifier) run(serve func()) {
	var events [1]unix.EpollEvent
	_ = n.raw.Read(func(uintptr) bool {
		for _, err := unix.EpollWait(n.fd, events[:], 0); err == unix.EINTR; {
			_, err = unix.EpollWait(n.fd, events[:], 0)
		}
		serve()
		_ = n.arm(unix.EPOLL_CTL_MOD)
		return false
	})
}

func (n *notifier) close() { _ = n.file.Close() }
