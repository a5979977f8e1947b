package cli

import (
	"context"
	"sync"
	"time"
)

// patience is a context that ends when a command has worked for --timeout. While the
// command waits for a person, its time stands still.
type patience struct {
	context.Context // the parent, for its values
	limit           time.Duration
	done            chan struct{}

	mu    sync.Mutex
	timer *time.Timer
	err   error
}

// newPatience returns a context that ends after limit, or with parent.
func newPatience(parent context.Context, limit time.Duration) (p *patience, cancel context.CancelFunc) {
	p = &patience{Context: parent, limit: limit, done: make(chan struct{})}
	p.mu.Lock() // a short time is over before the timer is known
	p.timer = time.AfterFunc(limit, func() { p.end(context.DeadlineExceeded) })
	p.mu.Unlock()
	stop := context.AfterFunc(parent, func() { p.end(parent.Err()) })
	return p, func() {
		stop()
		p.end(context.Canceled)
	}
}

func (p *patience) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
		p.timer.Stop()
		close(p.done)
	}
}

// Deadline returns none: the time may stand still.
func (p *patience) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done is closed when the time is over.
func (p *patience) Done() <-chan struct{} { return p.done }

// Err returns DeadlineExceeded when the time is over.
func (p *patience) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// wait stops the command's time until the function that it returns is called; then all of
// it begins anew.
func (s *shell) wait() (goOn func()) {
	if s.patience == nil {
		return func() {}
	}
	s.patience.timer.Stop()
	return func() { s.patience.timer.Reset(s.patience.limit) }
}
