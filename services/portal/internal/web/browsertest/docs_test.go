package browsertest

import (
	"fmt"
	"testing"

	"github.com/tidegatehq/tidegate/services/e2e/browser"
)

// TestDocsPage reads the page of the REST interface: it shows the operations, and one of
// them is tried out.
func TestDocsPage(t *testing.T) {
	t.Parallel()
	tab, _ := newTab(t)
	tab.Open("/docs")
	const operation = `document.querySelector("#operations-OAuth2-OAuth2_Keys")`
	tab.Until(operation)
	for _, want := range []string{"REST interface of Tidegate", "/v1/apis/{api}/versions/{version}", "Publishes a version"} {
		tab.Until(fmt.Sprintf("document.body.innerText.includes(%q)", want))
	}
	tab.ClickOn(operation + `.querySelector(".opblock-summary-control")`)
	tab.ClickOn(operation + `.querySelector(".try-out__btn")`)
	tab.ClickOn(operation + `.querySelector(".execute")`)
	const status = operation + `.querySelector(".live-responses-table .response .response-col_status")`
	tab.Until(status + "?.innerText")
	if got := browser.Read[string](tab, status+".innerText"); got != "200" {
		t.Errorf("the operation answers %s, want 200", got)
	}
}
