package upstream

import (
	"context"
	"errors"
	"fmt"
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
	why, err := d.get(ctx, r, path)
	if again, _ := d.Renewed(ctx, r, err); again {
		why, _ = d.get(ctx, r, path)
	}
	return why
}

// get asks r's endpoint for a path, and returns what CheckHealth does. The error is that of a
// credential which is refused.
func (d *Dialer) get(ctx context.Context, r *Request, path string) (why string, refused error) {
	conn, err := d.connect(ctx, r, nil)
	if err != nil {
		return r.words(Connect, failed(ctx, err, Unreachable)), nil
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	b := append([]byte("GET "), path...)
	b = head.AppendField(append(b, " HTTP/1.1\r\n"...), "Host", r.host())
	if r.Authorization != "" {
		b = head.AppendField(b, "Authorization", r.Authorization)
	}
	b = append(r.appendVia(b), "User-Agent: tidegate\r\nConnection: close\r\n\r\n"...)
	if _, err := conn.Write(b); err != nil {
		return unanswered(failed(ctx, err, Broken)), nil
	}
	reader := d.heads.Get()
	defer d.heads.Put(reader)
	raw, _, err := reader.ReadResponse(conn)
	if err != nil {
		return unanswered(failed(ctx, d.readError(err), Broken)), nil
	}
	resp, err := reader.Response(raw)
	switch {
	case err != nil:
		return "the backend's answer is malformed", nil
	case resp.Status < 200 || resp.Status > 299:
		why = fmt.Sprintf("the backend answered %d, not 2xx", resp.Status)
		if resp.Status == http.StatusUnauthorized && r.Authorization != "" {
			refused = Unauthorized()
		}
	}
	return why, refused
}

// unanswered says why there was no answer to a GET.
func unanswered(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Detail()
	}
	return ErrTooSlow.Detail()
}
