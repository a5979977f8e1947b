package upstream

import (
	"context"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
	"github.com/tidegatehq/tidegate/services/kit/certs/certtest"
)

// TestCheckTellsTheStep ends a check at every step, in every way that has words of its own.
// None of them has an address, or anything of what the backend answers.
func TestCheckTellsTheStep(t *testing.T) {
	const secret = "s3cret"
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }() // Accept is never called: the kernel connects
	none := names{}.resolver(t)
	slow := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	answers := func(text string) string {
		e := backend(t, func(key string, _ *http.Request, _ string) string {
			return strings.ReplaceAll(text, "KEY", head.AcceptKey(key))
		})
		return "ws://" + e.Addr + "/" + secret + "?k=" + secret
	}
	overTLS := httptest.NewTLSServer(http.NotFoundHandler())
	overTLS.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	defer overTLS.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	trusted := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: overTLS.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	wss := strings.Replace(overTLS.URL, "https:", "wss:", 1)
	otherCA := certtest.NewCA(t)
	const done = "HTTP/1.1 101 Switching Protocols\r\n" + lines + "Sec-WebSocket-Accept: KEY\r\n"
	for _, tt := range []struct {
		name, url string
		ca        string
		resolver  *net.Resolver
		step      Step
		status    int
		want      string
	}{
		{"no such name", "ws://no-such-name.invalid", "", none, Resolve, 0, `the name "no-such-name.invalid" cannot be resolved`},
		{"no name server", "ws://name.invalid", "", slow, Resolve, 0, "the backend's name was not resolved in time"},
		{"nobody listens", "ws://127.0.0.1:1", "", nil, Connect, 0, "the backend refused the connection: nothing listens at this port"},
		{"an address that is not dialled", "ws://169.254.169.254", "", nil, Connect, 0, "the backend's address is not allowed here"},
		{"a name of such an address", "ws://metadata.example", "", names{"metadata.example": {"169.254.169.254"}}.resolver(t), Connect, 0, "the backend's address is not allowed here"},
		{"TLS with a certificate of its own", wss, otherCA.File, nil, TLS, 0, "the backend's certificate is of no authority that the gateway trusts"},
		{"TLS under another name", "wss://other.example:" + port(wss), trusted, names{"other.example": {"127.0.0.1"}}.resolver(t), TLS, 0, `the backend's certificate is not for "other.example"`},
		{"no TLS", strings.Replace(plain.URL, "http:", "wss:", 1), "", nil, TLS, 0, "the backend does not speak TLS: the endpoint may have to begin with ws://"},
		{"TLS in silence", "wss://" + silent.Addr().String(), "", nil, TLS, 0, "the backend did not agree on TLS in time"},
		{"silence", "ws://" + silent.Addr().String(), "", nil, Handshake, 0, "the backend did not answer the handshake in time"},
		{"over TLS, refused", wss, trusted, nil, Handshake, 404, "the backend answered 404 Not Found"},
		{"refused", answers("HTTP/1.1 401 " + secret + "\r\nX-Key: " + secret + "\r\n\r\n" + secret), "", nil, Handshake, 401, "the backend answered 401 Unauthorized"},
		{"refused for its origin", answers("HTTP/1.1 403 No\r\n\r\n"), "", nil, Handshake, 403, "the backend answered 403 Forbidden; many backends do so for a Host or an Origin that they do not know, which the version's backend_options set"},
		{"no HTTP", answers(secret + "\r\n\r\n"), "", nil, Handshake, 0, "the backend's answer is not a correct 101: it is malformed"},
		{"another key", answers("HTTP/1.1 101 X\r\n" + lines + "Sec-WebSocket-Accept: " + secret + "\r\n\r\n"), "", nil, Handshake, 0, "the backend's answer is not a correct 101: its Sec-WebSocket-Accept does not belong to the key"},
		{"a sub-protocol that was not offered", answers(done + "Sec-WebSocket-Protocol: " + secret + "\r\n\r\n"), "", nil, Handshake, 0, "the backend's answer is not a correct 101: it has a sub-protocol that was not offered"},
		{"hangs up", answers(""), "", nil, Handshake, 0, "the backend closed the connection within the handshake"},
		{"done", answers(done + "\r\n"), "", nil, Done, 101, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Default()
			cfg.CAFile = tt.ca
			d := dialer(t, cfg)
			d.net.Resolver = tt.resolver
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if strings.HasSuffix(tt.want, "in time") {
				ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
			}
			got := d.Check(ctx, &Request{Endpoint: endpoint(t, tt.url), Host: "h", Protocols: []string{"chat"}})
			if got.Step != tt.step || got.Status != tt.status || got.Error != tt.want || got.Elapsed <= 0 {
				t.Errorf("Check = step %d, %d, %q after %v, want %d, %d, %q", got.Step, got.Status, got.Error, got.Elapsed, tt.step, tt.status, tt.want)
			}
		})
	}
}

// port is that of a URL without a path.
func port(url string) string { return url[strings.LastIndexByte(url, ':')+1:] }

// TestCheckCloses looks at what a backend gets after its 101: a close with 1000, and then
// the end of the connection, also if it does not answer, and though it has sent messages.
func TestCheckCloses(t *testing.T) {
	got := make(chan string, 1)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := ln.Accept()
		if err != nil {
			got <- err.Error()
			return
		}
		defer func() { _ = conn.Close() }()
		text := make([]byte, 0, 4096)
		for !strings.Contains(string(text), "\r\n\r\n") {
			n, err := conn.Read(text[len(text):cap(text)])
			if text = text[:len(text)+n]; err != nil {
				got <- err.Error()
				return
			}
		}
		key := strings.TrimSpace(between(string(text), "Sec-WebSocket-Key:", "\r\n"))
		_, _ = io.WriteString(conn, ok(key, "Sec-WebSocket-Protocol: chat\r\n")+"\x81\x05hello")
		rest, err := io.ReadAll(conn)
		if err != nil || len(rest) != 8 || rest[0] != 0x88 || rest[1] != 0x82 {
			got <- errors.Join(errors.New(string(rest)), err).Error()
			return
		}
		code := binary.BigEndian.Uint16([]byte{rest[6] ^ rest[2], rest[7] ^ rest[3]})
		if code != 1000 {
			got <- "another code"
			return
		}
		got <- "closed with 1000"
	}()
	c := dialer(t, Default()).Check(t.Context(), &Request{Endpoint: endpoint(t, "ws://"+ln.Addr().String()), Host: "h", Protocols: []string{"chat"}})
	if c.Step != Done || c.Protocol != "chat" || c.Status != 101 {
		t.Errorf("Check = %+v, want that it is done, with the sub-protocol chat", c)
	}
	if c.Elapsed >= closeTime {
		t.Errorf("it took %v, with the wait for the close", c.Elapsed)
	}
	if got := <-got; got != "closed with 1000" {
		t.Errorf("after its 101 the backend got %q, want a close with 1000 and the end", got)
	}
	_ = ln.Close()
	<-served
}

// between returns what stands in text behind one string and before another.
func between(text, after, before string) string {
	_, text, _ = strings.Cut(text, after)
	text, _, _ = strings.Cut(text, before)
	return text
}
