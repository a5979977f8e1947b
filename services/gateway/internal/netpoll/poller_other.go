//go:build !linux || portable

package netpoll

import (
	"errors"
	"sync"
	"syscall"
)

// Poller serves connections by two goroutines each, which wait as the runtime does.
// It is for systems to develop on.
type Poller struct{ goroutines sync.WaitGroup }

// NewPoller returns a Poller without connections.
func NewPoller() (*Poller, error) { return new(Poller), nil }

// Close ends a Poller that has no connections any more.
func (p *Poller) Close() { p.goroutines.Wait() }

// Add has h called for c, which is attached, from now on.
func (p *Poller) Add(c *Conn, h Handler) error {
	conn, ok := c.socket.conn.(syscall.Conn)
	if !ok {
		return errors.New("not a socket")
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	p.goroutines.Go(func() {
		_ = raw.Read(func(uintptr) bool { h.Ready(Readable | Ended); return false }) // ends with the socket
	})
	p.goroutines.Go(func() {
		_ = raw.Write(func(uintptr) bool { h.Ready(Writable); return false })
	})
	if c.tls != nil { // which may have read something already
		p.Requeue(h)
	}
	return nil
}

// Remove takes back an Add whose connection is not used yet. It closes the
// connection, for which the goroutines wait.
func (p *Poller) Remove(c *Conn) {
	conn := c.socket.conn
	p.goroutines.Go(func() { _ = conn.Close() })
}

// CloseConn closes c's socket, and its handler is served no more. The close waits
// for the goroutines, which may wait for whoever calls.
func (p *Poller) CloseConn(c *Conn) {
	p.Remove(c)
	*c = Conn{}
}

// Requeue has h's Ready called once more, as if there were something to read, be
// it the end.
func (p *Poller) Requeue(h Handler) {
	p.goroutines.Go(func() { h.Ready(Readable | Ended) })
}
