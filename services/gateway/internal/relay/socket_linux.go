//go:build linux && !portable

package relay

import (
	"crypto/tls"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// handle is a socket's descriptor. It is a copy, which the runtime does not know:
// the runtime would wake one of its threads for all that comes, for nobody.
type handle struct{ fd int }

// take copies the descriptor of a connection; drop undoes it.
func (h *handle) take(_ net.Conn, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) { h.fd, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil {
		return err
	}
	return failed
}

func (h *handle) drop() { _ = unix.Close(h.fd) }

// release closes a connection whose descriptor was taken, but not the socket. With
// TLS the connection below is closed, without a word of TLS.
func release(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn().(*below).Conn
	}
	_ = conn.Close()
}

// close closes the socket.
func (h *handle) close() { _ = unix.Close(h.fd) }

// read and write are read(2) and write(2) on a socket that never waits. They
// spare the scheduler the two hand-overs that it makes around a system call which
// may wait. That is more than their own time: on busy cores the scheduler's
// monitor takes short calls for long ones and starts threads.

func (h *handle) read(p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, uintptr(h.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}

func (h *handle) write(p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(h.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	return int(n), errno
}

// unsent returns how many bytes written to a TCP socket its peer has not
// acknowledged yet.
func (h *handle) unsent() int {
	n, err := unix.IoctlGetInt(h.fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}
