// Package retry waits between attempts. The caller's loop decides what is attempted
// and when to give up:
//
//	pause := retry.Backoff{Min: 100 * time.Millisecond, Max: time.Second}
//	for {
//		err := attempt(ctx)
//		if err == nil || !pause.Wait(ctx) {
//			return err
//		}
//	}
//
// A loop without an end notes each outcome in a Streak, which logs failures without
// filling the log.
package retry

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff gives the pauses between attempts: steps double from Min to Max, and each
// pause is drawn between half a step and a whole one, so that callers who failed
// together do not all try again together. Min must be positive and at most Max. A
// Backoff is not safe for concurrent use.
type Backoff struct {
	Min, Max time.Duration

	step time.Duration
}

// Next returns the next pause.
func (b *Backoff) Next() time.Duration {
	b.step = min(max(2*b.step, b.Min), b.Max)
	return b.step/2 + rand.N(b.step/2+1)
}

// Reset starts over from Min, after an attempt that succeeded.
func (b *Backoff) Reset() { b.step = 0 }

// Wait sleeps for the next pause; see Sleep.
func (b *Backoff) Wait(ctx context.Context) bool { return Sleep(ctx, b.Next()) }

// Sleep waits for d and reports true, or false as soon as ctx ends.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
