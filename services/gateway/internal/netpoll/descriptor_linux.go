//go:build linux && !portable

package netpoll

import (
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// descriptor is that of a socket. It is a copy, of which Go's runtime does not
// know: the runtime would wake one of its threads for whatever comes, for nobody.
type descriptor struct{ fd int }

// take copies the descriptor of a connection; close undoes it.
func (d *descriptor) take(_ net.Conn, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) { d.fd, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err != nil {
		return err
	}
	return failed
}

// close closes the copy, and the socket if nothing else has it. shutdown closes the
// socket for writing. Neither blocks: nothing waits for what is still to be sent.
// They bypass the scheduler as read and write do.

func (d *descriptor) close() { _, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(d.fd), 0, 0) }

func (d *descriptor) shutdown() {
	_, _, _ = syscall.RawSyscall(syscall.SYS_SHUTDOWN, uintptr(d.fd), syscall.SHUT_WR, 0)
}

// release closes a connection whose descriptor was taken. The socket lives on in
// the copy.
func release(conn net.Conn) { _ = conn.Close() }

// read and write are recv(2) and send(2) on a socket that never blocks: they spare
// the kernel what it does for files. They also spare the scheduler the two
// hand-overs that it makes around a system call which may block. These cost more
// than their own time: on busy cores the scheduler's monitor takes short calls for
// long ones and starts threads.

func (d *descriptor) read(p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(d.fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), syscall.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}

func (d *descriptor) write(p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(d.fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	return int(n), errno
}

// unacked returns how many bytes written to a TCP socket its peer has not
// acknowledged yet.
func (d *descriptor) unacked() int {
	n, err := unix.IoctlGetInt(d.fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}
