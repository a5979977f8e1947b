package relay

import (
	"testing"
	"unsafe"
)

// TestSize keeps a session's relay within the allocator's class of 768 bytes: the
// next one is 896.
func TestSize(t *testing.T) {
	if n := unsafe.Sizeof(Relay{}); n > 768 {
		t.Errorf("a Relay has %d bytes, want at most 768", n)
	} else {
		t.Logf("a Relay has %d bytes, of which a leg has %d", n, unsafe.Sizeof(leg{}))
	}
}
