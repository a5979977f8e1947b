//go:build linux && !portable

package relay

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// poller serves the legs of all sessions of an Engine: one epoll instance watches
// them, and one goroutine does what has become possible, as long as it can keep
// up. What has gathered meanwhile shows when it cannot: then it shares the work.
type poller struct {
	fd   int           // the epoll instance
	gate *gate         // tells when it has something, once
	bell int           // an eventfd
	done chan struct{} // closed when the goroutine has left

	// Of the goroutine.
	due  []event
	last int // bytes read in the last round

	mu    sync.Mutex
	legs  []*leg  // by place
	free  []int32 // places without a leg
	queue []*leg  // those that again was called for
}

// event is what became possible on a leg.
type event struct {
	leg  *leg
	what readiness
}

// What is watched for, each time that it comes anew. A bell has no place.
const (
	watched = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	noPlace = -1
)

func newPoller() (*poller, error) {
	p := &poller{bell: -1, done: make(chan struct{})}
	var err error
	if p.fd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("open an epoll instance: %w", err)
	}
	if p.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err == nil {
		err = p.add(p.bell, noPlace)
	}
	if err != nil {
		p.release()
		return nil, fmt.Errorf("open an eventfd: %w", err)
	}
	if p.gate, err = newGate(p.fd); err != nil {
		p.release()
		return nil, fmt.Errorf("open an epoll instance: %w", err)
	}
	go func() {
		defer close(p.done)
		events := make([]unix.EpollEvent, 128)
		p.gate.wait(func() { p.serve(events) })
	}()
	return p, nil
}

func (p *poller) release() {
	_ = unix.Close(p.fd)
	if p.bell >= 0 {
		_ = unix.Close(p.bell)
	}
}

// close ends a poller that serves nothing any more.
func (p *poller) close() {
	p.gate.close()
	<-p.done
	p.release()
}

// ring makes the goroutine look at what is not an event of a leg.
func (p *poller) ring() { _, _ = unix.Write(p.bell, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func (p *poller) add(fd int, place int32) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: watched, Fd: place})
}

// watch has l served from now on.
func (p *poller) watch(l *leg) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		l.place, p.free = p.free[n-1], p.free[:n-1]
	} else {
		l.place, p.legs = int32(len(p.legs)), append(p.legs, nil)
	}
	p.legs[l.place] = l
	if err := p.add(l.wire.fd, l.place); err != nil {
		p.drop(l)
		return fmt.Errorf("watch a connection: %w", err)
	}
	return nil
}

// forget has l served no more. Its socket must be closed next: that takes it out
// of the epoll instance. An event of before may still come to l, or to the leg
// that has its place by then, which finds nothing to do.
func (p *poller) forget(l *leg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(l)
}

func (p *poller) drop(l *leg) {
	p.legs[l.place] = nil
	p.free = append(p.free, l.place)
}

// again has l read once more, after the others.
func (p *poller) again(l *leg) {
	p.mu.Lock()
	p.queue = append(p.queue, l)
	p.mu.Unlock()
	p.ring()
}

// serve does all that can be done now.
func (p *poller) serve(events []unix.EpollEvent) {
	for {
		n, err := unix.EpollWait(p.fd, events, 0)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return
		}
		p.collect(events[:n])
		p.last = p.share()
	}
}

// An event costs about as much as reading and writing 16 KiB more, and 32 of them
// are worth the waking of a goroutine.
const (
	eventBytes = 16 << 10
	shareBytes = 32 * eventBytes
)

// share does what is due, on several goroutines if it looks much, and returns how
// many bytes were read.
func (p *poller) share() (read int) {
	parts := min((len(p.due)*eventBytes+p.last)/shareBytes, len(p.due))
	if parts > 1 { // asking the runtime takes a lock of its scheduler's
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
		read += e.leg.relay.ready(e.leg, e.what)
		e.leg = nil
	}
	return read
}

// collect fills due.
func (p *poller) collect(events []unix.EpollEvent) {
	p.due = p.due[:0]
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range events {
		e := &events[i]
		if e.Fd == noPlace {
			for i, l := range p.queue {
				p.due = append(p.due, event{l, readable | ended})
				p.queue[i] = nil
			}
			p.queue = p.queue[:0]
		} else if l := p.legs[e.Fd]; l != nil {
			p.due = append(p.due, event{l, readinessOf(e.Events)})
		}
	}
}

// readinessOf translates the events of a leg. A read stops at TCP's urgent mark
// as it does at the end.
func readinessOf(bits uint32) (what readiness) {
	if bits&unix.EPOLLIN != 0 {
		what |= readable
	}
	if bits&unix.EPOLLOUT != 0 {
		what |= writable
	}
	if bits&(unix.EPOLLPRI|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		what |= readable | writable | ended
	}
	return what
}
