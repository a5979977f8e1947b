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
	form := regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{20}$`)
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

// TestTag finds the tag of a boot in its references, and none in other text.
func TestTag(t *testing.T) {
	tag := ref.NewTag()
	for _, tag := range []ref.Tag{tag, ref.NoTag} {
		r := ref.NewAt(time.Now(), tag)
		if got, ok := ref.TagOf(r); !ok || got != tag {
			t.Errorf("TagOf(%s) = %q, %t, want %q", r, got, ok, tag)
		}
		if hour, ok := ref.Hour(r); !ok || !hour.Equal(time.Now().UTC().Truncate(time.Hour)) {
			t.Errorf("Hour(%s) = %v, %t", r, hour, ok)
		}
	}
	if got, _ := ref.TagOf(ref.New(time.Now())); got != ref.NoTag || tag == ref.NoTag {
		t.Errorf("the tag of a reference without a gateway is %q, of a boot %q", got, tag)
	}
	for _, text := range []string{"", "0000000000000000", "000000000000000000000", "0000000000000000000i"} {
		if got, ok := ref.TagOf(text); ok {
			t.Errorf("TagOf(%q) = %q, want none", text, got)
		}
	}
}

// TestHourOfEarlierReferences reads the hour of references without a tag, whose records are
// kept.
func TestHourOfEarlierReferences(t *testing.T) {
	if hour, ok := ref.Hour("0001000000000000"); !ok || hour.Unix() != 3600 {
		t.Errorf("Hour = %v, %t, want 1970-01-01T01:00", hour, ok)
	}
}

func TestHourOfOtherText(t *testing.T) {
	for _, text := range []string{"", "0", "R-1", "0000000000000", "000000000000000i", "0000000000000000000", "000000000000000A"} {
		if hour, ok := ref.Hour(text); ok {
			t.Errorf("the hour of %q is %v, want none", text, hour)
		}
	}
}
