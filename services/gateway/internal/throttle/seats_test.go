package throttle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// words returns why sessions ended.
func words(all []*client) (list []string) {
	for _, c := range all {
		list = append(list, c.why())
	}
	return list
}

// TestSeatsAreGivenBack: at all places, whoever leaves and whoever is refused at a wider one.
func TestSeatsAreGivenBack(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(planOf("two", connections(2, refuse)), planOf("three", connections(3, refuse)), planOf("four", connections(4, refuse)))
		w.SetVersions(map[string]Version{version1: {TrafficPlan: "plans/four"}}, nil)
		a, b, c := w.who("a", "plans/two", "plans/three"), w.who("b", "plans/two", "plans/three"), w.who("c", "plans/two", "plans/three")
		for round := range 3 {
			all := []*client{w.mustEnter(a), w.mustEnter(a)}
			_ = w.refused(a, "connections", limits.Subscription)
			elsewhere := a
			elsewhere.Version = "apis/b/versions/1"
			all = append(all, w.mustEnter(elsewhere))
			_ = w.refused(elsewhere, "connections", limits.Application)
			all = append(all, w.mustEnter(b), w.mustEnter(b))
			_ = w.refused(c, "connections", limits.Version)
			for _, x := range all {
				x.Release()
			}
			if got := w.SeatsTaken(); len(got) > 0 {
				t.Errorf("round %d: SeatsTaken = %v", round, got)
			}
		}
	})
}

// TestCloseOldest: the newcomer has the seat at once, and the oldest is ended, also one in
// its handshake.
func TestCloseOldest(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(planOf("two", connections(2, closeOldest)))
		who := w.who("a", "plans/two", "")
		first, err := w.Enter(w.t.Context(), who) // has no session yet
		if err != nil {
			t.Fatal(err)
		}
		second, third, fourth := w.mustEnter(who), w.mustEnter(who), w.mustEnter(who)
		late := w.start(first)
		if got := fmt.Sprint(words([]*client{late, second, third, fourth})); got != "[REPLACED REPLACED  ]" {
			t.Errorf("ended: %s, want the two oldest", got)
		}
		late.Release()
		second.Release()
		if fifth := w.mustEnter(who); third.why() != "REPLACED" || fifth.why() != "" {
			t.Error("a seat that was replaced was given back once more")
		}
		if e := second.ended[0]; e.ClientCode != 4003 || e.Detail != "a limit of the subscription: a newer connection has its seat" {
			t.Errorf("ending = %+v", e)
		}
	})
}

// TestSilentHolders: where a place is full, its sessions that have been silent for 5 s are
// pinged, and one that does not answer within 2 s makes room; more newcomers than that
// are refused at once.
func TestSilentHolders(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(planOf("four", connections(4, refuse)))
		who := w.who("a", "plans/four", "")
		gone, there, deaf := w.mustEnter(who), w.mustEnter(who), w.mustEnter(who)
		gone.alive, deaf.alive, deaf.deaf = false, false, true
		time.Sleep(6 * time.Second)
		lively := w.mustEnter(who)
		began := time.Now()
		var newcomer *client
		var all sync.WaitGroup
		all.Go(func() { newcomer, _ = w.enter(who) })
		synctest.Wait()
		var second, third error
		all.Go(func() {
			_, second = w.enter(who)
			second = errors.Join(second, errIfNot(time.Since(began) == 2*time.Second))
		})
		all.Go(func() {
			time.Sleep(time.Millisecond)
			_, third = w.enter(who)
			third = errors.Join(third, errIfNot(time.Since(began) == time.Millisecond))
		})
		all.Wait()
		if newcomer == nil || time.Since(began) != 2*time.Second {
			t.Fatalf("the newcomer got %v after %v, want a seat after 2 s", newcomer, time.Since(began))
		}
		var limit *LimitError
		if !errors.As(second, &limit) || !errors.As(third, &limit) || errors.Is(second, errTime) || errors.Is(third, errTime) {
			t.Errorf("the others got %v and %v, want refusals, one after 2 s and one at once", second, third)
		}
		if got := fmt.Sprint(words([]*client{gone, there, deaf, lively})); got != "[IDLE   ]" {
			t.Errorf("ended: %s, want the one that does not answer", got)
		}
		if gone.pinged != 1 || there.pinged != 1 || lively.pinged != 0 {
			t.Errorf("pinged %d, %d and %d times, want each silent one once", gone.pinged, there.pinged, lively.pinged)
		}
	})
}

var errTime = errors.New("at another time")

func errIfNot(ok bool) error {
	if ok {
		return nil
	}
	return errTime
}

// TestProbeEndsWithItsNewcomer: who leaves during it costs nobody a seat, and others who
// wait are refused.
func TestProbeEndsWithItsNewcomer(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(planOf("one", connections(1, refuse)))
		who := w.who("a", "plans/one", "")
		holder := w.mustEnter(who)
		holder.alive = false
		time.Sleep(6 * time.Second)
		ctx, cancel := context.WithCancelCause(w.t.Context())
		left := errors.New("client left")
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := w.Enter(ctx, who); !errors.Is(err, left) {
				t.Errorf("Enter = %v, want why its client is not there", err)
			}
		})
		time.Sleep(time.Second)
		cancel(left)
		all.Wait()
		if holder.why() != "" {
			t.Errorf("the holder ended: %s", holder.why())
		}
		if c := w.mustEnter(who); c == nil || holder.why() != "IDLE" {
			t.Errorf("the next one got %v, the holder %q", c, holder.why())
		}
	})
}

// TestTighterConnections: the newest over a limit that became tighter end, spread over
// 10 s, until it is raised again; a limit that comes anew counts who is there.
func TestTighterConnections(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(planOf("p"))
		who := w.who("a", "plans/p", "")
		var all []*client
		for range 10 {
			all = append(all, w.mustEnter(who))
			time.Sleep(time.Millisecond)
		}
		count := func() (n int) {
			for i, c := range all {
				if c.why() == "" {
					continue
				}
				if n++; c.ended[0].Retry <= 0 || c.why() != "THROTTLED" || c.ended[0].Limit.Name != "connections" {
					t.Errorf("session %d ended: %+v", i, c.ended[0])
				}
				c.Release()
			}
			return n
		}
		w.put(planOf("p", connections(5, refuse)))
		_ = w.refused(who, "connections", limits.Subscription)
		synctest.Wait()
		if n := count(); n != 1 {
			t.Errorf("%d ended at once, want 1", n)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := count(); n != 2 || all[9].why() == "" || all[8].why() == "" {
			t.Errorf("%d ended after 3 s, want the two newest", n)
		}
		w.put(planOf("p", connections(8, refuse)))
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := count(); n != 2 {
			t.Errorf("%d ended with a limit that was raised, want 2", n)
		}
		_ = w.refused(who, "connections", limits.Subscription)
		w.put(planOf("p", connections(3, closeOldest)))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := count(); n != 7 || all[2].why() != "" || all[3].why() == "" {
			t.Errorf("%d ended, want all but the three oldest", n)
		}
		w.put(planOf("p"))
		for range 20 {
			w.mustEnter(who)
		}
	})
}
