//go:build !linux || portable

package relay

import (
	"errors"
	"sync"
	"syscall"
)

// poller serves legs by two goroutines each, which wait as the runtime does. It
// is for systems to develop on.
type poller struct{ goroutines sync.WaitGroup }

func newPoller() (*poller, error) { return new(poller), nil }

// close ends a poller that watches nothing any more.
func (p *poller) close() { p.goroutines.Wait() }

// watch has l served from now on.
func (p *poller) watch(l *leg) error {
	c, ok := l.wire.conn.(syscall.Conn)
	if !ok {
		return errors.New("not a socket")
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	p.goroutines.Go(func() {
		_ = raw.Read(func(uintptr) bool { l.relay.ready(l, readable|ended); return false }) // ends with the socket
	})
	p.goroutines.Go(func() {
		_ = raw.Write(func(uintptr) bool { l.relay.ready(l, writable); return false })
	})
	return nil
}

// forget has l served no more, and closes its socket. That waits for the
// goroutines, which wait for the session.
func (p *poller) forget(l *leg) {
	p.goroutines.Go(func() { _ = l.wire.conn.Close() })
}

// again has l read once more.
func (p *poller) again(l *leg) {
	p.goroutines.Go(func() { l.relay.ready(l, readable|ended) })
}
