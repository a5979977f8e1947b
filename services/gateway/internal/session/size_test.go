package session

import (
	"testing"
	"unsafe"
)

// TestSize keeps a session, its relay included, within the allocator's class of
// 1 KiB: the next one is 1152 bytes.
func TestSize(t *testing.T) {
	if n := unsafe.Sizeof(Session{}); n > 1024 {
		t.Errorf("a Session has %d bytes, want at most 1024", n)
	}
}
