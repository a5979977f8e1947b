package relay

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// lot is where legs wait that no goroutine reads: one epoll instance watches
// them all, and one goroutine wakes those that have something to read. A leg
// costs it eight bytes. The Engine opens one for as long as there are sessions.
type lot struct {
	file *os.File // the epoll instance, which is itself waited for as a socket is
	fd   int
	done chan struct{} // closed when the goroutine has left

	mu   sync.Mutex
	legs []*leg // those that wait, by descriptor
}

// newLot returns a lot, or nil where the kernel gives none: then each leg keeps
// its goroutine.
func newLot() *lot {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil
	}
	p := &lot{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, done: make(chan struct{})}
	raw, err := p.file.SyscallConn()
	if err == nil {
		err = p.file.SetReadDeadline(time.Time{}) // it can be waited for
	}
	if err != nil {
		_ = p.file.Close()
		return nil
	}
	go func() {
		defer close(p.done)
		events := make([]unix.EpollEvent, 64)
		_ = raw.Read(func(uintptr) bool { p.wake(events); return false }) // ends with close
	}()
	return p
}

// close ends a lot in which nobody waits any more.
func (p *lot) close() {
	if p == nil {
		return
	}
	_ = p.file.Close()
	<-p.done
}

// park has l woken as soon as it has something to read, or has ended. It reports
// false when it cannot. The caller holds the mutex of l's Relay.
func (p *lot) park(l *leg) bool {
	if p == nil {
		return false
	}
	fd := l.wire.fd
	p.mu.Lock()
	defer p.mu.Unlock()
	if fd >= len(p.legs) {
		p.legs = append(p.legs, make([]*leg, fd+1-len(p.legs))...)
	}
	p.legs[fd] = l
	op := unix.EPOLL_CTL_MOD
	if !l.watched {
		op = unix.EPOLL_CTL_ADD
	}
	err := unix.EpollCtl(p.fd, op, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(fd)})
	if err != nil {
		p.legs[fd] = nil
		return false
	}
	l.watched = true
	return true
}

// forget takes l out. A wake that is under way for it comes to nothing.
func (p *lot) forget(l *leg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.legs[l.wire.fd] = nil
}

// wake wakes the legs that have something to read.
func (p *lot) wake(events []unix.EpollEvent) {
	for {
		n, err := unix.EpollWait(p.fd, events, 0)
		if err == unix.EINTR {
			continue
		}
		if n <= 0 {
			return
		}
		for i := range events[:n] {
			if l := p.at(int(events[i].Fd)); l != nil {
				l.relay.mu.Lock()
				l.relay.unpark(l)
				l.relay.mu.Unlock()
			}
		}
	}
}

// at returns the leg that waits with this descriptor. A late event may be that
// of its predecessor, whose descriptor it has: it is then woken for nothing.
func (p *lot) at(fd int) *leg {
	p.mu.Lock()
	defer p.mu.Unlock()
	if fd >= len(p.legs) {
		return nil
	}
	return p.legs[fd]
}
