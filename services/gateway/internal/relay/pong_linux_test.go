//go:build !portable

package relay

import (
	"io"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// TestSlowPong has a leg whose answer to a ping is late, because it is still
// taking what was sent to it before.
func TestSlowPong(t *testing.T) {
	r := newRig(t, slowClocks(), mode{}, ending.Terms{})
	r.client.keepLittle()
	l := &r.Relay.client
	for i := uint64(1); l.conn.Unacked() < 1<<20; i++ {
		r.backend.send(wireFrame{0x82, make([]byte, 16<<10)})
		r.until(t, "a message is relayed", func() bool { return r.Relay.backend.in.count.Messages == i && l.out.stalled == 0 })
	}
	r.pingNow(t, l)
	for range 3 {
		if r.overdue(l); r.Ending().By != ending.Nobody {
			t.Fatalf("ended though bytes were moving: %+v", r.Ending())
		}
		until(t, "the leg takes some of the bytes", func() bool {
			_ = r.client.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.CopyN(io.Discard, r.client.in, 16<<10); err != nil {
				t.Fatalf("%v, ending %+v", err, r.Ending())
			}
			return l.conn.Unacked() < int(l.out.unacked)
		})
	}
	until(t, "the leg that takes no more is idle", func() bool { r.overdue(l); return r.Ending().By != ending.Nobody })
	r.backend.expectClose(1001, "IDLE")
}
