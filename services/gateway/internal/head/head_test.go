package head

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// maxHead is the bound of the heads here.
const maxHead = 16 << 10

const get = "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"

func sized(n int) string {
	return "GET / HTTP/1.1\r\nA: " + strings.Repeat("a", n-len("GET / HTTP/1.1\r\nA: \r\n\r\n")) + "\r\n\r\n"
}

func TestRead(t *testing.T) {
	many := strings.Repeat("b", 3*MaxBuffered)
	tests := []struct {
		name, in string
		maxLine  int
		head     string
		err      error
	}{
		{"head alone", get, maxHead, get, nil},
		{"with bytes after it", get + "\x81\x80abc", maxHead, get, nil},
		{"with many bytes after it", get + many, maxHead, get, nil},
		{"line feeds alone", "GET / HTTP/1.1\nHost: h\n\nx", maxHead, "GET / HTTP/1.1\nHost: h\n\n", nil},
		{"no fields", "GET / HTTP/1.1\r\n\r\n", maxHead, "GET / HTTP/1.1\r\n\r\n", nil},
		{"largest", sized(maxHead), maxHead, sized(maxHead), nil},
		{"larger than a chunk", sized(3*MaxBuffered+7) + "zz", maxHead, sized(3*MaxBuffered + 7), nil},
		{"too large", sized(maxHead + 1), maxHead, "", ErrTooLarge},
		{"never ends", "GET / HTTP/1.1\r\nA: " + strings.Repeat("a", 2*maxHead), maxHead, "", ErrTooLarge},
		{"longest line", "GET /67890\nA: b\n\n", 10, "GET /67890\nA: b\n\n", nil},
		{"line too long", "GET /678901\nA: b\n\n", 10, "", ErrLongLine},
		{"line too long and never ends", "GET /678901", 10, "", ErrLongLine},
		{"nothing", "", maxHead, "", io.EOF},
		{"cut", "GET / HTTP/1.1\r\nHost:", maxHead, "", io.ErrUnexpectedEOF},
		{"TLS", "\x16\x03\x01\x02\x00", maxHead, "", ErrMalformed},
		{"two empty lines first", "\r\n\r\n" + get, maxHead, "", ErrMalformed},
		{"carriage return first", "\r" + get, maxHead, "", ErrMalformed},
		{"empty line alone", "\r\n", maxHead, "", io.EOF},
		{"half an empty line", "\r", maxHead, "", io.ErrUnexpectedEOF},
	}
	for _, tt := range tests {
		for split, src := range map[string]io.Reader{
			"at once":     strings.NewReader(tt.in),
			"by the byte": iotest.OneByteReader(strings.NewReader(tt.in)),
			"with EOF":    iotest.DataErrReader(strings.NewReader(tt.in)),
		} {
			t.Run(tt.name+"/"+split, func(t *testing.T) {
				p := NewPool(maxHead)
				r := p.Get()
				defer p.Put(r)
				raw, buffered, err := r.ReadRequest(src, tt.maxLine)
				if string(raw) != tt.head && err == nil || !errors.Is(err, tt.err) || tt.err != nil && err == nil {
					t.Fatalf("Read(%.40q) = %.40q, %v, want %.40q, %v", tt.in, raw, err, tt.head, tt.err)
				}
				if err != nil {
					return
				}
				rest, _ := io.ReadAll(src)
				if len(buffered) > MaxBuffered || string(buffered)+string(rest) != tt.in[len(tt.head):] {
					t.Errorf("Read(%.40q) kept %d bytes after the head and left %d, want %d together", tt.in, len(buffered), len(rest), len(tt.in)-len(tt.head))
				}
			})
		}
	}
}

// TestAnEmptyLineBeforeARequestIsIgnored: RFC 9112 section 2.2. Before a response it
// is not.
func TestAnEmptyLineBeforeARequestIsIgnored(t *testing.T) {
	for _, empty := range []string{"\r\n", "\n"} {
		for split, src := range map[string]func(string) io.Reader{
			"at once":     func(in string) io.Reader { return strings.NewReader(in) },
			"by the byte": func(in string) io.Reader { return iotest.OneByteReader(strings.NewReader(in)) },
		} {
			r := NewPool(maxHead).Get()
			in := src(empty + get + "abc")
			raw, buffered, err := r.ReadRequest(in, maxHead)
			rest, _ := io.ReadAll(in)
			if string(raw) != get || string(buffered)+string(rest) != "abc" || err != nil {
				t.Errorf("%s: ReadRequest after %q = %q, %q, %v, want the head and what follows", split, empty, raw, buffered, err)
			}
			if raw, _, err := r.ReadResponse(src(empty + get)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: ReadResponse after %q = %q, %v, want %v", split, empty, raw, err, ErrMalformed)
			}
		}
	}
}

func TestReadPassesErrorsOn(t *testing.T) {
	p := NewPool(maxHead)
	wrong := errors.New("wrong")
	_, _, err := p.Get().ReadRequest(io.MultiReader(strings.NewReader("GET"), iotest.ErrReader(wrong)), maxHead)
	if !errors.Is(err, wrong) {
		t.Errorf("Read = %v, want %v", err, wrong)
	}
}

func TestReaderIsUsedAgain(t *testing.T) {
	p := NewPool(maxHead)
	for _, in := range []string{sized(maxHead), get, sized(2 * MaxBuffered), get} {
		r := p.Get()
		raw, _, err := r.ReadRequest(strings.NewReader(in), maxHead)
		if err != nil || string(raw) != in {
			t.Errorf("Read(%.20q…) = %.20q…, %v, want what was sent", in, raw, err)
		}
		if _, err := r.Request(raw); err != nil {
			t.Errorf("Request(%.20q…) = %v", in, err)
		}
		p.Put(r)
	}
}

func TestRequestRefuses(t *testing.T) {
	for _, lines := range []string{
		"A : b", " A: b", "\tA: b", "A: b\r\n c", "A: b\r\n\tc", "A", ": b", "A b: c", "Ä: b", "A\x00: b", "A: b\x00", "A: b\rc", "A: \x7f",
		"Content-Length: x", "Content-Length: 1\r\nContent-Length: 2", "Host: a\r\nHost: b", "Content-Length: -1",
	} {
		raw := "GET / HTTP/1.1\r\n" + lines + "\r\n\r\n"
		p := NewPool(maxHead)
		if h, err := p.Get().Request([]byte(raw)); err == nil {
			t.Errorf("Request(%q) = %v, want an error", raw, h)
		}
	}
	for _, line := range []string{"GET /", "GET  / HTTP/1.1", "GET / HTTP/1", "GET / HTTP/x", "GE T / HTTP/1.1", "GET /%zz HTTP/1.1", "GET /\x01 HTTP/1.1"} {
		p := NewPool(maxHead)
		if h, err := p.Get().Request([]byte(line + "\r\nHost: h\r\n\r\n")); err == nil {
			t.Errorf("Request(%q) = %v, want an error", line, h)
		}
	}
}

func TestResponse(t *testing.T) {
	p := NewPool(maxHead)
	r := p.Get()
	resp, err := r.Response([]byte("HTTP/1.1 403 Nope\r\nContent-Length: 10\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n"))
	if err != nil || resp.Status != 403 || !slices.Equal(resp.Header["Set-Cookie"], []string{"a", "b"}) {
		t.Errorf("Response = %v, %v, want 403 with two cookies", resp, err)
	}
	for _, bad := range []string{"HTTP/1.1 x\r\n\r\n", "HTTP/1.1 101\r\nA : b\r\n\r\n", "nonsense\r\n\r\n", "HTTP/1.1 101 OK\r\nA: b\r\n c\r\n\r\n"} {
		if resp, err := r.Response([]byte(bad)); err == nil {
			t.Errorf("Response(%q) = %v, want an error", bad, resp.Status)
		}
	}
}

func TestCount(t *testing.T) {
	raw := []byte("GET / HTTP/1.1\r\nHost: a\r\nX-Host: b\r\nHOST:c\r\nhost2: d\r\n\r\nHost: e\r\n")
	if got := Count(raw, "Host"); got != 2 {
		t.Errorf("Count = %d, want 2", got)
	}
}

func TestLists(t *testing.T) {
	lines := []string{"keep-alive, Upgrade", "", ",,", "\tX ,y"}
	if got, want := slices.Collect(List(lines)), []string{"keep-alive", "Upgrade", "X", "y"}; !slices.Equal(got, want) {
		t.Errorf("List(%q) = %q, want %q", lines, got, want)
	}
	for element, want := range map[string]bool{"upgrade": true, "UPGRADE": true, "x": true, "grade": false, "": false} {
		if got := Has(lines, element); got != want {
			t.Errorf("Has(%q, %q) = %t, want %t", lines, element, got, want)
		}
	}
}

func TestEndToEnd(t *testing.T) {
	connection := []string{"Upgrade, X-Mine", "x-other"}
	for name, want := range map[string]bool{
		"Cookie": true, "Traceparent": true, "Tracestate": true, "Authorization": true, "Origin": true,
		"X-Mine": false, "X-Other": false, "Connection": false, "Upgrade": false, "Te": false, "Keep-Alive": false,
		"Transfer-Encoding": false, "Content-Length": false, "Proxy-Authorization": false,
		"Sec-Websocket-Key": false, "Sec-Websocket-Extensions": false, "Sec-Fetch-Mode": true,
	} {
		if got := EndToEnd(name, connection); got != want {
			t.Errorf("EndToEnd(%q) = %t, want %t", name, got, want)
		}
	}
}

// FuzzRead checks that heads are found however the bytes are split, that no byte is
// lost, and that nothing panics.
func FuzzRead(f *testing.F) {
	for _, in := range []string{get, get + "abc", "GET / HTTP/1.1\nA: b\n\n", "\r\n\r\n", "\r\n" + get, "\n" + get, "GET / HTTP/1.1\r\nA\r\n\r\n", "a\n\r\nb\n\n"} {
		f.Add([]byte(in), 3)
	}
	p := NewPool(maxHead)
	f.Fuzz(func(t *testing.T, in []byte, chunk int) {
		whole, split := bytes.NewReader(in), &chunks{in: in, size: chunk&0xff + 1}
		a, b := p.Get(), p.Get()
		defer func() { p.Put(a); p.Put(b) }()
		raw, buffered, err := a.ReadRequest(whole, maxHead)
		raw2, buffered2, err2 := b.ReadRequest(split, maxHead)
		if (err == nil) != (err2 == nil) || !bytes.Equal(raw, raw2) {
			t.Fatalf("Read(%q) = %q, %v, in chunks %q, %v", in, raw, err, raw2, err2)
		}
		if err != nil {
			return
		}
		if rest, ok := bytes.CutPrefix(in, []byte("\r\n")); ok {
			in = rest
		} else {
			in = bytes.TrimPrefix(in, []byte("\n"))
		}
		if !bytes.HasPrefix(in[len(raw):], buffered) || !bytes.Equal(slices.Concat(raw2, buffered2, split.in), in) {
			t.Fatalf("Read(%q) = %q and %q, in chunks %q and %q: bytes are lost", in, raw, buffered, raw2, buffered2)
		}
		if len(raw) > maxHead || end(raw, 0) != len(raw) {
			t.Fatalf("Read(%q) = %q, which is not a head", in, raw)
		}
		h, err := a.Request(raw)
		if err == nil {
			for name, values := range h.Header {
				if !IsToken(name) || strings.ContainsAny(strings.Join(values, ""), "\r\n\x00") {
					t.Fatalf("Request(%q) has the header %q: %q", raw, name, values)
				}
			}
		}
	})
}

type chunks struct {
	in   []byte
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.in[:min(c.size, len(c.in))])
	c.in = c.in[n:]
	return n, nil
}

func BenchmarkRequest(b *testing.B) {
	raw := "GET /echo/1.0.0 HTTP/1.1\r\nHost: localhost:9099\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\nUser-Agent: bench\r\n" +
		"Authorization: Bearer " + strings.Repeat("abcdefgh", 100) + "\r\n\r\n"
	p := NewPool(maxHead)
	b.ReportAllocs()
	for b.Loop() {
		r := p.Get()
		raw, _, err := r.ReadRequest(strings.NewReader(raw), maxHead)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := r.Request(raw); err != nil {
			b.Fatal(err)
		}
		Count(raw, "Host")
		p.Put(r)
	}
}

// TestAcceptKey is the example of RFC 6455 section 1.3.
func TestAcceptKey(t *testing.T) {
	if got, want := AcceptKey("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; got != want {
		t.Errorf("AcceptKey = %q, want %q", got, want)
	}
}
