//go:build linux && !portable

package netpoll

import (
	"os"
	"syscall"
	"time"
	"unsafe"

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
		for _, err := poll(n.fd, events[:]); err == unix.EINTR; { //nolint:errorlint // an errno, never wrapped
			_, err = poll(n.fd, events[:])
		}
		serve()
		_ = n.arm(unix.EPOLL_CTL_MOD)
		return false
	})
}

func (n *notifier) close() { _ = n.file.Close() }

// poll is epoll_wait(2) with a time-out of 0. unix.EpollWait enters the scheduler,
// as it may block, and the first to do so after an idle moment wakes the runtime's
// monitor, which then looks every 20 microseconds whether somebody blocks. A
// gateway goes idle some hundred times a second: the monitor took an eighth of its
// CPU. So nothing that is done for each round or message may enter the scheduler.
func poll(epoll int, events []unix.EpollEvent) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(epoll),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
