//go:build linux && !portable

package netpoll

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Poller serves connections: one epoll instance watches them, and one goroutine
// has done what has become possible, as long as it can keep up. How much has
// gathered meanwhile shows when it cannot: then it shares the work.
type Poller struct {
	epoll    int           // the instance
	notifier *notifier     // tells when it has something, once
	eventfd  int           // tells of the queue
	done     chan struct{} // closed when the goroutine has left

	// Of the goroutine.
	due  []event
	last int // bytes read in the last round

	mu       sync.Mutex
	handlers []Handler // by slot
	free     []int32   // slots without a handler
	queue    []Handler // those that Requeue was called for
}

// event is what became possible on a handler's connection.
type event struct {
	handler Handler
	what    Readiness
}

// What is watched for, each time that it comes anew. The eventfd has no slot.
const (
	watched = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	noSlot  = -1
)

// NewPoller returns a Poller without connections, with a goroutine of its own until
// Close.
func NewPoller() (*Poller, error) {
	p := &Poller{eventfd: -1, done: make(chan struct{})}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("open an epoll instance: %w", err)
	}
	if p.eventfd, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
		err = p.watch(p.eventfd, noSlot)
	}
	if err != nil {
		p.release()
		return nil, fmt.Errorf("open an eventfd: %w", err)
	}
	if p.notifier, err = newNotifier(p.epoll); err != nil {
		p.release()
		return nil, fmt.Errorf("open an epoll instance: %w", err)
	}
	go func() {
		defer close(p.done)
		events := make([]unix.EpollEvent, 128)
		p.notifier.run(func() { p.serve(events) })
	}()
	return p, nil
}

func (p *Poller) release() {
	_ = unix.Close(p.epoll)
	if p.eventfd >= 0 {
		_ = unix.Close(p.eventfd)
	}
}

// Close ends a Poller that has no connections any more.
func (p *Poller) Close() {
	p.notifier.close()
	<-p.done
	p.release()
}

func (p *Poller) watch(fd int, slot int32) error {
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: watched, Fd: slot})
}

// Add has h called for c, which is attached, from now on.
func (p *Poller) Add(c *Conn, h Handler) error {
	if err := p.add(c, h); err != nil {
		return fmt.Errorf("watch a connection: %w", err)
	}
	if c.tls != nil { // which may have read something already, of which no event tells
		p.Requeue(h)
	}
	return nil
}

func (p *Poller) add(c *Conn, h Handler) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		c.slot, p.free = p.free[n-1], p.free[:n-1]
	} else {
		c.slot, p.handlers = int32(len(p.handlers)), append(p.handlers, nil)
	}
	p.handlers[c.slot] = h
	err := p.watch(c.socket.fd, c.slot)
	if err != nil {
		p.vacate(c.slot)
	}
	return err
}

// Remove takes back an Add whose connection is not used yet.
func (p *Poller) Remove(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.vacate(c.slot)
	_ = unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, c.socket.fd, nil)
}

// CloseConn closes c's socket, and its handler is served no more. An event that is
// on its way may still reach the handler, or the one that has its slot by then,
// which then finds nothing to do.
func (p *Poller) CloseConn(c *Conn) {
	p.mu.Lock()
	p.vacate(c.slot)
	p.mu.Unlock()
	c.socket.close() // which takes it out of the epoll instance
	*c = Conn{}
}

func (p *Poller) vacate(slot int32) {
	p.handlers[slot] = nil
	p.free = append(p.free, slot)
}

// Requeue has h's Ready called once more, after the others, as if there were
// something to read, be it the end.
func (p *Poller) Requeue(h Handler) {
	p.mu.Lock()
	p.queue = append(p.queue, h)
	p.mu.Unlock()
	_, _ = unix.Write(p.eventfd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}

// serve does all that can be done now.
func (p *Poller) serve(events []unix.EpollEvent) {
	for {
		n, err := poll(p.epoll, events)
		if err == unix.EINTR { //nolint:errorlint // an errno, never wrapped
			continue
		}
		if n <= 0 {
			return
		}
		p.collect(events[:n])
		p.last = p.share()
	}
}

// collect fills due.
func (p *Poller) collect(events []unix.EpollEvent) {
	p.due = p.due[:0]
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range events {
		e := &events[i]
		if e.Fd == noSlot {
			for i, h := range p.queue {
				p.due = append(p.due, event{h, Readable | Ended})
				p.queue[i] = nil
			}
			p.queue = p.queue[:0]
		} else if h := p.handlers[e.Fd]; h != nil {
			p.due = append(p.due, event{h, readinessOf(e.Events)})
		}
	}
}

// An event costs about as much as reading and writing 16 KiB more, and 32 of them
// are worth waking a goroutine for.
const (
	eventBytes = 16 << 10
	shareBytes = 32 * eventBytes
)

// share does what is due, on several goroutines if it seems much, and returns how
// many bytes were read.
func (p *Poller) share() (read int) {
	parts := min((len(p.due)*eventBytes+p.last)/shareBytes, len(p.due))
	if parts > 1 { // asking the runtime takes a lock of its scheduler
		parts = min(parts, runtime.GOMAXPROCS(0))
	}
	if parts <= 1 {
		return work(p.due)
	}
	var wg sync.WaitGroup
	var others atomic.Int64
	each := (len(p.due) + parts - 1) / parts
	for part := range slices.Chunk(p.due[each:], each) {
		wg.Go(func() { others.Add(int64(work(part))) })
	}
	read = work(p.due[:each])
	wg.Wait()
	return read + int(others.Load())
}

// work does what is due.
func work(due []event) (read int) {
	for i := range due {
		e := &due[i]
		read += e.handler.Ready(e.what)
		e.handler = nil
	}
	return read
}

// readinessOf translates the events of a connection. A read stops at TCP's urgent
// mark as it does at the end.
func readinessOf(bits uint32) (what Readiness) {
	if bits&unix.EPOLLIN != 0 {
		what |= Readable
	}
	if bits&unix.EPOLLOUT != 0 {
		what |= Writable
	}
	if bits&(unix.EPOLLPRI|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		what |= Readable | Writable | Ended
	}
	return what
}
