package netpoll

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// errWouldBlock is what reads below TLS give when nothing is there. underTLS
// says why it has these methods.
var errWouldBlock error = wouldBlock{}

type wouldBlock struct{}

// Error says that nothing is there.
func (wouldBlock) Error() string { return "nothing to read yet" }

// Timeout makes the error a net.Error.
func (wouldBlock) Timeout() bool { return true }

// Temporary makes the TLS connection go on.
func (wouldBlock) Temporary() bool { return true }

// maxPending bounds what a socket keeps for later. A TLS connection may write so
// much without being asked: what was read at once into the largest buffer,
// encrypted, and answers to key updates.
const maxPending = 2 * MaxBuffer

var errPending = errors.New("too much written without being read")

// socket is a socket that is used without waiting. What it is given whole and does
// not take is kept in order, so that no frame of the gateway's own is sent in part.
type socket struct {
	descriptor
	pending []byte // written before anything else
}

// take has s use the socket of conn; drop undoes it.
func (s *socket) take(conn net.Conn) error {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return errors.New("not a socket")
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	return s.descriptor.take(conn, raw)
}

// read gives what is there, errWouldBlock or io.EOF.
func (s *socket) read(p []byte) (int, error) {
	for {
		n, errno := s.descriptor.read(p)
		switch {
		case errno == 0 && n > 0:
			return n, nil
		case errno == 0:
			return 0, io.EOF
		case errno == syscall.EAGAIN:
			return 0, errWouldBlock
		case errno != syscall.EINTR:
			return 0, errno
		}
	}
}

// push writes what is pending, then p. It returns how many bytes of p the socket
// took, whether it took any byte at all, and whether it took all of them. Nothing
// more is kept.
func (s *socket) push(p []byte) (n int, someSent, allSent bool, err error) {
	if len(s.pending) > 0 {
		k, err := s.write(s.pending)
		someSent = k > 0
		if s.pending = s.pending[k:]; len(s.pending) > 0 || err != nil {
			return 0, someSent, false, err
		}
		s.pending = nil
	}
	n, err = s.write(p)
	return n, someSent || n > 0, n == len(p), err
}

// put writes p and keeps what the socket does not take.
func (s *socket) put(p []byte) error {
	if len(s.pending) == 0 {
		n, err := s.write(p)
		if err != nil || n == len(p) {
			return err
		}
		p = p[n:]
	}
	if len(s.pending)+len(p) > maxPending {
		return errPending
	}
	s.pending = append(s.pending, p...)
	return nil
}

// write gives the socket what it takes.
func (s *socket) write(p []byte) (done int, err error) {
	for done < len(p) {
		n, errno := s.descriptor.write(p[done:])
		switch {
		case errno == 0:
			done += n
		case errno == syscall.EAGAIN:
			return done, nil
		case errno != syscall.EINTR:
			return done, errno
		}
	}
	return done, nil
}
