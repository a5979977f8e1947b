package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// bodySize is how many bytes the backend answers a plain request with.
const bodySize = 128

// serveRequests answers plain requests, the first of which has been read, until the client goes.
func serveRequests(conn net.Conn, r *bufio.Reader, req *http.Request) error {
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", bodySize, strings.Repeat("x", bodySize))
	for {
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return err
		}
		if _, err := conn.Write(answer); err != nil {
			return nil // the client has gone
		}
		var err error
		if req, err = http.ReadRequest(r); err != nil {
			return nil // likewise
		}
	}
}

// requests sends plain requests for the span, one after the other on each of the connections,
// which are kept. Before that it warms up for a tenth of the span, which does not count.
func requests(ctx context.Context, cfg *Config, t *target) (result, error) {
	clients, err := makeAll(cfg.Conns, func() (*client, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", t.addr)
		if err != nil {
			return nil, err
		}
		return &client{conn: conn, r: bufio.NewReader(conn)}, nil
	})
	defer drop(clients)
	if err != nil {
		return result{}, err
	}
	if _, err := askAll(clients, t, cfg.Span/10); err != nil {
		return result{}, err
	}
	return timed(t, 1, func() ([][]time.Duration, error) { return askAll(clients, t, cfg.Span) })
}

// askAll sends requests on all connections for the span, and returns how long each took.
func askAll(clients []*client, t *target, span time.Duration) ([][]time.Duration, error) {
	var (
		wg    sync.WaitGroup
		stop  atomic.Bool
		errs  = make([]error, len(clients))
		turns = make([][]time.Duration, len(clients))
		text  = fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", t.path, t.addr, t.header)
	)
	timer := time.AfterFunc(span, func() { stop.Store(true) })
	defer timer.Stop()
	for i, c := range clients {
		wg.Go(func() {
			errs[i] = c.conn.SetDeadline(time.Now().Add(span + 30*time.Second))
			for errs[i] == nil && !stop.Load() {
				began := time.Now()
				if errs[i] = c.ask(text); errs[i] == nil {
					turns[i] = append(turns[i], time.Since(began))
				}
			}
		})
	}
	wg.Wait()
	return turns, errors.Join(errs...)
}

// ask sends a request and reads its answer.
func (c *client) ask(text []byte) error {
	if _, err := c.conn.Write(text); err != nil {
		return err
	}
	length := -1
	for first := true; ; first = false {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return fmt.Errorf("read the answer to a request: %w", err)
		}
		if first && !strings.HasPrefix(line, "HTTP/1.1 200 ") {
			return fmt.Errorf("a request was answered %q", line)
		}
		if line == "\r\n" {
			break
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch strings.ToLower(name) {
		case "content-length":
			if length, err = strconv.Atoi(value); err != nil {
				return err
			}
		case "connection":
			if strings.EqualFold(value, "close") {
				return errors.New("the connection is closed after a request")
			}
		}
	}
	if length != bodySize {
		return fmt.Errorf("an answer has %d bytes, want %d", length, bodySize)
	}
	_, err := c.r.Discard(length)
	return err
}
