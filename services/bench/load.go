package bench

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

type target struct {
	name   string
	addr   string         // host:port, plain TCP
	more   []string       // the same, of further gateways of the target
	path   string         // request target of the handshake
	header string         // further header lines, each ended by CRLF
	keyed  door           // where an API key opens instead, or empty
	plain  string         // request target of plain requests, with the same header; empty for path
	procs  []func() []int // process ids whose CPU and memory count; none for the backend alone
	signIn string         // host:port of gRPC where users sign in, or empty
	failed error          // why it did not start, or nil

	catalog string // host:port of the catalog's gRPC, or empty
	plan    string // plans/{plan} of the subscription, or empty
}

// door is where a client comes in, and with what.
type door struct {
	Path   string // request target of the handshake
	Header string // further header lines of it, each ended by CRLF
}

// withKey returns the target as it is for clients with an API key. It is the same where
// there is no other door.
func (t *target) withKey() *target {
	if t.keyed == (door{}) {
		return t
	}
	other := *t
	other.path, other.header = t.keyed.Path, t.keyed.Header
	return &other
}

// withoutSocket returns the target as it is for plain requests.
func (t *target) withoutSocket() *target {
	other := *t
	other.path = cmp.Or(t.plain, t.path)
	return &other
}

// pids returns the processes of the target as they are now.
func (t *target) pids() []int {
	var ids []int
	for _, f := range t.procs {
		ids = append(ids, f()...)
	}
	return ids
}

// gateways returns the target once for each of its gateways.
func (t *target) gateways() []*target {
	all := make([]*target, 0, 1+len(t.more))
	for _, addr := range append([]string{t.addr}, t.more...) {
		one := *t
		one.addr, one.more = addr, nil
		all = append(all, &one)
	}
	return all
}

// client is one WebSocket connection, reduced to what a measurement needs.
type client struct {
	conn net.Conn
	r    *bufio.Reader
}

// dial connects and does the opening handshake of RFC 6455 section 4.
func dial(ctx context.Context, t *target) (*client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, r: bufio.NewReaderSize(conn, 32<<10)}
	if err := c.handshake(t); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *client) handshake(t *target) error {
	if err := c.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n", t.path, t.addr, t.header)
	if err != nil {
		return err
	}
	for first := true; ; first = false {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return fmt.Errorf("read the answer to the handshake: %w", err)
		}
		if first && !isSwitching(line) {
			return fmt.Errorf("the handshake was answered %q", line)
		}
		if line == "\r\n" {
			return c.conn.SetDeadline(time.Time{})
		}
	}
}

func isSwitching(line string) bool {
	return len(line) > 12 && line[:12] == "HTTP/1.1 101"
}

// close ends the connection properly: it sends a close frame, gets one back, and
// then EOF.
func (c *client) close() error {
	defer c.conn.Close()
	if err := c.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	if _, err := c.conn.Write([]byte{0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8}); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, c.r)
	return err
}

// frame returns one masked binary frame with n payload bytes.
func frame(n int) []byte {
	b := []byte{0x82}
	if n < 126 {
		b = append(b, 0x80|byte(n))
	} else {
		b = append(b, 0x80|126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	b = append(b, 0x37, 0xfa, 0x21, 0x3d)
	payload := make([]byte, n)
	rand.Read(payload)
	return append(b, payload...)
}

// answer is the size of an unmasked frame with n payload bytes.
func answer(n int) int {
	if n < 126 {
		return 2 + n
	}
	return 4 + n
}

// echo keeps depth messages in flight on every connection for the span. Before that
// it warms up for a tenth of the span, which does not count.
func echo(ctx context.Context, cfg *Config, t *target, depth int) (result, error) {
	clients, err := dialAll(ctx, t, cfg.Conns)
	if err != nil {
		drop(clients)
		return result{}, err
	}
	if _, err := pumpAll(clients, cfg.Payload, depth, cfg.Span/10); err != nil {
		drop(clients)
		return result{}, err
	}
	defer closeAll(clients)
	return timed(t, depth, func() ([][]time.Duration, error) {
		return pumpAll(clients, cfg.Payload, depth, cfg.Span)
	})
}

// timed runs load, which returns how long each turn took, and measures the target's
// CPU time per item. A turn has each items.
func timed(t *target, each int, load func() ([][]time.Duration, error)) (result, error) {
	start := time.Now()
	before, err := cpuOf(t.pids())
	if err != nil {
		return result{}, err
	}
	turns, err := load()
	if err != nil {
		return result{}, err
	}
	took := time.Since(start)
	after, err := cpuOf(t.pids())
	if err != nil {
		return result{}, err
	}
	all := slices.Concat(turns...)
	if len(all) == 0 {
		return result{}, errors.New("nothing was done within the span")
	}
	slices.Sort(all)
	n := float64(len(all) * each)
	return result{
		perSecond: n / took.Seconds(),
		cost:      float64(after-before) / n,
		p50:       all[len(all)/2],
		p99:       all[len(all)*99/100],
	}, nil
}

// pumpAll keeps depth messages in flight on each connection for the span.
func pumpAll(clients []*client, payload, depth int, span time.Duration) ([][]time.Duration, error) {
	var (
		wg    sync.WaitGroup
		stop  atomic.Bool
		errs  = make([]error, len(clients))
		turns = make([][]time.Duration, len(clients))
	)
	timer := time.AfterFunc(span, func() { stop.Store(true) })
	defer timer.Stop()
	for i, c := range clients {
		wg.Go(func() {
			// A target that does not answer fails instead of blocking the run.
			if errs[i] = c.conn.SetDeadline(time.Now().Add(span + 30*time.Second)); errs[i] == nil {
				turns[i], errs[i] = c.pump(payload, depth, &stop)
			}
		})
	}
	wg.Wait()
	return turns, errors.Join(errs...)
}

// pump writes depth messages at once, waits until all are back, and repeats until
// stop. It returns how long each turn took.
func (c *client) pump(payload, depth int, stop *atomic.Bool) ([]time.Duration, error) {
	var batch []byte
	for range depth {
		batch = append(batch, frame(payload)...)
	}
	back := make([]byte, depth*answer(payload))
	var trips []time.Duration
	for !stop.Load() {
		began := time.Now()
		if _, err := c.conn.Write(batch); err != nil {
			return trips, err
		}
		if _, err := io.ReadFull(c.r, back); err != nil {
			return trips, err
		}
		trips = append(trips, time.Since(began))
	}
	return trips, nil
}

// dialAll opens n connections, at most 64 at once.
func dialAll(ctx context.Context, t *target, n int) ([]*client, error) {
	return makeAll(n, func() (*client, error) { return dial(ctx, t) })
}

// makeAll makes n of something, at most 64 at once. It returns those that were made, with
// the first error.
func makeAll[T any](n int, one func() (T, error)) ([]T, error) {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		all   []T
		first error
		room  = make(chan struct{}, 64)
	)
	for range n {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			made, err := one()
			mu.Lock()
			defer mu.Unlock()
			if err != nil && first == nil {
				first = err
			}
			if err == nil {
				all = append(all, made)
			}
		})
	}
	wg.Wait()
	return all, first
}

// closeAll closes connections properly, at most 64 at once.
func closeAll(clients []*client) {
	var wg sync.WaitGroup
	room := make(chan struct{}, 64)
	for _, c := range clients {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			_ = c.close() // the measurement is over: nobody needs the error
		})
	}
	wg.Wait()
}

// drop closes connections to a target that failed, which may not answer.
func drop(clients []*client) {
	for _, c := range clients {
		c.conn.Close()
	}
}

// handshakes opens and closes connections for the span.
func handshakes(ctx context.Context, cfg *Config, t *target) (result, error) {
	if c, err := dial(ctx, t); err != nil { // warms caches
		return result{}, err
	} else if err := c.close(); err != nil {
		return result{}, err
	}
	return timed(t, 1, func() ([][]time.Duration, error) { return shake(ctx, cfg.Dialers, forSpan(cfg.Span, t)) })
}

// forSpan returns a function that returns the target for a span from now on, and then nil.
func forSpan(span time.Duration, t *target) func() *target {
	start := time.Now()
	return func() *target {
		if time.Since(start) < span {
			return t
		}
		return nil
	}
}

// shake has so many dialers at once open and close connections to what next returns, until
// that is nil, and returns how long each handshake took.
func shake(ctx context.Context, dialers int, next func() *target) ([][]time.Duration, error) {
	return repeatedly(dialers, func() (took time.Duration, done bool, err error) {
		t := next()
		if t == nil {
			return 0, true, nil
		}
		began := time.Now()
		c, err := dial(ctx, t)
		if err != nil {
			return 0, true, err
		}
		took = time.Since(began)
		return took, false, c.close()
	})
}

// repeatedly has n goroutines do something again and again, each until it is done or fails,
// and returns how long each time took.
func repeatedly(n int, do func() (took time.Duration, done bool, err error)) ([][]time.Duration, error) {
	var (
		wg    sync.WaitGroup
		errs  = make([]error, n)
		times = make([][]time.Duration, n)
	)
	for i := range n {
		wg.Go(func() {
			for {
				took, done, err := do()
				if errs[i] = err; done || err != nil {
					return
				}
				times[i] = append(times[i], took)
			}
		})
	}
	wg.Wait()
	return times, errors.Join(errs...)
}

// idle reads the target's memory without idle sessions and with them.
func idle(ctx context.Context, cfg *Config, t *target) (result, error) {
	none, err := rssOf(t.pids())
	if err != nil {
		return result{}, err
	}
	clients, err := dialAll(ctx, t, cfg.Idle)
	if err != nil {
		drop(clients)
		return result{}, err
	}
	defer closeAll(clients)
	select {
	case <-time.After(cfg.Settle):
	case <-ctx.Done():
		return result{}, ctx.Err()
	}
	some, err := rssOf(t.pids())
	return result{cost: float64(some-none) / float64(cfg.Idle)}, err
}
