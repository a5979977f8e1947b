package e2e

import (
	"bufio"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// rawBackend takes handshakes and keeps what it was sent, byte by byte.
type rawBackend struct {
	url string

	mu    sync.Mutex
	conns []*rawConn
}

// rawConn is what one connection to a backend carried.
type rawConn struct {
	head string
	rest []byte
	done chan struct{} // closed at its end, when rest is complete
}

func newRawBackend(t *testing.T) *rawBackend {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &rawBackend{url: "ws://" + lis.Addr().String()}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { b.serve(conn) })
		}
	})
	t.Cleanup(func() {
		lis.Close()
		serving.Wait()
	})
	return b
}

// serve answers the handshake and reads to the end.
func (b *rawBackend) serve(conn net.Conn) {
	defer conn.Close()
	c := &rawConn{done: make(chan struct{})}
	defer close(c.done)
	r := bufio.NewReader(conn)
	for !strings.HasSuffix(c.head, "\r\n\r\n") {
		line, err := r.ReadString('\n')
		c.head += line
		if err != nil {
			break
		}
	}
	b.mu.Lock()
	b.conns = append(b.conns, c)
	b.mu.Unlock()
	_, key, _ := strings.Cut(c.head, "Sec-WebSocket-Key: ")
	key, _, _ = strings.Cut(key, "\r\n")
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	if first, err := r.Peek(1); err != nil || first[0] == closeFrame {
		return // what follows is the end of a session
	}
	c.rest, _ = io.ReadAll(r)
}

// closeFrame is the first byte of a close frame.
const closeFrame = 0x88

// take returns the connections so far and forgets them.
func (b *rawBackend) take() []*rawConn {
	b.mu.Lock()
	defer b.mu.Unlock()
	conns := b.conns
	b.conns = nil
	return conns
}

// smuggled is what no backend may ever see.
const smuggled = "GET /smuggled HTTP/1.1\r\nHost: inside\r\n\r\n"

// headAttack is a head that is not quite as it should be.
type headAttack struct {
	name string
	// request is sent as it is. GOOD stands for a good request line, MORE for all
	// the header lines that a handshake needs, HEAD for both.
	request string
	// status is that of the one answer: 101, a refusal, or 0 where the connection
	// ends without one.
	status int
}

// headAttacks are tries to be read in one way by the gateway and in another by what
// stands before or behind it (RFC 9112 section 11), and heads that no client sends.
func headAttacks() []headAttack {
	attacks := []headAttack{
		{"good", "HEAD\r\n", 101},
		{"good, one byte after it", "HEAD\r\nG", 101},
		{"good, and a second request", "HEAD\r\n" + smuggled, 101},
		{"good, and a second handshake", "HEAD\r\nHEAD\r\n", 101},
		{"length of nothing", "HEADContent-Length: 0\r\n\r\n" + smuggled, 101},

		{"length", "HEADContent-Length: 40\r\n\r\n" + smuggled, 400},
		{"length with a sign", "HEADContent-Length: +0\r\n\r\n" + smuggled, 400},
		{"length below nothing", "HEADContent-Length: -1\r\n\r\n" + smuggled, 400},
		{"length in hexadecimal", "HEADContent-Length: 0x0\r\n\r\n" + smuggled, 400},
		{"length with a space", "HEADContent-Length: 0 0\r\n\r\n" + smuggled, 400},
		{"length that is too long", "HEADContent-Length: 99999999999999999999\r\n\r\n" + smuggled, 400},
		{"two lengths", "HEADContent-Length: 0\r\nContent-Length: 40\r\n\r\n" + smuggled, 400},
		{"two lengths in one line", "HEADContent-Length: 0, 40\r\n\r\n" + smuggled, 400},
		{"chunked", "HEADTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, 400},
		{"chunked and a length", "HEADContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, 400},
		{"chunked twice", "HEADTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, 400},
		{"chunked in capitals", "HEADTransfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n" + smuggled, 400},
		{"chunked after identity", "HEADTransfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" + smuggled, 400},
		{"identity", "HEADTransfer-Encoding: identity\r\n\r\n" + smuggled, 400},
		{"chunked with a tab", "HEADTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n" + smuggled, 400},
		{"chunked with a vertical tab", "HEADTransfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n" + smuggled, 400},
		{"chunked on a folded line", "HEADTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n" + smuggled, 400},
		{"space before the colon of chunked", "HEADTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + smuggled, 400},
		{"encoding of no kind", "HEADTransfer-Encoding: xchunked\r\n\r\n" + smuggled, 400},

		{"folded line", "HEADX-A: b\r\n c\r\n\r\n", 400},
		{"folded with a tab", "HEADX-A: b\r\n\tc\r\n\r\n", 400},
		{"folded first line", "GOOD\r\n X-A: b\r\nMORE\r\n", 400},
		{"space before a colon", "HEADX-A : b\r\n\r\n", 400},
		{"tab before a colon", "HEADX-A\t: b\r\n\r\n", 400},
		{"space in a name", "HEADX A: b\r\n\r\n", 400},
		{"no name", "HEAD: b\r\n\r\n", 400},
		{"no colon", "HEADX-A\r\n\r\n", 400},
		{"NUL in a name", "HEADX\x00A: b\r\n\r\n", 400},
		{"NUL in a value", "HEADX-A: b\x00c\r\n\r\n", 400},
		{"delete in a value", "HEADX-A: b\x7fc\r\n\r\n", 400},
		{"carriage return in a value", "HEADX-A: b\rX-B: c\r\n\r\n", 400},
		{"carriage returns at the end of a line", "HEADX-A: b\r\r\n\r\n", 400},
		{"carriage return instead of a line feed", "HEADX-A: b\rX-B: c\n\r\n", 400},
		{"parenthesis in a name", "HEADX(A): b\r\n\r\n", 400},
		{"name that is not ASCII", "HEADX-\xc3\x84: b\r\n\r\n", 400},

		{"no Host", "GOOD\r\nLESS Host\r\n", 400},
		{"empty Host", "GOOD\r\nLESS Host" + "Host:\r\n\r\n", 400},
		{"two Hosts", "HEADHost: another\r\n\r\n", 400},
		{"two Hosts alike", "HEADHost: h\r\n\r\n", 400},
		{"Host with a path", "GOOD\r\nLESS Host" + "Host: h/../x\r\n\r\n", 400},
		{"Host with a user", "GOOD\r\nLESS Host" + "Host: user@h\r\n\r\n", 400},
		{"Host with a space", "GOOD\r\nLESS Host" + "Host: h x\r\n\r\n", 400},
		{"Host with a quote", "GOOD\r\nLESS Host" + "Host: h\"x\r\n\r\n", 400},
		{"Hosts in a list", "GOOD\r\nLESS Host" + "Host: h, x\r\n\r\n", 400},
		{"two keys", "HEADSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n\r\n", 400},
		{"two versions", "HEADSec-WebSocket-Version: 13\r\n\r\n", 400},
		{"versions in a list", "GOOD\r\nLESS Sec-WebSocket-Version" + "Sec-WebSocket-Version: 13, 8\r\n\r\n", 426},
		{"upgrade to HTTP/2", "GOOD\r\nLESS Upgrade" + "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", 426},
		{"Connection without upgrade", "GOOD\r\nLESS Connection" + "Connection: close\r\n\r\n", 426},

		{"no version of HTTP", "GET PATH\r\nMORE\r\n", 400},
		{"HTTP/1.0", "GET PATH HTTP/1.0\r\nMORE\r\n", 426},
		{"HTTP/0.9", "GET PATH HTTP/0.9\r\nMORE\r\n", 400},
		{"HTTP/2", "GET PATH HTTP/2.0\r\nMORE\r\n", 400},
		{"HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
		{"version in small letters", "GET PATH http/1.1\r\nMORE\r\n", 400},
		{"two spaces in the request line", "GET  PATH HTTP/1.1\r\nMORE\r\n", 400},
		{"tab in the request line", "GET\tPATH HTTP/1.1\r\nMORE\r\n", 400},
		{"space in the target", "GET PATH/a b HTTP/1.1\r\nMORE\r\n", 400},
		{"NUL in the target", "GET PATH\x00 HTTP/1.1\r\nMORE\r\n", 400},
		{"carriage return in the target", "GET PATH\rX HTTP/1.1\r\nMORE\r\n", 400},
		{"line feed in the query", "GET PATH?a\nX-A: b HTTP/1.1\r\nMORE\r\n", 400},
		{"fragment", "GET PATH#x HTTP/1.1\r\nMORE\r\n", 400},
		{"asterisk", "GET * HTTP/1.1\r\nMORE\r\n", 400},
		{"authority", "CONNECT inside:80 HTTP/1.1\r\nMORE\r\n", 405},
		{"TRACE", "TRACE PATH HTTP/1.1\r\nMORE\r\n", 405},
		{"method with a colon", "GET: PATH HTTP/1.1\r\nMORE\r\n", 400},
		{"nothing but a line", "GET PATH HTTP/1.1\r\n\r\n", 400},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 100), 400},
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n\r\n", 400},
		{"PROXY protocol of a stranger", "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nHEAD\r\n", 400},

		{"path that climbs", "GET PATH/../x HTTP/1.1\r\nMORE\r\n", 400},
		{"path that climbs, encoded", "GET PATH/%2e%2E/x HTTP/1.1\r\nMORE\r\n", 400},
		{"path that climbs, half encoded", "GET PATH/.%2e/x HTTP/1.1\r\nMORE\r\n", 400},
		{"encoded slash", "GET PATH/a%2f..%2fx HTTP/1.1\r\nMORE\r\n", 400},
		{"encoded backslash", "GET PATH/a%5c..%5cx HTTP/1.1\r\nMORE\r\n", 400},
		{"encoded NUL", "GET PATH/%00 HTTP/1.1\r\nMORE\r\n", 400},
		{"half of an escape", "GET PATH/% HTTP/1.1\r\nMORE\r\n", 400},

		{"large line", "HEADX-A: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", 431},
		{"many lines", "HEAD" + strings.Repeat("X-A: b\r\n", 100_000) + "\r\n", 431},
		{"large target", "GET PATH/" + strings.Repeat("a", 1<<20) + " HTTP/1.1\r\nMORE\r\n", 414},
		{"large first line", strings.Repeat("A", 1<<20), 414},
	}
	return attacks
}

// expand writes a request out, for a path.
func (a headAttack) expand(path string) string {
	lines := []string{
		"Host: h", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==",
	}
	more := strings.Join(lines, "\r\n") + "\r\n"
	text := a.request
	for i := range lines {
		name, _, _ := strings.Cut(lines[i], ":")
		text = strings.ReplaceAll(text, "LESS "+name, strings.Replace(more, lines[i]+"\r\n", "", 1))
	}
	for _, r := range [][2]string{{"HEAD", "GOOD\r\nMORE"}, {"GOOD", "GET PATH HTTP/1.1"}, {"MORE", more}, {"PATH", path}} {
		text = strings.ReplaceAll(text, r[0], r[1])
	}
	return text
}

// TestHeadsThatSmuggle sends the table to both listeners of the gateway: each is
// answered once and with the status that it should have, what is refused never
// reaches the backend, and what is taken reaches it as one request and nothing else.
func TestHeadsThatSmuggle(t *testing.T) {
	t.Parallel()
	s := onSQLite(t)
	p := s.admin(t)
	b := newRawBackend(t)
	a := &applications{user: p}
	a.publish(t, "Heads", "/heads", b.url, anonymous())
	for i, attack := range slices.Concat(headAttacks(), headAttacks()) {
		conn := s.raw(t, i >= len(headAttacks()))
		request := attack.expand("/heads/1.0.0/x")
		go func() { _, _ = io.WriteString(conn, request) }() // the answer may come before all is sent
		status, answer := readAnswers(t, conn)
		conns := b.take()
		if status != attack.status || (len(conns) > 0) != (status == http.StatusSwitchingProtocols) {
			t.Errorf("%s: %d, and the backend was asked %d times, want %d\n%.300q\n%.600s", attack.name, status, len(conns), attack.status, request, answer)
		}
		_ = conn.Close()
		for _, c := range conns {
			<-c.done
			c.check(t, attack.name)
		}
	}
}

// check checks that a backend was sent one handshake and nothing of what followed.
func (c *rawConn) check(t *testing.T, name string) {
	t.Helper()
	r := textproto.NewReader(bufio.NewReader(strings.NewReader(c.head)))
	line, err := r.ReadLine()
	if err != nil || line != "GET /x HTTP/1.1" {
		t.Errorf("%s: the backend was sent %q, %v", name, line, err)
	}
	header, err := r.ReadMIMEHeader()
	if err != nil {
		t.Errorf("%s: the backend was sent the head %q: %v", name, c.head, err)
	}
	for _, alone := range []string{"Host", "Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version"} {
		if len(header[alone]) != 1 {
			t.Errorf("%s: the backend was sent %q for %s", name, header[alone], alone)
		}
	}
	for _, none := range []string{"Content-Length", "Transfer-Encoding", "Te", "Trailer"} {
		if len(header[none]) > 0 {
			t.Errorf("%s: the backend was sent %s: %q", name, none, header[none])
		}
	}
	if len(c.rest) > 0 {
		t.Errorf("%s: the backend was sent %q", name, c.rest)
	}
}

// raw connects to the gateway without a word, over TLS where it is secure.
func (s *Stack) raw(t *testing.T, secure bool) net.Conn {
	t.Helper()
	dial, address := net.Dial, s.WS
	if secure {
		dial, address = (&tls.Dialer{Config: s.trust(t)}).Dial, s.WSS
	}
	_, address, _ = strings.Cut(address, "://")
	conn, err := dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// readAnswers reads the answer to a request, and what follows it but for frames; it
// returns the status, 0 for none, and the text.
func readAnswers(t *testing.T, conn net.Conn) (status int, text string) {
	t.Helper()
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusSwitchingProtocols {
		return res.StatusCode, ""
	}
	answer := body(t, res)
	rest, _ := io.ReadAll(r)
	if len(rest) > 0 {
		t.Errorf("after the answer %d came %q", res.StatusCode, rest)
	}
	return res.StatusCode, answer
}
