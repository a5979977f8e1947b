// Package head has what the gateway needs of HTTP/1.1, where a connection carries
// one request and its response: it reads heads of bounded size, from clients and
// from backends, and knows which of their fields end at the gateway. Heads are
// parsed by net/http; what they must say is checked by the callers.
package head

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"
	"sync"
)

const (
	// DefaultMax is how many bytes a head may have by default: as many as a token in
	// the query, as long as the request target allows, another in a header, and
	// several cookies need.
	DefaultMax = 32 << 10
	// MaxBuffered is the most bytes after a head that are read along with it.
	MaxBuffered = 4 << 10
)

var (
	// ErrTooLarge is returned for a head of more bytes than its pool allows.
	ErrTooLarge = errors.New("head is too large")
	// ErrLongLine is returned for a first line that is longer than the caller allows.
	ErrLongLine = errors.New("first line is too long")
	// ErrMalformed is returned for bytes that cannot be a head.
	ErrMalformed = errors.New("malformed head")
)

// Reader reads and parses heads. The bytes that it returns are valid until it is
// used again or put back into its pool; parsed heads are the caller's.
type Reader struct {
	max  int
	buf  []byte
	src  bytes.Reader
	bufr *bufio.Reader
}

// Pool is a pool of readers.
type Pool struct {
	max int
	p   sync.Pool
}

// NewPool returns a pool whose readers take heads of at most max bytes.
func NewPool(max int) *Pool { return &Pool{max: max} }

// Max returns how many bytes a head may have.
func (p *Pool) Max() int { return p.max }

// Get returns a reader, to be given back with Put.
func (p *Pool) Get() *Reader {
	if r, ok := p.p.Get().(*Reader); ok {
		return r
	}
	return &Reader{max: p.max, buf: make([]byte, 0, MaxBuffered), bufr: bufio.NewReaderSize(nil, MaxBuffered)}
}

// Put gives a reader back.
func (p *Pool) Put(r *Reader) { p.p.Put(r) }

// ReadRequest reads the head of a request from src, and returns its bytes, the
// empty line included, and the bytes after it that were read along, at most
// MaxBuffered. The first line may have maxLine bytes; one empty line before it is
// ignored (RFC 9112 section 2.2). The error is ErrTooLarge, ErrLongLine,
// ErrMalformed, io.ErrUnexpectedEOF for a head that is cut off, or an error of src
// as it is.
func (r *Reader) ReadRequest(src io.Reader, maxLine int) (raw, buffered []byte, err error) {
	return r.read(src, maxLine, true)
}

// ReadResponse reads the head of a response, as ReadRequest does that of a request,
// but with no bound of its own for the first line, and no empty line before it.
func (r *Reader) ReadResponse(src io.Reader) (raw, buffered []byte, err error) {
	return r.read(src, r.max, false)
}

// read reads a head. While maybeEmpty is set, the first line may be an empty one
// that is to be ignored.
func (r *Reader) read(src io.Reader, maxLine int, maybeEmpty bool) (raw, buffered []byte, err error) {
	r.buf = r.buf[:0]
	for {
		n, err := r.more(src)
		maybeEmpty = maybeEmpty && !r.skipEmptyLine()
		if !maybeEmpty && len(r.buf) > 0 && !isToken(r.buf[:1]) {
			return nil, nil, ErrMalformed
		}
		if raw, buffered, ok := r.cut(len(r.buf) - n); ok {
			if len(raw) > r.max {
				return nil, nil, ErrTooLarge
			}
			return raw, buffered, r.firstLine(maxLine)
		}
		if lineErr := r.firstLine(maxLine); lineErr != nil {
			return nil, nil, lineErr
		}
		switch {
		case errors.Is(err, io.EOF) && len(r.buf) > 0:
			return nil, nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, nil, err
		case len(r.buf) >= r.max:
			return nil, nil, ErrTooLarge
		}
	}
}

// skipEmptyLine removes an empty line from the start of what was read. It returns
// false while more must be read to know whether there is one.
func (r *Reader) skipEmptyLine() bool {
	for _, end := range []string{"\r\n", "\n"} {
		if rest, ok := bytes.CutPrefix(r.buf, []byte(end)); ok {
			r.buf = append(r.buf[:0], rest...)
			return true
		}
	}
	return len(r.buf) > 0 && string(r.buf) != "\r"
}

// more reads once, at most MaxBuffered bytes. Most heads fit the buffer that a
// reader begins with; it doubles for one that does not.
func (r *Reader) more(src io.Reader) (int, error) {
	if cap(r.buf)-len(r.buf) < MaxBuffered/2 {
		grown := make([]byte, len(r.buf), min(2*cap(r.buf), r.max+MaxBuffered))
		copy(grown, r.buf)
		r.buf = grown
	}
	free := r.buf[len(r.buf):min(cap(r.buf), len(r.buf)+MaxBuffered)]
	n, err := src.Read(free)
	r.buf = r.buf[:len(r.buf)+n]
	return n, err
}

func (r *Reader) cut(from int) (raw, buffered []byte, ok bool) {
	end := end(r.buf, from)
	if end < 0 {
		return nil, nil, false
	}
	return r.buf[:end], r.buf[end:], true
}

func (r *Reader) firstLine(maxLine int) error {
	if len(r.buf) <= maxLine || bytes.IndexByte(r.buf[:maxLine+1], '\n') >= 0 {
		return nil
	}
	return ErrLongLine
}

// end returns where the head at the start of b ends, -1 if it does not. The first
// from bytes are known not to hold the end.
func end(b []byte, from int) int {
	for i := max(from-3, 0); ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return -1
		}
		i += n + 1
		switch rest := b[i:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return i + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return i + 2
		}
	}
}

// Request parses the head of a request.
func (r *Reader) Request(raw []byte) (*http.Request, error) {
	if err := check(raw); err != nil {
		return nil, err
	}
	r.src.Reset(raw)
	r.bufr.Reset(&r.src)
	return http.ReadRequest(r.bufr)
}

// Response is the parsed head of a response.
type Response struct {
	Status       int
	Major, Minor int // of the version of HTTP
	Header       http.Header
}

// Response parses the head of a response.
func (r *Reader) Response(raw []byte) (*Response, error) {
	if err := check(raw); err != nil {
		return nil, err
	}
	r.src.Reset(raw)
	r.bufr.Reset(&r.src)
	resp, err := http.ReadResponse(r.bufr, nil)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close() // the body is not in what was parsed, so this may fail
	return &Response{Status: resp.StatusCode, Major: resp.ProtoMajor, Minor: resp.ProtoMinor, Header: resp.Header}, nil
}

// check refuses what net/http's parser would accept: folded lines, and names that
// are not tokens.
func check(raw []byte) error {
	for name := range fields(raw) {
		if !isToken(name) {
			return ErrMalformed
		}
	}
	return nil
}

// fields iterates over the header lines, each split at its first colon.
func fields(raw []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		_, rest, _ := bytes.Cut(raw, []byte{'\n'})
		for {
			line, next, ok := bytes.Cut(rest, []byte{'\n'})
			line = bytes.TrimSuffix(line, []byte{'\r'})
			if !ok || len(line) == 0 {
				return
			}
			name, value, _ := bytes.Cut(line, []byte{':'})
			if !yield(name, value) {
				return
			}
			rest = next
		}
	}
}

// Count returns how many header lines of a head have this name. A parsed request
// does not say how many Host lines it had.
func Count(raw []byte, name string) int {
	n := 0
	for found := range fields(raw) {
		if len(found) == len(name) && strings.EqualFold(string(found), name) {
			n++
		}
	}
	return n
}
