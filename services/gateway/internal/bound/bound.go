// Package bound counts what is in use by key, such as by version or by address, so
// that nobody uses all of what belongs to all.
package bound

import "sync"

// ByKey counts by key, up to the same limit for each. Only keys that are in use take
// memory. It is safe for concurrent use.
type ByKey[K comparable] struct {
	limit int

	mu   sync.Mutex
	used map[K]int
}

// NewByKey returns a ByKey with nothing in use; a limit of 0 is none.
func NewByKey[K comparable](limit int) *ByKey[K] {
	return &ByKey[K]{limit: limit, used: map[K]int{}}
}

// Take takes one of a key's, to be given back with Give. It returns false if the
// limit is reached.
func (b *ByKey[K]) Take(key K) bool { return b.TakeWithin(key, b.limit) }

// TakeWithin is as Take, with a limit that holds now.
func (b *ByKey[K]) TakeWithin(key K, limit int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if limit > 0 && b.used[key] >= limit {
		return false
	}
	b.used[key]++
	return true
}

// Give gives one back.
func (b *ByKey[K]) Give(key K) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used[key]--; b.used[key] <= 0 {
		delete(b.used, key)
	}
}

// Keys returns how many keys are in use.
func (b *ByKey[K]) Keys() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.used)
}
