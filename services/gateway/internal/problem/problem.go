// Package problem writes refusals: HTTP responses with a problem body (RFC 9457),
// after which the connection is closed. Callers decide when and why to refuse.
package problem

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
)

// Problem is a refusal.
type Problem struct {
	Status int
	Code   Code         // for programs
	Detail string       // a sentence for humans, without secrets
	Why    string       // more than clients are told, for the record: without secrets, and without what is the gateway's own
	Record string       // in the record instead of Detail, where not all who read it may know what the client is told; "": Detail
	Limit  *Limit       // of a plan, that the client may know; nil: none
	Header []head.Field // in addition to those that every refusal has
	Cause  error        // for the log only
}

// Error returns the status, the code and the cause, or else the full detail.
func (p *Problem) Error() string {
	if p.Cause != nil {
		return fmt.Sprintf("%d %s: %v", p.Status, p.Code, p.Cause)
	}
	return fmt.Sprintf("%d %s: %s", p.Status, p.Code, p.Full())
}

// Full returns the detail and why, as the record has them.
func (p *Problem) Full() string {
	detail := cmp.Or(p.Record, p.Detail)
	if p.Why == "" {
		return detail
	}
	return detail + ": " + p.Why
}

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Cause }

// RetryAfter is the header that says when to try again, in whole seconds.
func RetryAfter(d time.Duration) head.Field {
	return head.Field{Name: "Retry-After", Value: strconv.Itoa(max(1, int((d+time.Second-1)/time.Second)))}
}

// Limit is a limit of a plan that refused, as an extension of the body. Times are in
// whole seconds.
type Limit struct {
	Name   string `json:"name"`
	Place  string `json:"place"`
	Limit  int64  `json:"limit"`
	Window int64  `json:"window,omitempty"` // that Limit is for
	Burst  int64  `json:"burst,omitempty"`  // of a rate
	Used   int64  `json:"used"`
	Reset  int64  `json:"reset,omitempty"` // until there may be room

	Unit string `json:"-"` // of RateLimit-Policy; "" is requests
}

// Fields are the headers that say which limit it was
// (draft-ietf-httpapi-ratelimit-headers). A name has none of what strings there escape.
func (l *Limit) Fields() []head.Field {
	policy, rate := fmt.Sprintf("%q;q=%d", l.Name, l.Limit), fmt.Sprintf("%q;r=0", l.Name)
	if l.Window > 0 {
		policy += fmt.Sprintf(";w=%d", l.Window)
	}
	if l.Unit != "" {
		policy += fmt.Sprintf(";qu=%q", l.Unit)
	}
	if l.Reset > 0 {
		rate += fmt.Sprintf(";t=%d", l.Reset)
	}
	return []head.Field{{Name: "RateLimit-Policy", Value: policy}, {Name: "RateLimit", Value: rate}}
}

// body is the JSON of a problem. The type is always about:blank; programs read the
// code.
type body struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
	Limit  *Limit `json:"limit,omitempty"`
	Ref    string `json:"ref,omitempty"`
}

// Response returns the whole response. ref is the reference that the record and the log
// have too, or empty where there is neither; bodyless is for answers to HEAD.
func (p *Problem) Response(ref string, bodyless bool) []byte {
	return Response(p.Status, ContentType, p.Body(ref), bodyless, p.Header...)
}

// ContentType is that of the body.
const ContentType = "application/problem+json"

// Body returns the body of the response, with a ref as Response has it.
func (p *Problem) Body(ref string) []byte {
	// Marshalling strings and a number does not fail.
	content, _ := json.Marshal(body{"about:blank", http.StatusText(p.Status), p.Status, p.Detail, p.Code.String(), p.Limit, ref})
	return append(content, '\n')
}

// Response returns a whole response, which says that the connection will be closed.
func Response(status int, contentType string, content []byte, bodyless bool, header ...head.Field) []byte {
	b := make([]byte, 0, 512+len(content))
	b = fmt.Appendf(b, "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nCache-Control: no-store\r\n",
		status, http.StatusText(status), time.Now().UTC().Format(http.TimeFormat), contentType, len(content))
	connection := "close"
	for _, f := range header {
		b = head.AppendField(b, f.Name, f.Value)
		if f.Name == "Upgrade" {
			connection = "close, Upgrade"
		}
	}
	b = append(head.AppendField(b, "Connection", connection), "\r\n"...)
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

// Send writes a response and closes the connection in a way that lets the peer read
// it. Closing a socket that still holds unread bytes resets the connection, and the
// peer may lose the response. So Send closes its own direction first, then discards
// what the peer still sends, for at most a second.
func Send(conn net.Conn, response []byte) error {
	if err := conn.SetDeadline(time.Now().Add(writeWait)); err != nil {
		_ = conn.Close()
		return fmt.Errorf("send response: %w", err)
	}
	if _, err := conn.Write(response); err != nil {
		_ = conn.Close()
		return fmt.Errorf("send response: %w", err)
	}
	Linger(conn)
	return nil
}

// Linger closes a connection on which a response was sent, as Send does.
func Linger(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	half, ok := conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || conn.SetReadDeadline(time.Now().Add(linger)) != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, conn, maxDrain)
}
