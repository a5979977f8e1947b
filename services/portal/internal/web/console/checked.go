package console

import (
	"bytes"
	"fmt"
	"net"

	"github.com/tidegatehq/tidegate/services/kit/frame"
)

// checked is a connection whose incoming frames are checked against RFC 6455 before
// gws sees them: gws takes lengths with their highest bit set, and others that it should
// not. Reading it fails with the violation.
type checked struct {
	net.Conn
	walker  frame.Walker
	head    []byte // the begin of a frame's header, or of the answer to the handshake
	answer  bool   // the answer to the handshake is still to come
	plain   bool   // the answer was another than 101, and no frames follow
	control int64  // payload of a control frame that is still to come
	failed  error
}

// mostAnswer is how long the head of a gateway's answer may be.
const mostAnswer = 64 << 10

// newChecked returns a checked connection. Frames of a client must be masked; before those
// of a server comes its answer to the handshake.
func newChecked(conn net.Conn, fromClient bool) *checked {
	return &checked{Conn: conn, walker: frame.NewWalker(fromClient, mostMessage), answer: !fromClient}
}

// Read reads what is according to the protocol. Of a violation it tells together with
// the bytes before, which its caller drops: the connection has failed.
func (c *checked) Read(p []byte) (int, error) {
	if c.failed != nil {
		return 0, c.failed
	}
	n, err := c.Conn.Read(p)
	if c.failed = c.check(p[:n]); c.failed != nil {
		return 0, c.failed
	}
	return n, err
}

// check follows the frames through the next bytes.
func (c *checked) check(b []byte) error {
	for len(b) > 0 && !c.plain {
		switch {
		case c.answer:
			n, err := c.readAnswer(b)
			if err != nil {
				return err
			}
			b = b[n:]
		case c.control > 0:
			n := min(c.control, int64(len(b)))
			c.control -= n
			b = b[n:]
		default:
			if n := c.walker.Skip(len(b)); n > 0 {
				b = b[n:]
				continue
			}
			c.head, b = append(c.head, b[0]), b[1:]
			if err := c.readHeader(); err != nil {
				return err
			}
		}
	}
	return nil
}

// readHeader looks at a frame's header as far as it has come.
func (c *checked) readHeader() error {
	h, v := c.walker.Header(c.head)
	switch {
	case v != frame.None:
		return fmt.Errorf("frame: %w", v)
	case h.Size == 0:
		return nil
	case h.Control():
		c.control = h.Length
	default:
		c.walker.Begin(&h)
	}
	c.head = c.head[:0]
	return nil
}

// readAnswer takes what is left of the head of the answer from b, and returns how much.
func (c *checked) readAnswer(b []byte) (int, error) {
	before := len(c.head)
	c.head = append(c.head, b...)
	end := bytes.Index(c.head[max(0, before-3):], []byte("\r\n\r\n"))
	if end < 0 {
		if len(c.head) > mostAnswer {
			return 0, fmt.Errorf("the answer's head is longer than %d bytes", mostAnswer)
		}
		return len(b), nil
	}
	end += max(0, before-3) + 4
	c.answer, c.plain = false, !bytes.HasPrefix(c.head, []byte("HTTP/1.1 101 "))
	c.head = nil
	return end - before, nil
}
