package netpoll

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Ended tells whether the peer has ended its stream, though what it sent before was not
// read yet. An error means that the connection is broken, and the rest is lost.
func (c *Conn) Ended() (ended bool, err error) {
	fds := []unix.PollFd{{Fd: int32(c.socket.fd), Events: unix.POLLRDHUP}}
	if n, err := unix.Poll(fds, 0); n <= 0 || err != nil {
		return false, nil
	}
	if fds[0].Revents&unix.POLLERR != 0 {
		return true, syscall.ECONNRESET
	}
	return fds[0].Revents&(unix.POLLRDHUP|unix.POLLHUP) != 0, nil
}
