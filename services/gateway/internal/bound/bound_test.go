package bound_test

import (
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/bound"
)

// TestByKey bounds each key by itself, and keeps nothing of what was given back.
func TestByKey(t *testing.T) {
	b := bound.NewByKey[string](2)
	for i, want := range []bool{true, true, false} {
		if got := b.Take("a"); got != want {
			t.Errorf("Take %d = %v, want %v", i, got, want)
		}
	}
	if !b.Take("b") {
		t.Error("another key is refused")
	}
	b.Give("a")
	if !b.Take("a") || b.Take("a") {
		t.Error("what was given back is not one more")
	}
	for _, key := range []string{"a", "a", "b"} {
		b.Give(key)
	}
	if n := b.Keys(); n != 0 {
		t.Errorf("Keys() = %d after all was given back, want 0", n)
	}
	none := bound.NewByKey[int](0)
	for range 100 {
		if !none.Take(1) {
			t.Fatal("a limit of 0 refuses")
		}
	}
}

// TestTakeWithin goes by the limit that holds now.
func TestTakeWithin(t *testing.T) {
	b := bound.NewByKey[string](0)
	for i, step := range []struct {
		limit int
		want  bool
	}{{2, true}, {1, false}, {2, true}, {2, false}, {3, true}} {
		if got := b.TakeWithin("a", step.limit); got != step.want {
			t.Errorf("step %d, TakeWithin(%d) = %v, want %v", i, step.limit, got, step.want)
		}
	}
}
