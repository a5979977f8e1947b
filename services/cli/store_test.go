package cli

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

// TestStoreUpdates has many commands change the store at once: no change is lost.
func TestStoreUpdates(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "tidegate")
	const commands = 32
	var all sync.WaitGroup
	for i := range commands {
		all.Go(func() {
			address := fmt.Sprintf("host:%d", i)
			if err := (&store{dir: dir}).update(func(st *state) error { st.server(address); return nil }); err != nil {
				t.Errorf("update: %v", err)
			}
		})
	}
	all.Wait()
	st, err := (&store{dir: dir}).read()
	if err != nil || len(st.Servers) != commands {
		t.Errorf("the store has %d servers (%v), want %d", len(st.Servers), err, commands)
	}
}
