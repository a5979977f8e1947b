package metering

import (
	"context"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// reporter sends batches of one kind, one after the other. A batch is frozen when
// it is taken: it is sent, with the same sequence and content, until it is
// acknowledged. A batch that the service calls invalid would stay invalid, and the
// service has taken nothing of it. So its halves are sent as batches of their own,
// and so on, down to the single wrong row, which is dropped.
type reporter[T any] struct {
	take func() []T // the next batch; empty when nothing waits
	send func(ctx context.Context, sequence uint64, batch []T) error
	drop func(n int, err error)

	flushing sync.Mutex // one flush at a time

	mu       sync.Mutex
	frozen   [][]T // the parts of refused batches to send later, then the batch under way
	sequence uint64
}

// flush sends until nothing waits. After an error the batch stays frozen, unless
// the error is that of a dropped row.
func (r *reporter[T]) flush(ctx context.Context) error {
	r.flushing.Lock()
	defer r.flushing.Unlock()
	var dropped error
	for {
		batch, sequence := r.next()
		if len(batch) == 0 {
			return dropped
		}
		err := r.send(ctx, sequence, batch)
		switch {
		case err == nil:
			r.done()
		case status.Code(err) != codes.InvalidArgument:
			return err
		case len(batch) == 1:
			r.done()
			r.drop(1, err)
			dropped = err
		default:
			r.done(batch[len(batch)/2:], batch[:len(batch)/2])
		}
	}
}

// next returns the frozen batch, or freezes a new one.
func (r *reporter[T]) next() ([]T, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.frozen) == 0 {
		batch := r.take()
		if len(batch) == 0 {
			return nil, 0
		}
		r.frozen = append(r.frozen, batch)
		r.sequence++
	}
	return r.frozen[len(r.frozen)-1], r.sequence
}

// done replaces the frozen batch with parts of it, of which the last is sent next.
func (r *reporter[T]) done(parts ...[]T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = append(r.frozen[:len(r.frozen)-1], parts...)
	if len(r.frozen) > 0 {
		r.sequence++
	}
}

// len returns the number of frozen rows.
func (r *reporter[T]) len() int { return r.count(func(T) bool { return true }) }

// count returns the number of frozen rows that are such.
func (r *reporter[T]) count(is func(T) bool) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, batch := range r.frozen {
		for _, row := range batch {
			if is(row) {
				n++
			}
		}
	}
	return n
}
