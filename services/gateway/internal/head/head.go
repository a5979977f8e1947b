// Package head reads one HTTP/1.1 head of bounded size off a connection, from
// clients and from backends alike, and nothing beyond what came with its last
// bytes. Parsing it is net/http's, what it must say its callers'.
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
	// Max is the most bytes of a head.
	Max = 16 << 10
	// MaxAhead is the most bytes that are kept of what follows a head.
	MaxAhead = 4 << 10
)

var (
	// ErrTooLarge is returned for a head of more than Max bytes.
	ErrTooLarge = errors.New("head is too large")
	// ErrLongLine is returned for a first line that is longer than the caller allows.
	ErrLongLine = errors.New("first line is too long")
	// ErrMalformed is returned for bytes that cannot be a head.
	ErrMalformed = errors.New("malformed head")
)

// Reader reads heads. What it returns is good until it is used again or freed.
type Reader struct {
	buf  []byte
	src  bytes.Reader
	bufr *bufio.Reader
}

// Pool keeps readers. Its zero value is ready for use.
type Pool struct{ p sync.Pool }

// Get returns a reader.
func (p *Pool) Get() *Reader {
	if r, ok := p.p.Get().(*Reader); ok {
		return r
	}
	return &Reader{buf: make([]byte, 0, MaxAhead), bufr: bufio.NewReaderSize(nil, MaxAhead)}
}

// Put takes a reader back.
func (p *Pool) Put(r *Reader) { p.p.Put(r) }

// Read reads from src until a head is complete: its bytes with the empty line,
// and at most MaxAhead bytes that came behind it. The first line may have
// maxLine bytes. An error of src is returned as it is, io.EOF within a head as
// io.ErrUnexpectedEOF.
func (r *Reader) Read(src io.Reader, maxLine int) (raw, ahead []byte, err error) {
	r.buf = r.buf[:0]
	for {
		n, err := r.more(src)
		if n == len(r.buf) && n > 0 && !isToken(r.buf[:1]) {
			return nil, nil, ErrMalformed
		}
		if raw, ahead, ok := r.cut(len(r.buf) - n); ok {
			if len(raw) > Max {
				return nil, nil, ErrTooLarge
			}
			return raw, ahead, r.firstLine(maxLine)
		}
		if lineErr := r.firstLine(maxLine); lineErr != nil {
			return nil, nil, lineErr
		}
		switch {
		case errors.Is(err, io.EOF) && len(r.buf) > 0:
			return nil, nil, io.ErrUnexpectedEOF
		case err != nil:
			return nil, nil, err
		case len(r.buf) >= Max:
			return nil, nil, ErrTooLarge
		}
	}
}

// more reads once, at most as much as may be kept.
func (r *Reader) more(src io.Reader) (int, error) {
	if cap(r.buf)-len(r.buf) < MaxAhead/2 {
		grown := make([]byte, len(r.buf), Max+MaxAhead)
		copy(grown, r.buf)
		r.buf = grown
	}
	free := r.buf[len(r.buf):min(cap(r.buf), len(r.buf)+MaxAhead)]
	n, err := src.Read(free)
	r.buf = r.buf[:len(r.buf)+n]
	return n, err
}

func (r *Reader) cut(from int) (raw, ahead []byte, ok bool) {
	end := End(r.buf, from)
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

// End returns where the head at the start of b ends, -1 when it does not. Bytes
// before from are known to hold no end.
func End(b []byte, from int) int {
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

// Request parses a head as a request.
func (r *Reader) Request(raw []byte) (*http.Request, error) {
	if err := check(raw); err != nil {
		return nil, err
	}
	r.src.Reset(raw)
	r.bufr.Reset(&r.src)
	return http.ReadRequest(r.bufr)
}

// Response is the head of a response.
type Response struct {
	Status       int
	Major, Minor int // of the version of HTTP
	Header       http.Header
}

// Response parses a head as a response.
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
	_ = resp.Body.Close() // it complains of a body that is not there
	return &Response{resp.StatusCode, resp.ProtoMajor, resp.ProtoMinor, resp.Header}, nil
}

// check refuses what net/http's parser lets pass: continued lines and names
// that are no tokens.
func check(raw []byte) error {
	for name := range fields(raw) {
		if !isToken(name) {
			return ErrMalformed
		}
	}
	return nil
}

// fields gives the header lines, taken apart at their first colon.
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

// Count returns how many lines of a head have this name.
func Count(raw []byte, name string) int {
	n := 0
	for found := range fields(raw) {
		if len(found) == len(name) && strings.EqualFold(string(found), name) {
			n++
		}
	}
	return n
}
