package handshake

import (
	"context"
	"net"
	"sync"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
)

// watch notices when a client leaves during its handshake, which only reading from
// its connection can tell. What it sends in the meantime is kept; once that is
// head.MaxBuffered bytes, reading stops, and so does the watch.
type watch struct {
	conn    net.Conn
	timer   *time.Timer
	cancel  context.CancelCauseFunc
	reading sync.WaitGroup
	stopped bool
	buf     []byte
}

// start cancels the handshake when r's client leaves. It starts after the given
// delay: most handshakes are over by then, and need no goroutine. The connection
// must not be used until stop has returned.
func (w *watch) start(r *listener.Request, delay time.Duration, cancel context.CancelCauseFunc) {
	w.conn, w.cancel, w.buf = r.Conn, cancel, r.Buffered
	w.reading.Add(1)
	w.timer = time.AfterFunc(delay, w.read)
}

func (w *watch) read() {
	defer w.reading.Done()
	for len(w.buf) < head.MaxBuffered {
		if cap(w.buf) < head.MaxBuffered {
			w.buf = append(make([]byte, 0, head.MaxBuffered), w.buf...)
		}
		n, err := w.conn.Read(w.buf[len(w.buf):head.MaxBuffered])
		w.buf = w.buf[:len(w.buf)+n]
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // a connection's own error
			return
		}
		if err != nil {
			w.cancel(errClientGone)
			return
		}
	}
}

// stop ends the watch and returns what the client has sent. It may be called more
// than once.
func (w *watch) stop() []byte {
	if !w.stopped && !w.timer.Stop() {
		// A deadline in the past interrupts the read that is under way.
		_ = w.conn.SetReadDeadline(time.Unix(1, 0))
		w.reading.Wait()
	}
	w.stopped = true
	return w.buf
}
