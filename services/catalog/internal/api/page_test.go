package api

import (
	"slices"
	"strings"
	"testing"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
)

// A page has what fits, whatever the rows are read in.
func TestPagesOfManyRows(t *testing.T) {
	const all = 250
	for _, tt := range []struct {
		name  string
		size  int32
		bytes int // of each row
		pages []int
	}{
		{"one page", 1000, 10, []int{250}},
		{"just one page", 250, 10, []int{250}},
		{"pages across the rows read", 120, 10, []int{120, 120, 10}},
		{"pages of one reading", 100, 10, []int{100, 100, 50}},
		{"small pages", 1, 10, nil},
		{"large rows", 1000, maxBytes / 60, []int{59, 59, 59, 59, 14}},
		{"rows larger than a page", 1000, maxBytes + 1, nil},
	} {
		text := strings.Repeat("x", tt.bytes)
		list := func(after store.After, limit int) ([]store.Plan, error) {
			if limit > chunk {
				t.Errorf("%s: %d rows are read at once, want %d at most", tt.name, limit, chunk)
			}
			var rows []store.Plan
			for i := after.Micros + 1; i <= all && len(rows) < limit; i++ {
				rows = append(rows, store.Plan{ID: "p", CreatedAt: time.UnixMicro(i), Description: text})
			}
			return rows, nil
		}
		var pages []int
		sum, token := 0, ""
		for {
			p, err := newPage(tt.size, token, "plans")
			if err != nil {
				t.Fatal(err)
			}
			var got []*catalogv1.Plan
			if got, token, err = read(p, list, planProto); err != nil {
				t.Fatal(err)
			}
			pages = append(pages, len(got))
			sum += len(got)
			if token == "" {
				break
			}
		}
		if want := tt.pages; want == nil && len(pages) != all || want != nil && !slices.Equal(pages, want) || sum != all {
			t.Errorf("%s: pages of %v, %d rows together, want %v and %d", tt.name, pages, sum, want, all)
		}
	}
}
