package token_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// crowd waits for slots, and keeps who got one and who was refused, in order.
type crowd struct {
	t *testing.T
	p *token.Passwords

	mu           sync.Mutex
	got, refused []string
	held         []*token.HashSlot
}

// newCrowd returns a crowd before a Passwords all of whose slots are taken.
func newCrowd(t *testing.T, bound token.Waiting) *crowd {
	t.Helper()
	c := &crowd{t: t, p: token.NewPasswords(bound)}
	for range 2 {
		slot, err := c.p.Acquire(t.Context(), token.Place{From: "before"})
		if err != nil {
			t.Fatal(err)
		}
		c.held = append(c.held, slot)
	}
	return c
}

// come lets somebody come from a place, and waits until they wait or are refused.
func (c *crowd) come(ctx context.Context, from, name string) {
	c.comeFrom(ctx, token.Place{From: from, Within: "near " + from}, name)
}

// comeFrom does the same for a place within others.
func (c *crowd) comeFrom(ctx context.Context, from token.Place, name string) {
	go func() {
		slot, err := c.p.Acquire(ctx, from)
		c.mu.Lock()
		defer c.mu.Unlock()
		switch {
		case err == nil:
			c.got, c.held = append(c.got, name), append(c.held, slot)
		case fault.Is(err, codes.ResourceExhausted) && fault.Reason(err) == "TOO_MANY_SIGN_INS":
			c.refused = append(c.refused, name)
		case ctx.Err() == nil:
			c.t.Errorf("Acquire of %s = %v", name, err)
		}
	}()
	synctest.Wait()
}

// serve gives slots back until nobody has one.
func (c *crowd) serve() {
	for {
		c.mu.Lock()
		if len(c.held) == 0 {
			c.mu.Unlock()
			return
		}
		slot := c.held[0]
		c.held = c.held[1:]
		c.mu.Unlock()
		slot.Release()
		synctest.Wait()
	}
}

func (c *crowd) check(what string, got, want []string) {
	c.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// A connection that sends a hundred sign-ins at once delays each of twenty others by one
// turn, and refuses none of them.
func TestHashQueueIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, token.Waiting{All: 64, Each: 16})
		for i := range 100 {
			c.come(t.Context(), "flood", fmt.Sprint("flood ", i))
		}
		var want []string
		for i := range 20 {
			c.come(t.Context(), fmt.Sprint(i), fmt.Sprint("other ", i))
			want = append(want, fmt.Sprint("other ", i))
		}
		if len(c.refused) != 84 {
			t.Errorf("%d of the flood are refused, want all but 16", len(c.refused))
		}
		c.serve()
		c.check("first served", c.got[:21], append([]string{"flood 0"}, want...))
		if len(c.got) != 36 {
			t.Errorf("%d were served, want 36", len(c.got))
		}
	})
}

// Whoever has a whole /48 has 256 networks in it, and delays others by one turn, and
// refuses none of them. A quarter of the places is left to those who are known.
func TestHashQueueIsFairToOtherNetworks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, token.Waiting{All: 64, Each: 16})
		for i := range 256 {
			name := fmt.Sprint("flood ", i)
			c.comeFrom(t.Context(), token.Place{From: name, Within: "flood"}, name)
		}
		if len(c.refused) != 208 {
			t.Errorf("%d of the flood are refused, want all but 48", len(c.refused))
		}
		c.come(t.Context(), "ann", "ann")
		for i := range 16 {
			name := fmt.Sprint("known ", i)
			c.comeFrom(t.Context(), token.Place{From: name, Within: name, Known: true}, name)
		}
		if len(c.refused) != 209 || c.refused[208] != "flood 47" {
			t.Errorf("refused in favour of others: %v, want flood 47", c.refused[208:])
		}
		// Known ones of one user do not refuse others either.
		for i := range 100 {
			name := fmt.Sprint("mine ", i)
			c.comeFrom(t.Context(), token.Place{From: name, Within: "mine", Known: true}, name)
		}
		c.come(t.Context(), "bob", "bob")
		c.serve()
		alone := newCrowd(t, token.Waiting{All: 64, Each: 16})
		for i := range 100 {
			name := fmt.Sprint("mine ", i)
			alone.comeFrom(t.Context(), token.Place{From: name, Within: "mine", Known: true}, name)
		}
		alone.come(t.Context(), "bob", "bob")
		alone.serve()
		alone.check("first served", alone.got[:2], []string{"mine 0", "bob"})
		for _, name := range append([]string{"ann", "bob"}, "known 0", "known 15", "mine 0", "flood 0") {
			if !slices.Contains(c.got[:21], name) {
				t.Errorf("%s is not among the first served, %v", name, c.got[:21])
			}
		}
		if len(c.got) != 64 {
			t.Errorf("%d were served, want 64", len(c.got))
		}
	})
}

// When too many wait in all, the longest line loses its last. Who comes from a place that
// waits as long as any other is refused.
func TestFullHashQueueRefusesTheLongestLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, token.Waiting{All: 8, Each: 5})
		for i := range 6 {
			c.come(t.Context(), "a", fmt.Sprint("a", i))
		}
		c.come(t.Context(), "b", "b0")
		c.come(t.Context(), "c", "c0") // full: a4 goes
		c.come(t.Context(), "b", "b1") // a3 goes
		c.come(t.Context(), "c", "c1") // a2 goes
		c.come(t.Context(), "d", "d0") // a1, the last of the longest, goes
		c.come(t.Context(), "e", "e0") // b1 goes
		c.come(t.Context(), "f", "f0") // c1 goes
		c.come(t.Context(), "g", "g0") // nobody waits longer
		c.check("refused", c.refused, []string{"a5", "a4", "a3", "a2", "a1", "b1", "c1", "g0"})
		c.serve()
		c.check("served", c.got, []string{"a0", "b0", "c0", "d0", "e0", "f0"})
	})
}

// Who hangs up leaves the line, and takes no slot along.
func TestHashQueueForgetsWhoHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, token.DefaultWaiting())
		ctx, hangUp := context.WithCancel(t.Context())
		for i := range 16 {
			c.come(ctx, "a", fmt.Sprint("gone ", i))
		}
		hangUp()
		synctest.Wait()
		c.come(t.Context(), "a", "a")
		c.serve()
		c.check("served", c.got, []string{"a"})
		again := newCrowd(t, token.DefaultWaiting())
		again.serve()
		for range 2 {
			if _, err := c.p.Acquire(t.Context(), token.Place{}); err != nil {
				t.Errorf("Acquire after all = %v", err)
			}
		}
	})
}
