package problem

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
)

func parse(t *testing.T, response []byte, method string) (status int, h http.Header, content string) {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(response)), &http.Request{Method: method})
	if err != nil {
		t.Fatalf("ReadResponse(%q) = %v", response, err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !resp.Close {
		t.Fatalf("read the body of %q: %v, want EOF after it", response, err)
	}
	return resp.StatusCode, resp.Header, string(body)
}

func TestResponse(t *testing.T) {
	p := &Problem{
		Status: 429, Code: AddressBusy, Detail: `say "please" <now>`,
		Header: []head.Field{RetryAfter(1500 * time.Millisecond), {Name: "X-More", Value: "yes"}},
	}
	status, h, content := parse(t, p.Response("ref1", false), "GET")
	if status != 429 || h.Get("Content-Type") != "application/problem+json" ||
		h.Get("Retry-After") != "2" || h.Get("X-More") != "yes" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("Response = %d %v, want 429 with its headers", status, h)
	}
	if _, err := http.ParseTime(h.Get("Date")); err != nil {
		t.Errorf("Date = %v", err)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(content), &got); err != nil {
		t.Fatalf("body %q: %v", content, err)
	}
	want := map[string]any{
		"type": "about:blank", "title": "Too Many Requests", "status": 429.0,
		"detail": `say "please" <now>`, "code": "ADDRESS_BUSY", "ref": "ref1",
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("body has %s = %v, want %v", k, got[k], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("body = %v, want the fields of %v", got, want)
	}
}

func TestResponseToHead(t *testing.T) {
	p := &Problem{Status: 405, Code: MethodNotAllowed}
	response := p.Response("r", true)
	if !bytes.HasSuffix(response, []byte("\r\n\r\n")) {
		t.Errorf("Response to HEAD = %q, want no body", response)
	}
	if status, _, _ := parse(t, response, "HEAD"); status != 405 {
		t.Errorf("Response to HEAD has status %d, want 405", status)
	}
}

func TestUpgradeIsListedInConnection(t *testing.T) {
	p := &Problem{Status: 426, Header: []head.Field{{Name: "Upgrade", Value: "websocket"}}}
	if response := p.Response("r", false); !bytes.Contains(response, []byte("\r\nConnection: close, Upgrade\r\n")) {
		t.Errorf("Response = %q, want both in Connection", response)
	}
}

func TestError(t *testing.T) {
	cause := errors.New("cause")
	p := &Problem{Status: 502, Code: NotFound, Detail: "d", Cause: cause}
	if got := p.Error(); got != "502 NOT_FOUND: cause" || !errors.Is(p, cause) {
		t.Errorf("Error() = %q, want the cause in it", got)
	}
	if got := (&Problem{Status: 404, Code: NotFound, Detail: "d"}).Error(); got != "404 NOT_FOUND: d" {
		t.Errorf("Error() = %q, want the detail in it", got)
	}
	if got := (&Problem{Status: 404, Code: NotFound, Detail: "d", Why: "w"}).Error(); got != "404 NOT_FOUND: d: w" {
		t.Errorf("Error() = %q, want the full detail in it", got)
	}
}

func TestRetryAfter(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "1", time.Millisecond: "1", time.Second: "1", time.Second + 1: "2", time.Minute: "60"} {
		if got := RetryAfter(d); got.Value != want {
			t.Errorf("RetryAfter(%v) = %q, want %q", d, got.Value, want)
		}
	}
}

// TestSendSurvivesUnreadBytes checks that a peer gets the answer even if it has sent
// bytes that nobody read.
func TestSendSurvivesUnreadBytes(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	sent := make(chan error, 1)
	go func() {
		conn, err := ln.Accept()
		if err == nil {
			err = Send(conn, []byte("answer"))
		}
		sent <- err
	}()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if _, err := client.Write([]byte(strings.Repeat("x", 100_000))); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(client); err != nil || string(got) != "answer" {
		t.Errorf("the client read %q, %v, want the answer and EOF", got, err)
	}
	_ = client.Close()
	if err := <-sent; err != nil {
		t.Errorf("Send = %v", err)
	}
}
