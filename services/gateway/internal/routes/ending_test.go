package routes

import (
	"fmt"
	"os"
	"strings"
	"testing"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
)

// TestDocumentOfEndings: docs/api.md says of every cause which close code clients get by
// default.
func TestDocumentOfEndings(t *testing.T) {
	document, err := os.ReadFile("../../../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	for number, cause := range catalogv1.ClientEnding_Cause_name {
		if number == 0 {
			continue
		}
		r := &Route{}
		r.end([]*catalogv1.ClientEnding{{Cause: catalogv1.ClientEnding_Cause(number), Text: "x"}})
		if len(r.Endings) != 1 {
			t.Errorf("%s is not known here", cause)
		}
		for reason := range r.Endings {
			beginning, end := fmt.Sprintf("\n| `%s` | ", cause), fmt.Sprintf(" | %d |", ending.New(reason, "").ClientCode)
			if _, row, found := strings.Cut(string(document), beginning); !found || !strings.HasSuffix(strings.SplitN(row, "\n", 2)[0], end) {
				t.Errorf("docs/api.md has no row of %s that ends with %q", cause, end)
			}
		}
	}
}
