package cli

import (
	"context"
	"strings"
	"testing"

	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
)

// ListChanges has one change, by PublishVersion, and one by a method of a newer server.
func (f *fakeServer) ListChanges(_ context.Context, req *changev1.ListChangesRequest) (*changev1.ListChangesResponse, error) {
	list := &changev1.ListChangesResponse{}
	for _, action := range []string{"PublishVersion", "FreezeVersion"} {
		if req.GetFilter() == filter("action", action) {
			list.Changes = append(list.Changes, &changev1.Change{Action: action})
		}
	}
	return list, nil
}

// The audit log is searched for methods in any case; one that there is not is refused.
func TestChangesByAction(t *testing.T) {
	t.Parallel()
	c := newFakeServer(t).signIn(t)
	for action, want := range map[string]string{
		"publishversion": "PublishVersion",
		"FreezeVersion":  "FreezeVersion",
		"DeleteApi":      "",
		"PublishVersoin": "tidegate: change list: --action: there is no method PublishVersoin, and no change by one\n",
	} {
		stdout, stderr, code := c.run(t, "change", "list", "--action", action)
		if refused := strings.HasPrefix(want, "tidegate: "); refused && (stderr != want || code != 2) || !refused && (code != 0 || !strings.Contains(stdout, want)) {
			t.Errorf("change list --action %s = %q, %q, %d, want %q", action, stdout, stderr, code, want)
		}
	}
}
