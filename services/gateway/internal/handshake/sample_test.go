package handshake

import (
	"testing"
	"time"
)

// TestRefusalsAreSampled: of a code, the first ten of a second are logged, and the next
// line says how many were not; another code is logged beside it.
func TestRefusalsAreSampled(t *testing.T) {
	s := sampler{codes: map[string]*sample{}}
	now := time.Unix(100, 0)
	logged := 0
	for range 50 {
		if left, ok := s.log("VERSION_BUSY", now); ok {
			logged++
			if left != 0 {
				t.Errorf("%d are left out before the first was", left)
			}
		}
	}
	if logged != perSecond {
		t.Errorf("%d of 50 are logged, want %d", logged, perSecond)
	}
	if _, ok := s.log("SESSIONS_FULL", now); !ok {
		t.Error("another code is left out")
	}
	for _, want := range []int{40, 0} {
		if left, ok := s.log("VERSION_BUSY", now.Add(time.Second)); !ok || left != want {
			t.Errorf("a second later: %v, %d left out, want %d", ok, left, want)
		}
	}
}
