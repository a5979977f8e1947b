package beside

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

var (
	errBodyTooLarge = errors.New("the body is too large")
	errBodyOver     = errors.New("the request is over")
)

// readers are those of bodies.
var readers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

// body is the body of a request as the backend gets it. It is read by a goroutine of the
// transport's, which may be at it still when the answer has been sent.
type body struct {
	x         *exchange
	ahead     *bytes.Reader // what was read with the head; from reads it before the connection
	from      *bufio.Reader
	src       io.Reader // decodes what from reads
	max       int64
	continues bool // the client waits for 100

	reading sync.Mutex // held by a read, which may wait for the client

	mu    sync.Mutex // of what follows
	n     int64
	err   error // of all reads from now on
	whole bool  // all of it was read
	// done is called once that is so.
	done func()
}

// newBody returns the body of x's request. Its framing is that of the head which the listener
// has checked.
func newBody(x *exchange, most int64) (*body, error) {
	framing := "Transfer-Encoding: chunked"
	if n := x.r.Beside.Length; n >= 0 {
		framing = fmt.Sprintf("Content-Length: %d", n)
	}
	b := &body{x: x, max: most, continues: x.r.Beside.Continue, ahead: bytes.NewReader(x.r.Buffered)}
	b.from, _ = readers.Get().(*bufio.Reader)
	b.from.Reset(io.MultiReader(strings.NewReader("POST / HTTP/1.1\r\nHost: body\r\n"+framing+"\r\n\r\n"), b.ahead, x.conn))
	r, err := http.ReadRequest(b.from)
	if err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	b.src = r.Body
	return b, nil
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if err := b.state(); err != nil {
		return 0, err
	}
	if b.continues {
		b.continues = false
		b.x.sayContinue()
	}
	n, err := b.src.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n += int64(n)
	switch {
	case b.n > b.max:
		b.err = errBodyTooLarge
		return 0, b.err
	case err != nil:
		b.err = err
	}
	b.x.came(limits.Inbound, n)
	if errors.Is(err, io.EOF) {
		b.whole = true
		b.x.watch(b.rest())
		if b.done != nil {
			b.done()
		}
	}
	return n, err
}

// state returns the error of all reads from now on, nil for none.
func (b *body) state() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// rest returns what was read after the body.
func (b *body) rest() []byte {
	after, _ := b.from.Peek(b.from.Buffered())
	rest := make([]byte, len(after), len(after)+b.ahead.Len())
	copy(rest, after)
	more, _ := io.ReadAll(b.ahead)
	return append(rest, more...)
}

// Close implements io.Closer. The exchange ends the body.
func (b *body) Close() error { return nil }

// isWhole reports whether all of the body was read.
func (b *body) isWhole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.whole
}

// whenWhole has fn called once all of the body was read, at once if it was.
func (b *body) whenWhole(fn func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.whole {
		fn()
		return
	}
	b.done = fn
}

// forget has nothing called any more once all of the body was read.
func (b *body) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = nil
}

// failed returns why the body could not be read, nil if it could so far.
func (b *body) failed() error {
	if err := b.state(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// end ends the body, and reports whether all of it was read. A read that is under way is
// interrupted.
func (b *body) end() (whole bool) {
	if !b.reading.TryLock() {
		b.x.conn.stopReads()
		b.reading.Lock()
	}
	defer b.reading.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.from == nil {
		return b.whole
	}
	if b.err == nil {
		b.err = errBodyOver
	}
	b.from.Reset(nil)
	readers.Put(b.from)
	b.from, b.done = nil, nil
	return b.whole
}
