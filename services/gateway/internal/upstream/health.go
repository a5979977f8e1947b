package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/head"
)

// CheckHealth checks r's endpoint: by a GET of a path, or by a handshake where that is
// empty. It returns why the endpoint is not good, in words that name no address; empty if
// it is.
func (d *Dialer) CheckHealth(ctx context.Context, r *Request, path string) string {
	if path == "" {
		c := d.Check(ctx, r)
		if c.Step == Done || (&Error{Kind: Refused, Status: c.Status}).Answered() && c.Status != 0 && c.Status != 101 {
			return ""
		}
		return c.Error
	}
	d.dials.Add(1)
	defer d.dials.Add(-1)
	conn, err := d.connect(ctx, r, nil)
	if err != nil {
		return r.words(Connect, failed(ctx, err, Unreachable))
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
		return unanswered(failed(ctx, err, Broken))
	}
	reader := d.heads.Get()
	defer d.heads.Put(reader)
	raw, _, err := reader.ReadResponse(conn)
	if err != nil {
		return unanswered(failed(ctx, d.readError(err), Broken))
	}
	resp, err := reader.Response(raw)
	switch {
	case err != nil:
		return "the backend's answer is malformed"
	case resp.Status < 200 || resp.Status > 299:
		return fmt.Sprintf("the backend answered %d, not 2xx", resp.Status)
	}
	return ""
}

// unanswered says why there was no answer to a GET.
func unanswered(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Detail()
	}
	return ErrTooSlow.Detail()
}
