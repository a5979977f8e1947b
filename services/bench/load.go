package bench

import (
	"bufio"
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

// depths are the numbers of messages in flight on a connection.
var depths = []int{1, 16}

// target is something that clients connect to.
type target struct {
	name   string
	addr   string         // host:port, plain TCP
	path   string         // request target of the handshake
	header string         // further header lines, each ended by CRLF
	procs  []func() []int // process ids whose CPU and memory count; none for the backend alone
}

// pids returns the processes of the target as they are now.
func (t *target) pids() []int {
	var ids []int
	for _, f := range t.procs {
		ids = append(ids, f()...)
	}
	return ids
}

// echoResult is one echo measurement.
type echoResult struct {
	perSecond float64
	cpu       time.Duration // of the proxy, per message (one way there and back)
	p50, p99  time.Duration // round trip
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

// close ends the connection in order: a close frame there, one back, EOF.
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

// echo keeps depth messages in flight on every connection for the span.
func echo(ctx context.Context, cfg Config, t *target, depth int) (echoResult, error) {
	clients, err := dialAll(ctx, t, cfg.Conns)
	defer closeAll(clients)
	if err != nil {
		return echoResult{}, err
	}
	var (
		wg    sync.WaitGroup
		stop  atomic.Bool
		errs  = make([]error, len(clients))
		trips = make([][]time.Duration, len(clients))
		start = time.Now()
		cpu   = cpuOf(t.pids())
	)
	timer := time.AfterFunc(cfg.Span, func() { stop.Store(true) })
	defer timer.Stop()
	for i, c := range clients {
		wg.Go(func() { trips[i], errs[i] = c.pump(cfg.Payload, depth, &stop) })
	}
	wg.Wait()
	took, used := time.Since(start), cpuOf(t.pids())-cpu
	if err := errors.Join(errs...); err != nil {
		return echoResult{}, err
	}
	all := slices.Concat(trips...)
	slices.Sort(all)
	n := len(all) * depth
	if n == 0 {
		return echoResult{}, errors.New("no message came back within the span")
	}
	return echoResult{
		perSecond: float64(n) / took.Seconds(),
		cpu:       used / time.Duration(n),
		p50:       all[len(all)/2],
		p99:       all[len(all)*99/100],
	}, nil
}

// pump writes depth messages at once, waits until all are back, and again; it
// returns how long each turn took.
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
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		clients []*client
		first   error
		room    = make(chan struct{}, 64)
	)
	for range n {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			c, err := dial(ctx, t)
			mu.Lock()
			defer mu.Unlock()
			if err != nil && first == nil {
				first = err
			}
			if err == nil {
				clients = append(clients, c)
			}
		})
	}
	wg.Wait()
	return clients, first
}

func closeAll(clients []*client) {
	var wg sync.WaitGroup
	room := make(chan struct{}, 64)
	for _, c := range clients {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			_ = c.close() // the measurement is over; a connection that is gone is closed
		})
	}
	wg.Wait()
}

// handshakeResult is one measurement of handshakes.
type handshakeResult struct {
	perSecond float64
	cpu       time.Duration // of the proxy, per handshake with its close
	p50, p99  time.Duration // from connect to 101
}

// handshakes opens and closes connections for the span.
func handshakes(ctx context.Context, cfg Config, t *target) (handshakeResult, error) {
	if c, err := dial(ctx, t); err != nil { // warms caches
		return handshakeResult{}, err
	} else if err := c.close(); err != nil {
		return handshakeResult{}, err
	}
	var (
		wg    sync.WaitGroup
		errs  = make([]error, cfg.Dialers)
		times = make([][]time.Duration, cfg.Dialers)
		start = time.Now()
		cpu   = cpuOf(t.pids())
	)
	for i := range cfg.Dialers {
		wg.Go(func() {
			for time.Since(start) < cfg.Span && errs[i] == nil {
				began := time.Now()
				c, err := dial(ctx, t)
				if err != nil {
					errs[i] = err
					return
				}
				times[i] = append(times[i], time.Since(began))
				errs[i] = c.close()
			}
		})
	}
	wg.Wait()
	took, used := time.Since(start), cpuOf(t.pids())-cpu
	if err := errors.Join(errs...); err != nil {
		return handshakeResult{}, err
	}
	all := slices.Concat(times...)
	slices.Sort(all)
	if len(all) == 0 {
		return handshakeResult{}, errors.New("no handshake was done within the span")
	}
	return handshakeResult{
		perSecond: float64(len(all)) / took.Seconds(),
		cpu:       used / time.Duration(len(all)),
		p50:       all[len(all)/2],
		p99:       all[len(all)*99/100],
	}, nil
}

// measureMemory reads the target's memory without and with idle sessions.
func measureMemory(ctx context.Context, cfg Config, t *target, r *report) error {
	if len(t.procs) == 0 {
		return nil
	}
	none := rssOf(t.pids())
	clients, err := dialAll(ctx, t, cfg.Idle)
	defer closeAll(clients)
	if err != nil {
		return err
	}
	select {
	case <-time.After(cfg.Settle):
	case <-ctx.Done():
		return ctx.Err()
	}
	r.addMemory(t.name, float64(rssOf(t.pids())-none)/float64(cfg.Idle))
	return nil
}
