package handshake

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
)

// monitor notices when a client leaves during its handshake, which only reading from
// its connection can tell. What it sends in the meantime is kept; once that is
// head.MaxBuffered bytes, reading stops, and so does the monitor.
type monitor struct {
	conn    net.Conn
	timer   *time.Timer
	cancel  context.CancelCauseFunc
	reading sync.WaitGroup
	stopped bool
	buf     []byte
}

// received ends the monitoring of the client and returns what it has sent that is to be
// relayed. It may be called more than once.
func (a *attempt) received() []byte {
	if a.heard() {
		return a.first.stop()
	}
	return a.monitor.stop()
}

// start has the handshake cancelled when r's client leaves. Reading begins after the
// given delay: most handshakes are over by then, and need no goroutine for it. The
// connection must not be read until stop has returned.
func (m *monitor) start(r *listener.Request, delay time.Duration, cancel context.CancelCauseFunc) {
	m.conn, m.cancel, m.buf = r.Conn, cancel, r.Buffered
	m.reading.Add(1)
	m.timer = time.AfterFunc(delay, m.read)
}

func (m *monitor) read() {
	defer m.reading.Done()
	for len(m.buf) < head.MaxBuffered {
		if cap(m.buf) < head.MaxBuffered {
			m.buf = append(make([]byte, 0, head.MaxBuffered), m.buf...)
		}
		n, err := m.conn.Read(m.buf[len(m.buf):head.MaxBuffered])
		m.buf = m.buf[:len(m.buf)+n]
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // a connection's own error
			return
		}
		if err != nil {
			m.cancel(errClientGone)
			return
		}
	}
}

// stop ends the monitoring and returns what the client has sent. It may be called
// more than once.
func (m *monitor) stop() []byte {
	if !m.stopped && !m.timer.Stop() {
		// A deadline in the past interrupts the read that is under way.
		_ = m.conn.SetReadDeadline(time.Unix(1, 0))
		m.reading.Wait()
	}
	m.stopped = true
	return m.buf
}
