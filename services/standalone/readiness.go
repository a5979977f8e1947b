package standalone

import (
	"sync"

	"github.com/tidegatehq/tidegate/services/kit/ops"
)

// readiness knows whether the services in this process are ready. Each tells it how to
// find out once it has started.
type readiness struct {
	mu  sync.Mutex
	ask map[string]func() error
}

// of returns the function with which a service tells.
func (r *readiness) of(service string) func(ready func() error) {
	return func(ready func() error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.ask == nil {
			r.ask = map[string]func() error{}
		}
		r.ask[service] = ready
	}
}

// now returns what is wrong with the services, or nil.
func (r *readiness) now() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	answers := map[string]error{}
	for service, ready := range r.ask {
		answers[service] = ready()
	}
	return ops.Join(answers)
}
