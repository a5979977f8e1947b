package connlimit

import (
	"strings"
	"testing"
)

// TestConnectionsFitOpenFiles: there are no more connections than descriptors for them,
// and a limit with too little room is refused with the number needed.
func TestConnectionsFitOpenFiles(t *testing.T) {
	for _, test := range []struct{ limit, taken, most, want int }{
		{1 << 20, 80, 4096, 4096},
		{1 << 20, 80, 0, 1<<20 - 80},
		{256, 80, 4096, 176},
		{88, 80, 4096, 8},
	} {
		c := Config{Max: test.most}
		if err := c.within(test.limit, test.taken); err != nil || c.Max != test.want {
			t.Errorf("within(%d, %d) of %d = %d, %v, want %d", test.limit, test.taken, test.most, c.Max, err, test.want)
		}
	}
	c := Config{Max: 1}
	if err := c.within(87, 80); err == nil || !strings.Contains(err.Error(), "is 87, and at least 88 are needed") {
		t.Errorf("within(87, 80) = %v, want both numbers", err)
	}
}
