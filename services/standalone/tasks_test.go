package standalone

import (
	"context"
	"errors"
	"slices"
	"testing"
)

func TestInOrder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		failing string
		cancel  bool
		want    string
	}{
		{"stopped", "", true, ""},
		{"the first fails", "a", false, "a is broken"},
		{"the last fails", "c", false, "c is broken"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var stopped []string // appended to by one task at a time
			started := make(chan struct{}, 3)
			named := func(name string) task {
				return task{name, func(ctx context.Context) error {
					started <- struct{}{}
					if name == c.failing {
						return errors.New(name + " is broken")
					}
					<-ctx.Done()
					stopped = append(stopped, name)
					return nil
				}}
			}
			done := background(func() error { return inOrder(ctx, named("a"), named("b"), named("c")) })
			for range 3 {
				<-started
			}
			if c.cancel {
				cancel()
			}
			err := <-done
			if got := text(err); got != c.want {
				t.Errorf("inOrder = %q, want %q", got, c.want)
			}
			want := slices.DeleteFunc([]string{"c", "b", "a"}, func(n string) bool { return n == c.failing })
			if !slices.Equal(stopped, want) {
				t.Errorf("stopped %q, want %q", stopped, want)
			}
		})
	}
	err := inOrder(t.Context(), task{"a", func(context.Context) error { return nil }})
	if text(err) != "a ended by itself" {
		t.Errorf("inOrder = %v, want that a ended by itself", err)
	}
}

func background(f func() error) chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
