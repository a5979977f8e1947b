package ref_test

import (
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/ref"
)

// A reference tells its hour and nothing else, and references sort by the hour.
func TestNew(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{16}$`)
	var made []string
	for _, day := range []string{"1970-01-01", "2026-11-21", "2026-12-01", "2088-12-31"} {
		at, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		for _, past := range []time.Duration{0, time.Hour, 2*time.Hour - time.Nanosecond} {
			r := ref.New(at.Add(past))
			if hour, ok := ref.Hour(r); !ok || !form.MatchString(r) || !hour.Equal(at.Add(past).Truncate(time.Hour)) {
				t.Errorf("%s of %v: the hour is %v, %t", r, at.Add(past), hour, ok)
			}
			made = append(made, r[:4])
		}
	}
	if !slices.IsSorted(made) {
		t.Errorf("the hours %q are not in order", made)
	}
	seen := map[string]bool{}
	for range 1000 {
		r := ref.New(time.Unix(0, 0))
		if seen[r] {
			t.Fatalf("%s was made twice", r)
		}
		seen[r] = true
	}
}

func TestHourOfOtherText(t *testing.T) {
	for _, text := range []string{"", "0", "R-1", "0000000000000", "000000000000000i", "0000000000000000000", "000000000000000A"} {
		if hour, ok := ref.Hour(text); ok {
			t.Errorf("the hour of %q is %v, want none", text, hour)
		}
	}
}
