package metering

import "sync"

// ring is what waits and is in no batch yet, oldest first. It is bounded: when it is full,
// a new item displaces the oldest.
type ring[T any] struct {
	max int

	mu    sync.Mutex
	items []T // n of them from head on
	head  int
	n     int
}

func newRing[T any](bound int) *ring[T] { return &ring[T]{max: bound} }

// add appends an item, and returns the oldest if that was displaced.
func (r *ring[T]) add(item T) (displaced T, was bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == len(r.items) && r.n < r.max {
		r.grow()
	}
	if r.n == r.max {
		displaced, r.items[r.head] = r.items[r.head], item
		r.head = (r.head + 1) % len(r.items)
		return displaced, true
	}
	r.items[(r.head+r.n)%len(r.items)] = item
	r.n++
	return displaced, false
}

// grow doubles the ring.
func (r *ring[T]) grow() {
	bigger := make([]T, min(max(64, 2*len(r.items)), r.max))
	for i := range r.n {
		bigger[i] = r.items[(r.head+i)%len(r.items)]
	}
	r.items, r.head = bigger, 0
}

func (r *ring[T]) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// take removes and returns up to n items.
func (r *ring[T]) take(n int) []T {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]T, min(n, r.n))
	for i := range out {
		var none T
		out[i], r.items[r.head] = r.items[r.head], none
		r.head = (r.head + 1) % len(r.items)
	}
	if r.n -= len(out); r.n == 0 {
		r.items, r.head = nil, 0
	}
	return out
}
