package cli

import (
	"bufio"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"
)

// newEcho serves an echo that says what came with the handshake, closes with a
// code on "close CODE WORD", breaks on "break", and refuses /refused.
func newEcho(t *testing.T) string {
	t.Helper()
	srv := httptest.NewServer(echo(t))
	t.Cleanup(srv.Close)
	return "ws" + strings.TrimPrefix(srv.URL, "http")
}

func echo(t *testing.T) http.Handler {
	upgrader := websocket.Upgrader{Subprotocols: []string{"chat"}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"title":"Unauthorized","status":401,"detail":"the credential is not valid","code":"CREDENTIAL_NOT_VALID","ref":"r-1"}`)
			return
		}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Errorf("upgrade: %v", err)
			return
		}
		defer conn.Close()
		hello := fmt.Sprintf("%s auth=%s x=%s", r.URL.RequestURI(), r.Header.Get("Authorization"), r.Header.Get("X-Test"))
		if conn.WriteMessage(websocket.TextMessage, []byte(hello)) != nil {
			return
		}
		for {
			kind, message, err := conn.ReadMessage()
			if err != nil {
				return
			}
			text := string(message)
			var code int
			var word string
			if _, err := fmt.Sscanf(text, "close %d %s", &code, &word); err == nil {
				end := websocket.FormatCloseMessage(code, word)
				if err := conn.WriteControl(websocket.CloseMessage, end, time.Now().Add(time.Second)); err != nil {
					t.Errorf("close: %v", err)
				}
				if _, _, err := conn.ReadMessage(); err == nil {
					t.Error("a message instead of the answer to the close")
				}
				return
			}
			if text == "break" {
				return
			}
			if text == "binary" {
				kind, message = websocket.BinaryMessage, []byte{1, 255}
			}
			if conn.WriteMessage(kind, message) != nil {
				return
			}
		}
	})
}

func TestConnect(t *testing.T) {
	t.Parallel()
	url := newEcho(t)
	for _, c := range []struct {
		name           string
		args           []string
		stdin          string
		stdout, stderr string
		code           int
	}{
		{
			"lines, then the end of the input", []string{"--token", "-", "-H", "X-Test: yes", "--protocol", "other, chat"},
			"tok\nhello\nbinary\nlast, without an end",
			"/x auth=Bearer tok x=yes\nhello\n(binary, 2 bytes) 01ff\nlast, without an end\n",
			"Connected to " + url + "/x (chat). Ctrl-D closes.\nClosed: 1000\n", 0,
		},
		{
			"token in the query", []string{"--token", "-", "--query"}, "t+k\n",
			"/x?access_token=t%2Bk auth= x=\n", "Connected to " + url + "/x. Ctrl-D closes.\nClosed: 1000\n", 0,
		},
		{
			"closed by the other side", nil, "close 4001 REVOKED\n",
			"/x auth= x=\n", "Connected to " + url + "/x. Ctrl-D closes.\ntidegate: connect: closed: 4001 REVOKED\n", 1,
		},
		{
			"closed well by the other side", nil, "close 1000 bye\n",
			"/x auth= x=\n", "Connected to " + url + "/x. Ctrl-D closes.\nClosed: 1000 bye\n", 0,
		},
		{
			"broken", nil, "break\n",
			"/x auth= x=\n", "Connected to " + url + "/x. Ctrl-D closes.\ntidegate: connect: the connection broke without a close\n", 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			stdin := io.Reader(strings.NewReader(c.stdin))
			if strings.HasPrefix(c.stdin, "close") || c.stdin == "break\n" {
				// The input stays open: the other side ends it.
				open, w := io.Pipe()
				t.Cleanup(func() { w.Close() })
				stdin = io.MultiReader(stdin, open)
			}
			cmd := command{dir: t.TempDir(), stdin: stdin}
			stdout, stderr, code := cmd.run(t, append([]string{"connect", url + "/x"}, c.args...)...)
			if stdout != c.stdout || stderr != c.stderr || code != c.code {
				t.Errorf("connect %q:\n got  %q, %q, %d\n want %q, %q, %d", c.args, stdout, stderr, code, c.stdout, c.stderr, c.code)
			}
		})
	}
}

// TestConnectTrusts connects by URL to a gateway whose certificate is signed by
// the authority that the sign-in trusted.
func TestConnectTrusts(t *testing.T) {
	t.Parallel()
	f := newFakeServer(t)
	c := f.signIn(t)
	srv := httptest.NewUnstartedServer(echo(t))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{f.cert}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	url := "wss" + strings.TrimPrefix(srv.URL, "https") + "/x"
	c.env = nil
	if stdout, stderr, code := c.run(t, "connect", url); code != 0 || stdout != "/x auth= x=\n" {
		t.Errorf("connect = %q, %q, %d, want an echo", stdout, stderr, code)
	}
	c.dir = t.TempDir()
	_, stderr, code := c.run(t, "connect", url)
	if want := "no authority that this machine trusts has signed it; give the server's with --ca\n"; code != 1 || !strings.HasSuffix(stderr, want) {
		t.Errorf("connect without a sign-in = %q, %d, want %q", stderr, code, want)
	}
}

func TestConnectRefused(t *testing.T) {
	t.Parallel()
	url := newEcho(t)
	for address, want := range map[string]string{
		url + "/refused":     url + "/refused refused: 401 Unauthorized: the credential is not valid (ref r-1); give --app, or a token with --token",
		"ws://127.0.0.1:1/x": "no server answers at ws://127.0.0.1:1/x",
	} {
		_, stderr, code := command{dir: t.TempDir()}.run(t, "connect", address)
		if stderr != "tidegate: connect: "+want+"\n" || code != 1 {
			t.Errorf("connect %s = %q, %d, want %q", address, stderr, code, want)
		}
	}
	// Programs get the code and the ref.
	c := command{dir: t.TempDir(), env: []string{"TIDEGATE_TOKEN=t"}}
	_, stderr, code := c.run(t, "connect", url+"/refused", "-o", "yaml")
	want := "code: 16\nmessage: \"" + url + "/refused refused: 401 Unauthorized: the credential is not valid (ref r-1)\"\ndetails:\n" +
		"  - \"@type\": type.googleapis.com/google.rpc.ErrorInfo\n    reason: CREDENTIAL_NOT_VALID\n    domain: tidegate\n" +
		"    metadata:\n      ref: r-1\n      status: \"401\"\n"
	if stderr != want || code != 1 {
		t.Errorf("connect -o yaml = %q, %d, want %q", stderr, code, want)
	}
}

// TestConnectWaitsForTheClose: whoever was sent a close may answer it late, as a paused
// session does, as long as messages come. One that says nothing is not waited for.
func TestConnectWaitsForTheClose(t *testing.T) {
	for _, x := range []struct {
		every    time.Duration
		messages int
		err      string
		took     time.Duration
	}{
		{4 * time.Second, 5, "", 20 * time.Second},
		{6 * time.Second, 5, "the other side did not answer the close", 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			served := make(chan struct{})
			defer func() { <-served }()
			go func() {
				defer close(served)
				defer theirs.Close()
				in := bufio.NewReader(theirs)
				req, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				accept := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
				fmt.Fprintf(theirs, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
					base64.StdEncoding.EncodeToString(accept[:]))
				go func() { _, _ = io.Copy(io.Discard, in) }()
				for range x.messages {
					time.Sleep(x.every)
					if _, err := theirs.Write([]byte("\x81\x01x")); err != nil {
						return
					}
				}
				_, _ = theirs.Write([]byte("\x88\x02\x03\xe8"))
			}()
			dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return ours, nil }}
			conn, _, err := dialer.Dial("ws://backend", nil) //nolint:bodyclose // websocket has read it
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			var out strings.Builder
			s := &shell{Program: Program{Stdin: strings.NewReader(""), Stdout: &out, Stderr: io.Discard}, global: &global{Output: formatTable}}
			begin := time.Now()
			if err := s.talk(t.Context(), conn); err == nil && x.err != "" || err != nil && err.Error() != x.err {
				t.Errorf("a message every %v: %v, want %q", x.every, err, x.err)
			}
			if took := time.Since(begin); took != x.took {
				t.Errorf("a message every %v: waited %v, want %v", x.every, took, x.took)
			}
		})
	}
}
