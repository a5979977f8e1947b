package relay

import (
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// TestSilentClient: a client that shows no life can be asked for one at any time, but not
// inside a frame; its answer ends the silence, and of a session that is over nothing is
// known.
func TestSilentClient(t *testing.T) {
	eachMode(t, func(t *testing.T, m mode) {
		r := newRig(t, quick(), m, ending.Terms{})
		silent := func() { until(t, "the client is silent", func() bool { return r.Silent() > 20*time.Millisecond }) }
		silent()
		if !r.Ping() || !answerPing(r.client) {
			t.Fatal("no ping came")
		}
		r.until(t, "the pong is there", func() bool { return r.Relay.client.out.pingSent == 0 })
		before := r.Silent()
		silent()
		if before > r.Silent() || before >= 10*time.Second {
			t.Errorf("after a pong the client was silent for %v", before)
		}
		whole := text("0123456789").bytes(false)
		r.backend.sendRaw(whole[:7])
		if _, err := r.client.in.Peek(7); err != nil {
			t.Fatal(err)
		}
		r.until(t, "the client is inside a frame", func() bool { return r.Relay.client.out.midFrame })
		if r.Ping() {
			t.Error("a client was pinged inside a frame")
		}
		r.backend.sendRaw(whole[7:])
		r.client.expect(text("0123456789"))
		r.End(ending.New(ending.OperatorClose, ""))
		if r.Ping() || r.Silent() != 0 {
			t.Error("a session that is over is asked for life")
		}
	})
}
