package run

import (
	"context"
	"errors"
	"sync"
)

// reloads are what reads files again. A program has one, in the context of what it
// runs.
type reloads struct {
	mu  sync.Mutex
	all []*func() error
}

// reloadKey is the key of a context's reloads.
type reloadKey struct{}

// Reloading returns a context in which Reload calls what was given to OnReload.
func Reloading(ctx context.Context) context.Context {
	return context.WithValue(ctx, reloadKey{}, &reloads{})
}

// OnReload has f called whenever the program is told to read its files again, which
// SIGHUP does, until ctx ends. f reads anew what can change while the program runs,
// and leaves in use what it cannot replace; its error is logged. Calls do not overlap.
// Without Reloading, f is never called.
func OnReload(ctx context.Context, f func() error) {
	r, ok := ctx.Value(reloadKey{}).(*reloads)
	if !ok {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, &f)
	context.AfterFunc(ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for i, one := range r.all {
			if one == &f {
				r.all = append(r.all[:i], r.all[i+1:]...)
				return
			}
		}
	})
}

// Reload calls what was given to OnReload, in that order, and returns the joined
// errors.
func Reload(ctx context.Context) error {
	r, ok := ctx.Value(reloadKey{}).(*reloads)
	if !ok {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var failed []error
	for _, f := range r.all {
		failed = append(failed, (*f)())
	}
	return errors.Join(failed...)
}
