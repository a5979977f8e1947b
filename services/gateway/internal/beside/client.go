package beside

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// leastRate is how many bytes a second of a body must come, in the time that is waited for
// them beyond that of a stall.
const leastRate = 500

// client is the client's connection as an exchange uses it. Each read and each write has the
// time of a stall, until it is interrupted. All reads together have that time, and a second
// more for each leastRate bytes that came: a byte now and then keeps no request alive. The
// time in which nobody reads is not the client's, and does not count.
type client struct {
	net.Conn
	stall time.Duration

	// Of the one goroutine that reads.
	came   int64         // bytes
	waited time.Duration // for them

	mu       sync.Mutex
	noReads  bool
	noWrites bool
	written  atomic.Int64 // bytes
}

// Read implements net.Conn.
func (c *client) Read(p []byte) (int, error) {
	began := time.Now()
	earned := time.Duration(c.came) * (time.Second / leastRate)
	c.mu.Lock()
	if !c.noReads {
		_ = c.SetReadDeadline(began.Add(c.stall + min(earned-c.waited, 0)))
	}
	c.mu.Unlock()
	n, err := c.Conn.Read(p)
	c.came += int64(n)
	c.waited += time.Since(began)
	return n, err
}

// Write implements net.Conn.
func (c *client) Write(p []byte) (int, error) {
	c.mu.Lock()
	if !c.noWrites {
		_ = c.SetWriteDeadline(time.Now().Add(c.stall))
	}
	c.mu.Unlock()
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err
}

// past interrupts what is under way.
var past = time.Unix(1, 0)

// interrupt has reads and writes fail, those that are under way too.
func (c *client) interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noReads, c.noWrites = true, true
	_ = c.SetDeadline(past)
}

// stopReads has reads fail, those that are under way too.
func (c *client) stopReads() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noReads = true
	_ = c.SetReadDeadline(past)
}

// allowWrites undoes interrupt for writes.
func (c *client) allowWrites() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noWrites = false
}
