//go:build !linux || portable

package relay

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// handle is a connection and its descriptor.
type handle struct {
	conn net.Conn
	fd   int
}

// take prepares a connection for being used without waiting.
func (h *handle) take(conn net.Conn, raw syscall.RawConn) error {
	h.conn = conn
	return errors.Join(raw.Control(func(fd uintptr) { h.fd = int(fd) }), conn.SetDeadline(time.Time{}))
}

func (h *handle) drop() {}

// release has nothing to do: the connection is used on.
func release(net.Conn) {}

// close is the poller's.
func (h *handle) close() {}

// read and write are read(2) and write(2) on a socket that never waits.

func (h *handle) read(p []byte) (int, syscall.Errno) {
	n, err := syscall.Read(h.fd, p)
	return n, errno(err)
}

func (h *handle) write(p []byte) (int, syscall.Errno) {
	n, err := syscall.Write(h.fd, p)
	return n, errno(err)
}

func errno(err error) syscall.Errno {
	var e syscall.Errno
	errors.As(err, &e)
	return e
}

// unsent returns how many bytes written to a TCP socket its peer has not
// acknowledged yet, as far as that is known.
func (h *handle) unsent() int { return 0 }
