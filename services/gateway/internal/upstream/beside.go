package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
)

// This file is for plain requests: package beside sends them, with the connections
// and the headers that handshakes get.

// Connect opens a connection to r's endpoint, over TLS if it uses that, and sends nothing. The
// error is as that of Dial.
func (d *Dialer) Connect(ctx context.Context, r *Request) (net.Conn, error) {
	d.dials.Add(1)
	defer d.dials.Add(-1)
	conn, err := d.connect(ctx, r, nil)
	if err != nil {
		return nil, failed(ctx, err, Unreachable)
	}
	return conn, nil
}

// Outgoing sets the target, the Host and the headers of out, a request for r's endpoint, at a
// host that its transport knows the endpoint by.
func (r *Request) Outgoing(out *http.Request, host string) error {
	target := string(r.Endpoint.AppendTarget(nil, r.Suffix, r.Query))
	path, query, _ := strings.Cut(target, "?")
	out.URL = &url.URL{Scheme: "http", Host: host, Opaque: path, RawQuery: query}
	if strings.HasPrefix(path, "//") { // an opaque one would be taken for a host
		plain, err := url.PathUnescape(path)
		if err != nil {
			return fmt.Errorf("path of the endpoint: %w", err)
		}
		out.URL.Opaque, out.URL.Path, out.URL.RawPath = "", plain, path
	}
	out.Host = r.host()
	fields := append(r.appendFields(nil, out.Host), "\r\n"...)
	header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(fields))).ReadMIMEHeader()
	if err != nil {
		return fmt.Errorf("headers for the backend: %w", err)
	}
	out.Header = http.Header(header)
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = nil // or the transport would make one
	}
	return nil
}

// MaxHead returns how many bytes the head of a backend's answer may have.
func (d *Dialer) MaxHead() int { return d.heads.Max() }

// Failed returns what went wrong with a plain request, once it had a connection, as
// an *Error, or as the cause of ctx once that has ended.
func Failed(ctx context.Context, err error) error {
	if _, ours := errors.AsType[*Error](err); ours && ctx.Err() == nil {
		return err
	}
	err = failed(ctx, err, Broken)
	if e, made := errors.AsType[*Error](err); made && ctx.Err() == nil {
		e.beside = true
	}
	return err
}

// Refuse returns the failure of a backend that answered a plain request as it must
// not.
func Refuse(format string, a ...any) error {
	return &Error{Kind: Incorrect, beside: true, err: fmt.Errorf(format, a...)}
}

// Unauthorized returns the failure of a backend that answered 401 to a credential of the
// version's.
func Unauthorized() *Error {
	return &Error{Kind: NotAuthorized, Status: http.StatusUnauthorized, err: errors.New("backend answered 401 to the version's credential for it")}
}

// Unavailable returns the failure of a backend that answered with 502, 503 or 504, while
// another one may give a better answer.
func Unavailable(status int) *Error {
	return &Error{Kind: Refused, Status: status, err: fmt.Errorf("backend answered %d", status)}
}

// FilterAnswer removes the headers of a backend's answer that its client does not get: those of
// the connection, those about the backend itself and about the whole host, which is the
// gateway's, and what would set or clear the cookies of Tidegate's pages.
func FilterAnswer(h http.Header) {
	connection := h["Connection"]
	for name, values := range h {
		switch {
		case name == "Content-Length", name == "Content-Type":
		case isAboutHost(name), strings.HasPrefix(name, "X-Tidegate-"), !head.EndToEnd(name, connection):
			delete(h, name)
		case name == "Set-Cookie":
			h[name] = withoutReserved(values)
		}
	}
}

// withoutReserved returns the Set-Cookie lines that set no reserved cookie.
func withoutReserved(lines []string) (kept []string) {
	for _, line := range lines {
		if !setsReserved(line) {
			kept = append(kept, line)
		}
	}
	return kept
}

// errSilent is why a request has no answer.
var errSilent = errors.New("no head of an answer came in time")

// TooSlow returns the failure of a backend that gave no answer in a time.
func TooSlow(after time.Duration) error {
	return &Error{Kind: Timeout, err: fmt.Errorf("%w: in %v", errSilent, after)}
}
