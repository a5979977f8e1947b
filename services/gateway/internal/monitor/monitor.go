// Package monitor notices when a client leaves while it waits for an answer, which only
// reading from its connection can tell.
package monitor

import (
	"net"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
)

// Delay is how long an answer may take before its client is monitored: most come sooner, and
// need no goroutine for it.
const Delay = 20 * time.Millisecond

// Monitor reads from a connection until that is stopped. What the client sends in the
// meantime is kept; once that is head.MaxBuffered bytes, reading stops, and so does the
// monitor. Its zero value monitors nothing.
type Monitor struct {
	conn    net.Conn
	timer   *time.Timer
	gone    func()
	reading sync.WaitGroup
	stopped bool
	buf     []byte
}

// Start has gone called when the client leaves. Reading begins after a delay; buffered is
// what was read already. The connection must not be read by others until Stop has returned.
func (m *Monitor) Start(conn net.Conn, buffered []byte, delay time.Duration, gone func()) {
	m.conn, m.gone, m.buf = conn, gone, buffered
	m.reading.Add(1)
	m.timer = time.AfterFunc(delay, m.read)
}

func (m *Monitor) read() {
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
			m.gone()
			return
		}
	}
}

// Stop ends the monitoring and returns what the client has sent. It may be called
// more than once. Where it had to interrupt a read, the connection's deadline for reading has
// passed, and is the caller's to set again.
func (m *Monitor) Stop() []byte {
	if m.timer != nil && !m.stopped && !m.timer.Stop() {
		// A deadline in the past interrupts the read that is under way.
		_ = m.conn.SetReadDeadline(time.Unix(1, 0))
		m.reading.Wait()
	}
	m.stopped = true
	return m.buf
}
