package session

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

func plus(sum ending.Totals, used []ending.Usage) ending.Totals {
	for i := range used {
		sum.Add(&used[i].Totals)
	}
	return sum
}

// TestCollect collects all the time while sessions relay and end. What is
// collected and what the records add must be what was relayed, session by
// session.
func TestCollect(t *testing.T) {
	b := newBench(t)
	const sessions, messages = 40, 50
	collected := map[string]ending.Totals{}
	collect := func() {
		b.Collect(func(s *Session, used []ending.Usage) {
			collected[s.Ref()] = plus(collected[s.Ref()], used)
		})
	}
	var wg sync.WaitGroup
	for range sessions {
		client, backend := b.start(b.register())
		wg.Go(func() {
			n := rand.IntN(messages)
			for range n {
				client.send(ws.OpText, "0123456789")
				backend.expect(ws.OpText, "0123456789")
				backend.send(ws.OpBinary, "ok")
				client.expect(ws.OpBinary, "ok")
			}
			client.Close()
			backend.Close()
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for over := false; !over; {
		collect()
		select {
		case <-done:
			over = true
		default:
		}
	}
	for range sessions {
		r := b.record()
		collect()
		if got := plus(collected[r.Ref], r.Uncollected); got != r.Totals {
			t.Errorf("collected and uncollected = %+v, want %+v", got, r.Totals)
		}
		c, p := r.Totals.FromClient, r.Totals.FromBackend
		if c.Payload != 10*c.Messages || c.Wire != 16*c.Messages || c.Frames != c.Messages || p.Payload != 2*p.Messages || p.Wire != 4*p.Messages || p.Messages != c.Messages {
			t.Errorf("totals = %+v", r.Totals)
		}
	}
}
