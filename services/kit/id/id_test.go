package id_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"github.com/tidegatehq/tidegate/services/kit/id"
)

func TestNew(t *testing.T) {
	var ids []string
	for range 1000 {
		ids = append(ids, id.New())
	}
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Error("1000 ids are not in the order they were made, or not distinct")
	}
	for _, s := range ids {
		if u, err := uuid.Parse(s); err != nil || u.Version() != 7 || u.String() != s {
			t.Errorf("New() = %q, want a UUIDv7 in lower case", s)
		}
	}
}
