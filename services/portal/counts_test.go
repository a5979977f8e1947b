package portal_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/sessionorder"
)

// CountSessions counts a node's sessions by their versions.
func (n *node) CountSessions(_ context.Context, req *gatewayv1.CountSessionsRequest) (*gatewayv1.CountSessionsResponse, error) {
	if req.GetGroupBy() != "version" || req.GetParent() != "gateways/"+n.instance {
		return nil, fault.Invalid("group_by", "is %q of %s", req.GetGroupBy(), req.GetParent())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	counts, resp := map[string]int64{}, &gatewayv1.CountSessionsResponse{Total: int64(len(n.sessions))}
	for _, name := range req.GetNames() {
		counts[name] = 0
	}
	for _, s := range n.sessions {
		if len(req.GetNames()) == 0 || slices.Contains(req.GetNames(), s.GetVersion()) {
			counts[s.GetVersion()]++
		}
	}
	resp.Counts = sessionorder.Greatest(counts)
	return resp, nil
}

// of adds n sessions of a version.
func (n *node) of(version string, sessions int) {
	for range sessions {
		n.sessions = append(n.sessions, &gatewayv1.Session{Version: version})
	}
}

// TestCountsOfAllGateways adds up what gateways count, also where one has more to tell
// than fits into an answer.
func TestCountsOfAllGateways(t *testing.T) {
	s, nodes, client := fleet(t, 2)
	nodes[0].of("apis/a/versions/1", 3)
	nodes[0].of("apis/a/versions/2", 1)
	nodes[1].of("apis/a/versions/1", 2)
	nodes[1].of("apis/b/versions/1", 6)
	count := func(req *gatewayv1.CountSessionsRequest) string {
		t.Helper()
		resp, err := client.CountSessions(t.Context(), req, bearer())
		if err != nil {
			t.Fatalf("CountSessions(%v) = %v", req, err)
		}
		words := fmt.Sprint("of ", resp.GetTotal())
		for _, c := range resp.GetCounts()[:min(4, len(resp.GetCounts()))] {
			words += fmt.Sprint(", ", c.GetName(), " ", c.GetSessions())
		}
		return words + strings.Join(resp.GetUnreachable(), " ")
	}
	all := &gatewayv1.CountSessionsRequest{Parent: "gateways/-", GroupBy: "version"}
	if got, want := count(all), "of 12, apis/b/versions/1 6, apis/a/versions/1 5, apis/a/versions/2 1"; got != want {
		t.Errorf("all: %s, want %s", got, want)
	}
	named := &gatewayv1.CountSessionsRequest{Parent: "gateways/-", GroupBy: "version", Names: []string{"apis/c/versions/1", "apis/a/versions/1"}}
	if got, want := count(named), "of 12, apis/a/versions/1 5, apis/c/versions/1 0"; got != want {
		t.Errorf("of names: %s, want %s", got, want)
	}
	if got, want := count(&gatewayv1.CountSessionsRequest{Parent: "gateways/g1", GroupBy: "version"}), "of 4, apis/a/versions/1 3, apis/a/versions/2 1"; got != want {
		t.Errorf("of one gateway: %s, want %s", got, want)
	}
	s.gateways(nodes[0].watcher(), away(t, "g9"))
	partly := &gatewayv1.CountSessionsRequest{Parent: "gateways/-", GroupBy: "version", ReturnPartialSuccess: true}
	if got, want := count(partly), "of 4, apis/a/versions/1 3, apis/a/versions/2 1gateways/g9"; got != want {
		t.Errorf("of what is there: %s, want %s", got, want)
	}
	_, err := client.CountSessions(t.Context(), all, bearer())
	wantError(t, "CountSessions of all", err, codes.Unavailable, "gateways/g9 cannot be reached, try again")
	_, err = client.CountSessions(t.Context(), &gatewayv1.CountSessionsRequest{Parent: "gateways/-", ReturnPartialSuccess: true}, bearer())
	wantError(t, "CountSessions by nothing", err, codes.InvalidArgument, `group_by: is "" of gateways/g1`)
	_, err = client.CountSessions(t.Context(), &gatewayv1.CountSessionsRequest{}, bearer())
	wantError(t, "CountSessions of nothing", err, codes.InvalidArgument, "parent: must be gateways/{gateway}")
	s.gateways(nodes[0].watcher(), nodes[1].watcher())
	for i := range sessionorder.MaxCounts {
		nodes[1].of(fmt.Sprint("apis/more/versions/", i), 2)
	}
	// Of the version that the second gateway leaves out, both sessions are counted.
	if got, want := count(all), "of 2012, apis/b/versions/1 6, apis/a/versions/1 5, apis/more/versions/0 2, apis/more/versions/1 2"; got != want {
		t.Errorf("of very many: %s, want %s", got, want)
	}
	nodes[1].of("apis/a/versions/2", 1)
	nodes[0].of("apis/a/versions/2", 2)
	if got, want := count(all), "of 2015, apis/b/versions/1 6, apis/a/versions/1 5, apis/a/versions/2 4, apis/more/versions/0 2"; got != want {
		t.Errorf("of one that a gateway leaves out: %s, want %s", got, want)
	}
	rest := s.do(t, "GET", "/v1/gateways/-/sessions:count?groupBy=version&names=apis/b/versions/1&names=apis/c/versions/1", "", "Authorization", "Bearer token")
	if want := `{"counts":[{"name":"apis/b/versions/1","sessions":"6"},{"name":"apis/c/versions/1","sessions":"0"}],"unreachable":[],"total":"2015"}`; rest.status != 200 || compact(t, rest.body) != want {
		t.Errorf("GET sessions:count = %d %s, want %s", rest.status, rest.body, want)
	}
}
