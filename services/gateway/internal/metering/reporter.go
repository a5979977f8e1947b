package metering

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// reporter sends batches of one kind, one after the other. A batch is frozen
// when it is taken: it is sent again, with the same sequence and content, until
// it is acknowledged. One that the service calls invalid would be so for ever;
// it is dropped.
type reporter[T any] struct {
	take func() []T // the next batch; empty when nothing waits
	send func(ctx context.Context, sequence uint64, batch []T) error
	drop func(n int, err error)

	flushing sync.Mutex // one flush at a time

	mu       sync.Mutex
	frozen   []T
	sequence uint64
}

// flush sends until nothing waits. An error leaves the batch frozen.
func (r *reporter[T]) flush(ctx context.Context) error {
	r.flushing.Lock()
	defer r.flushing.Unlock()
	for {
		batch, sequence := r.next()
		if len(batch) == 0 {
			return nil
		}
		err := r.send(ctx, sequence, batch)
		if err != nil && status.Code(err) != codes.InvalidArgument {
			return err
		}
		r.done()
		if err != nil {
			r.drop(len(batch), err)
			return err
		}
	}
}

// next returns the frozen batch, or freezes a new one.
func (r *reporter[T]) next() ([]T, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.frozen == nil {
		if r.frozen = r.take(); len(r.frozen) == 0 {
			r.frozen = nil
			return nil, 0
		}
		r.sequence++
	}
	return r.frozen, r.sequence
}

func (r *reporter[T]) done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = nil
}

// len returns the size of the frozen batch.
func (r *reporter[T]) len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.frozen)
}
