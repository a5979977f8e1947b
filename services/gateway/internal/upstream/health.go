package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
)

// CheckHealth checks r's endpoint: by a GET of a path, or by a handshake where that is
// empty. It returns why the endpoint is not good, in words that name no address; empty if
// it is.
func (d *Dialer) CheckHealth(ctx context.Context, r *Request, path string) string {
	if path == "" {
		c := d.Check(ctx, r)
		if c.Step == Done || c.Step == Credential || (&Error{Kind: Refused, Status: c.Status}).Answered() && c.Status != 0 && c.Status != 101 {
			return "" // that there is no other token for a backend that refuses one says nothing of it
		}
		return c.Error
	}
	d.dials.Add(1)
	defer d.dials.Add(-1)
	why, err := d.askHealth(ctx, r, path)
	if again, _ := d.Renewed(ctx, r, err); again {
		why, _ = d.askHealth(ctx, r, path)
	}
	return why
}

// askHealth asks r's endpoint for a path, and returns what CheckHealth does. The error is that of a
// credential which is refused.
func (d *Dialer) askHealth(ctx context.Context, r *Request, path string) (why string, refused error) {
	conn, err := d.connect(ctx, r, nil)
	if err != nil {
		return r.words(Connect, failed(ctx, err, Unreachable)), nil
	}
	defer func() { _ = conn.Close() }()
	status, err := d.get(ctx, conn, r, []byte(path), r.appendVia(r.appendAuthorization(nil)))
	switch e, ours := errors.AsType[*Error](err); {
	case ours:
		return e.Detail(), nil
	case err != nil:
		return ErrTooSlow.Detail(), nil
	case status == http.StatusUnauthorized && r.Authorization != "":
		return notGood(status), Unauthorized()
	case !isGood(status):
		return notGood(status), nil
	}
	return "", nil
}

// isGood reports whether a status is that of an endpoint which is asked for a path of its own
// for checks.
func isGood(status int) bool { return status >= 200 && status <= 299 }

func notGood(status int) string { return fmt.Sprintf("the backend answered %d, not 2xx", status) }

// get asks for a target by a GET with these headers, beside Host, and returns the status
// of the answer. The error is as that of Dial.
func (d *Dialer) get(ctx context.Context, conn net.Conn, r *Request, target, fields []byte) (status int, err error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	b := append(append([]byte("GET "), target...), " HTTP/1.1\r\n"...)
	b = append(head.AppendField(b, "Host", r.host()), fields...)
	_, err = conn.Write(append(b, "User-Agent: tidegate\r\nConnection: close\r\n\r\n"...))
	if err == nil {
		reader := d.heads.Get()
		defer d.heads.Put(reader)
		var resp *head.Response
		if resp, _, err = d.readAnswer(conn, reader); err == nil {
			return resp.Status, nil
		}
	}
	err = failed(ctx, err, Broken)
	if e, made := errors.AsType[*Error](err); made && ctx.Err() == nil {
		e.beside = true
	}
	return 0, err
}
