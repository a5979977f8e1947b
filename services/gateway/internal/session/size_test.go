package session

import (
	"testing"
	"unsafe"

	"github.com/tidegatehq/tidegate/services/gateway/internal/relay"
)

// TestSize keeps a session and its relay within the allocator's classes of 192 and
// 768 bytes. The next ones are 208 and 896.
func TestSize(t *testing.T) {
	if n := unsafe.Sizeof(Session{}); n > 192 {
		t.Errorf("a Session has %d bytes, want at most 192", n)
	}
	if n := unsafe.Sizeof(relay.Relay{}); n > 768 {
		t.Errorf("a Relay has %d bytes, want at most 768", n)
	}
}
