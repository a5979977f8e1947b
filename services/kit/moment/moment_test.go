package moment_test

import (
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/moment"
)

// TestBefore compares what was issued at a moment with a revocation at another.
func TestBefore(t *testing.T) {
	for _, tt := range []struct {
		what            string
		issued, revoked moment.Moment
		want            bool
	}{
		{"issued before", moment.Moment{Change: 4, Time: 40}, moment.Moment{Change: 5, Time: 50}, true},
		{"issued after it was the newest change", moment.Moment{Change: 5, Time: 50}, moment.Moment{Change: 5, Time: 50}, false},
		{"issued later", moment.Moment{Change: 6, Time: 60}, moment.Moment{Change: 5, Time: 50}, false},
		{"issued before a restore, revoked after it", moment.Moment{Change: 9, Time: 40}, moment.Moment{Change: 5, Time: 50}, true},
		{"revoked before a restore, issued after it", moment.Moment{Change: 5, Time: 50}, moment.Moment{Change: 9, Time: 40}, false},
		{"issued by an earlier release", moment.Moment{Change: 4}, moment.Moment{Change: 5, Time: 50}, true},
		{"issued later, by an earlier release", moment.Moment{Change: 5}, moment.Moment{Change: 5, Time: 50}, false},
		{"revoked by an earlier release", moment.Moment{Change: 4, Time: 40}, moment.Moment{Change: 5}, true},
		{"changes of an earlier release, which have no times of their own", moment.Moment{Change: 4, Time: 40}, moment.Moment{Change: 5, Time: 40}, true},
		{"not known when", moment.Moment{}, moment.Moment{Change: 1, Time: 10}, true},
		{"never revoked", moment.Moment{Change: 4, Time: 40}, moment.Moment{}, false},
		{"never revoked, not known when issued", moment.Moment{}, moment.Moment{}, false},
	} {
		if got := tt.issued.Before(tt.revoked); got != tt.want {
			t.Errorf("%s: %v.Before(%v) = %v, want %v", tt.what, tt.issued, tt.revoked, got, tt.want)
		}
		if again := moment.Of(tt.issued.Change, tt.issued.Timestamp()); again != tt.issued {
			t.Errorf("%v is %v after a message", tt.issued, again)
		}
	}
}
