//go:build !linux || portable

package netpoll

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// descriptor is that of a connection, which is kept beside it.
type descriptor struct {
	conn net.Conn
	fd   int
}

// take prepares a connection for being used without waiting.
func (d *descriptor) take(conn net.Conn, raw syscall.RawConn) error {
	d.conn = conn
	return errors.Join(raw.Control(func(fd uintptr) { d.fd = int(fd) }), conn.SetDeadline(time.Time{}))
}

// close leaves the connection alone: the poller or the caller closes it.
func (d *descriptor) close() {}

// shutdown closes the socket for writing.
func (d *descriptor) shutdown() { _ = syscall.Shutdown(d.fd, syscall.SHUT_WR) }

// release has nothing to do: the connection is used on.
func release(net.Conn) {}

// read and write are read(2) and write(2) on a socket that never blocks.

func (d *descriptor) read(p []byte) (int, syscall.Errno) {
	n, err := syscall.Read(d.fd, p)
	return n, errno(err)
}

func (d *descriptor) write(p []byte) (int, syscall.Errno) {
	n, err := syscall.Write(d.fd, p)
	return n, errno(err)
}

func errno(err error) syscall.Errno {
	var e syscall.Errno
	errors.As(err, &e)
	return e
}

// unacked returns how many bytes written to a TCP socket its peer has not
// acknowledged yet, as far as that is known.
func (d *descriptor) unacked() int { return 0 }
