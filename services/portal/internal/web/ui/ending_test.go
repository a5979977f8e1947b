package ui

import (
	"testing"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// TestEndWords has different words for each end reason.
func TestEndWords(t *testing.T) {
	seen := map[string]int32{}
	for number := range usagev1.EndReason_name {
		words := EndWords(usagev1.EndReason(number))
		if other, twice := seen[words]; twice || (words == "not known") != (number == 0) {
			t.Errorf("end reasons %d and %d are both %q", number, other, words)
		}
		seen[words] = number
	}
}
