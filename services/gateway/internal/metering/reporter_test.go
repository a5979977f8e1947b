package metering

import (
	"context"
	"errors"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// TestWrongRows has two rows that the service refuses: only they are lost, even if
// the service is away in between.
func TestWrongRows(t *testing.T) {
	var want, got, lost []int
	for i := range 100 {
		want = append(want, i)
	}
	waiting := slices.Clone(want)
	wrong := []int{37, 99}
	var last uint64
	sent := map[uint64]bool{}
	calls := 0
	away := errors.New("away")
	r := &reporter[int]{
		take: func() []int { batch := waiting; waiting = nil; return batch },
		send: func(_ context.Context, sequence uint64, batch []int) error {
			if calls++; calls%3 == 0 {
				return away
			}
			if sequence < last || sent[sequence] {
				t.Errorf("batch %d comes after %d", sequence, last)
			}
			last = sequence
			if slices.ContainsFunc(batch, func(i int) bool { return slices.Contains(wrong, i) }) {
				return status.Error(codes.InvalidArgument, "a row is wrong")
			}
			sent[sequence] = true
			got = append(got, batch...)
			return nil
		},
		drop: func(n int, _ error) { lost = append(lost, n) },
	}
	var err error
	for err = away; errors.Is(err, away); err = r.flush(t.Context()) {
		if n := len(got) + len(lost) + len(waiting) + r.len(); n != 100 {
			t.Fatalf("%d rows are accounted for, want 100", n)
		}
	}
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("flush = %v, want the refusal", err)
	}
	want = slices.DeleteFunc(want, func(i int) bool { return slices.Contains(wrong, i) })
	if !slices.Equal(got, want) || !slices.Equal(lost, []int{1, 1}) || r.len() != 0 {
		t.Errorf("%d rows came, %v were dropped, %d wait; want all but %v, each once and in order", len(got), lost, r.len(), wrong)
	}
	if calls > 60 {
		t.Errorf("%d calls, want few", calls)
	}
}
