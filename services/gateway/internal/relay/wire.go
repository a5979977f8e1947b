package relay

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// errWouldBlock is what reads below TLS give when nothing is there. It calls
// itself temporary, or the TLS connection would give up.
var errWouldBlock error = wouldBlock{}

type wouldBlock struct{}

// Error says that nothing is there.
func (wouldBlock) Error() string { return "nothing to read yet" }

// Timeout makes the error a net.Error.
func (wouldBlock) Timeout() bool { return true }

// Temporary makes the TLS connection go on.
func (wouldBlock) Temporary() bool { return true }

// maxSpill bounds what a TLS connection may write without waiting: what was read
// at once into the largest buffer, encrypted, and answers to key updates.
const maxSpill = 2 * maxBuffer

var errSpill = errors.New("too much written without being read")

// wire is a leg's socket, used without waiting. What the socket does not take
// is kept in order, so that a frame of ours is never sent by half.
type wire struct {
	handle
	spill []byte
}

// read gives what is there, errWouldBlock or io.EOF.
func (w *wire) read(p []byte) (int, error) {
	for {
		n, errno := w.handle.read(p)
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

// push writes what was kept, then p, and returns how many bytes of p the socket
// took, and whether it took any byte and all of them. Nothing is kept anew.
func (w *wire) push(p []byte) (n int, some, all bool, err error) {
	if len(w.spill) > 0 {
		k, err := w.write(w.spill)
		some = k > 0
		if w.spill = w.spill[k:]; len(w.spill) > 0 || err != nil {
			return 0, some, false, err
		}
		w.spill = nil
	}
	n, err = w.write(p)
	return n, some || n > 0, n == len(p), err
}

// put writes p and keeps what the socket does not take.
func (w *wire) put(p []byte) error {
	if len(w.spill) == 0 {
		n, err := w.write(p)
		if err != nil || n == len(p) {
			return err
		}
		p = p[n:]
	}
	if len(w.spill)+len(p) > maxSpill {
		return errSpill
	}
	w.spill = append(w.spill, p...)
	return nil
}

// waiting reports whether bytes are kept.
func (w *wire) waiting() bool { return len(w.spill) > 0 }

// write gives the socket what it takes.
func (w *wire) write(p []byte) (done int, err error) {
	for done < len(p) {
		n, errno := w.handle.write(p[done:])
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

// below is the connection under a TLS leg. During the TLS handshake it is the
// plain connection; once live, reads and writes never wait.
type below struct {
	net.Conn // closed once it is live
	wire     wire
	live     bool
}

// BelowTLS wraps a connection that will carry TLS, so that a session can wait
// for readability of the connection below without holding a buffer:
// tls.Server(relay.BelowTLS(conn), config). Until a session starts on it, it
// behaves as conn does.
func BelowTLS(conn net.Conn) net.Conn { return &below{Conn: conn} }

// Read reads what is there; before the session, it waits.
func (b *below) Read(p []byte) (int, error) {
	if !b.live {
		return b.Conn.Read(p)
	}
	return b.wire.read(p)
}

// Write writes all of p, or keeps it; before the session, it waits.
func (b *below) Write(p []byte) (int, error) {
	if !b.live {
		return b.Conn.Write(p)
	}
	if err := b.wire.put(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// SetWriteDeadline keeps the deadlines that a TLS close sets from the session's
// own waiting.
func (b *below) SetWriteDeadline(t time.Time) error {
	if b.live {
		return nil
	}
	return b.Conn.SetWriteDeadline(t)
}
