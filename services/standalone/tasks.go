package standalone

import (
	"context"
	"fmt"
	"slices"
)

// task is something that runs until its context ends.
type task struct {
	name string
	run  func(context.Context) error
}

// running is a task that was started.
type running struct {
	task
	stop func()
	err  chan error
}

// inOrder runs tasks together. When ctx or one of the tasks ends, it stops them one by
// one, the last first, waiting for each before it stops the next. It returns the error
// of the task that ended first, or else those of the tasks that failed to stop.
func inOrder(ctx context.Context, tasks ...task) error {
	ended := make(chan struct{}, len(tasks))
	var all []running
	for _, t := range tasks {
		inner, stop := context.WithCancel(context.WithoutCancel(ctx))
		r := running{task: t, stop: stop, err: make(chan error, 1)}
		go func() {
			err := t.run(inner)
			if err == nil && inner.Err() == nil {
				err = fmt.Errorf("%s ended by itself", t.name)
			}
			r.err <- err
			ended <- struct{}{}
		}()
		all = append(all, r)
	}
	select {
	case <-ctx.Done():
	case <-ended:
	}
	first := firstError(all)
	for _, r := range slices.Backward(all) {
		r.stop()
		if err := <-r.err; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// firstError returns the error of a task that has already ended. It puts back what it
// reads from the channel.
func firstError(all []running) error {
	var first error
	for _, r := range all {
		select {
		case err := <-r.err:
			r.err <- err
			if first == nil {
				first = err
			}
		default:
		}
	}
	return first
}
