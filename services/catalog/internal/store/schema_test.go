package store_test

import (
	"testing"

	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
)

// TestSchema: no two migrations have one number, as two that were written at once would.
func TestSchema(t *testing.T) {
	t.Parallel()
	if err := store.Schema().Check(); err != nil {
		t.Error(err)
	}
}
