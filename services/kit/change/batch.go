package change

import "google.golang.org/protobuf/proto"

// batchBytes is the largest total size of the items of one piece: with what
// surrounds them it stays below 1 MiB.
const batchBytes = 900 << 10

// Batch groups the items of a snapshot into pieces under 1 MiB.
type Batch[T proto.Message] struct {
	emit  func([]T)
	items []T
	size  int
}

// NewBatch returns a batch that gives each full group to emit.
func NewBatch[T proto.Message](emit func([]T)) *Batch[T] {
	return &Batch[T]{emit: emit}
}

// Add adds an item.
func (b *Batch[T]) Add(item T) {
	// A tag and a length precede each item.
	size := proto.Size(item) + 8
	if len(b.items) > 0 && b.size+size > batchBytes {
		b.Flush()
	}
	b.items = append(b.items, item)
	b.size += size
}

// Flush emits what is left.
func (b *Batch[T]) Flush() {
	if len(b.items) > 0 {
		b.emit(b.items)
	}
	b.items, b.size = nil, 0
}
