package id_test

import (
	"slices"
	"testing"

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
		if !id.Valid(s) {
			t.Errorf("Valid(%q) = false", s)
		}
	}
}

func TestValid(t *testing.T) {
	for _, s := range []string{"", "x", "0192F0C1-0000-7000-8000-000000000000", "{0192f0c1-0000-7000-8000-000000000000}", "0192f0c1000070008000000000000000"} {
		if id.Valid(s) {
			t.Errorf("Valid(%q) = true", s)
		}
	}
}
