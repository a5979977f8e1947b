package handshake

import (
	"net"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/gateway/internal/listener"
)

// watch notices a client that leaves during its handshake. What the client sends
// meanwhile is kept; when that is too much, the client is no longer read.
type watch struct {
	conn    net.Conn
	timer   *time.Timer
	gone    func()
	done    chan struct{} // closed when the reading has ended
	stopped bool
	buf     []byte
}

// watchClient calls gone when r's client leaves, from some patience on. The
// connection must not be used until stop has returned.
func watchClient(r *listener.Request, patience time.Duration, gone func()) *watch {
	w := &watch{conn: r.Conn, gone: gone, done: make(chan struct{}), buf: r.Ahead}
	w.timer = time.AfterFunc(patience, w.read)
	return w
}

func (w *watch) read() {
	defer close(w.done)
	for len(w.buf) < head.MaxAhead {
		if cap(w.buf) < head.MaxAhead {
			w.buf = append(make([]byte, 0, head.MaxAhead), w.buf...)
		}
		n, err := w.conn.Read(w.buf[len(w.buf):head.MaxAhead])
		w.buf = w.buf[:len(w.buf)+n]
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() { //nolint:errorlint // a connection's own error
			return
		}
		if err != nil {
			w.gone()
			return
		}
	}
}

// stop ends the watch and returns what the client sent so far. It may be called
// again.
func (w *watch) stop() []byte {
	if !w.stopped && !w.timer.Stop() {
		// A deadline in the past makes the reading return.
		_ = w.conn.SetReadDeadline(time.Unix(1, 0))
		<-w.done
	}
	w.stopped = true
	return w.buf
}
