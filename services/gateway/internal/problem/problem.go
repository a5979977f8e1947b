// Package problem writes refusals: HTTP responses with a body of RFC 9457, after
// which the connection is closed. When to refuse, and why, is its callers'.
package problem

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Problem is a refusal.
type Problem struct {
	Status int
	Code   string  // for programs: upper case, fixed
	Detail string  // for users: a sentence without secrets
	Header []Field // beside those that every refusal has
	Cause  error   // for the log only
}

// Field is a line of the head.
type Field struct{ Name, Value string }

// Error returns the status, the code and the cause.
func (p *Problem) Error() string {
	if p.Cause != nil {
		return fmt.Sprintf("%d %s: %v", p.Status, p.Code, p.Cause)
	}
	return fmt.Sprintf("%d %s: %s", p.Status, p.Code, p.Detail)
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Cause }

// RetryAfter is the header that says when to come back.
func RetryAfter(d time.Duration) Field {
	return Field{"Retry-After", strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))}
}

// body is what is sent of a problem. The type is about:blank: what matters to
// programs is the code.
type body struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Ref    string `json:"ref"`
}

// Response returns the whole response. ref is what the log knows it by; bodyless
// is for an answer to HEAD.
func (p *Problem) Response(ref string, bodyless bool) []byte {
	// Marshalling strings and a number does not fail.
	content, _ := json.Marshal(body{"about:blank", http.StatusText(p.Status), p.Status, p.Detail, p.Code, ref})
	return Response(p.Status, "application/problem+json", append(content, '\n'), bodyless, p.Header...)
}

// Response returns a whole response that ends its connection.
func Response(status int, contentType string, content []byte, bodyless bool, header ...Field) []byte {
	b := make([]byte, 0, 512+len(content))
	b = fmt.Appendf(b, "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nCache-Control: no-store\r\n",
		status, http.StatusText(status), time.Now().UTC().Format(http.TimeFormat), contentType, len(content))
	connection := "close"
	for _, f := range header {
		b = fmt.Appendf(b, "%s: %s\r\n", f.Name, f.Value)
		if f.Name == "Upgrade" {
			connection = "close, Upgrade"
		}
	}
	b = fmt.Appendf(b, "Connection: %s\r\n\r\n", connection)
	if bodyless {
		return b
	}
	return append(b, content...)
}

const (
	writeWait = 5 * time.Second
	linger    = time.Second
	maxDrain  = 256 << 10
)

// Send writes a response and closes the connection without losing what was
// written: closing a socket that still holds bytes of the peer makes the kernel
// reset the connection, and the peer may never see the answer. So it says that
// nothing more comes, and discards what the peer still sends, for a second at
// most.
func Send(conn net.Conn, response []byte) error {
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(writeWait)); err != nil {
		return fmt.Errorf("send response: %w", err)
	}
	if _, err := conn.Write(response); err != nil {
		return fmt.Errorf("send response: %w", err)
	}
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || conn.SetReadDeadline(time.Now().Add(linger)) != nil {
		return nil
	}
	_, _ = io.CopyN(io.Discard, conn, maxDrain)
	return nil
}
