//go:build !linux

package relay

import (
	"errors"
	"syscall"
)

// readNow and writeNow are read(2) and write(2) on a socket that never waits.

func readNow(fd int, p []byte) (int, syscall.Errno) {
	n, err := syscall.Read(fd, p)
	return n, errno(err)
}

func writeNow(fd int, p []byte) (int, syscall.Errno) {
	n, err := syscall.Write(fd, p)
	return n, errno(err)
}

func errno(err error) syscall.Errno {
	var e syscall.Errno
	errors.As(err, &e)
	return e
}

// unsent returns how many bytes written to a TCP socket its peer has not
// acknowledged yet, as far as that is known.
func unsent(int) int { return 0 }
