package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
	"github.com/tidegatehq/tidegate/services/gateway/internal/routes"
	"github.com/tidegatehq/tidegate/services/gateway/internal/session"
	"github.com/tidegatehq/tidegate/services/kit/sessionorder"
)

// counted is an answer in words: the counts in their order, and how many in all.
func counted(resp *gatewayv1.CountSessionsResponse) string {
	var all []string
	for _, c := range resp.GetCounts() {
		all = append(all, fmt.Sprint(c.GetName(), " ", c.GetSessions()))
	}
	return fmt.Sprint(strings.Join(all, ", "), " of ", resp.GetTotal())
}

// TestCount counts what the caller sees, by everything that there is to count by.
func TestCount(t *testing.T) {
	f := newFixture(t)
	f.add("r1", v1, "applications/x")
	f.addUnder(&session.Plans{TrafficPlan: "plans/all"}, "r2", v2, "applications/y")
	f.add("r3", v1, "")
	f.add("r4", v1, "applications/x")
	f.add("r5", "apis/c/versions/3", "applications/y")
	const v3 = "apis/c/versions/3"
	for _, tt := range []struct {
		who    string
		as     grpc.CallOption
		by     string
		names  []string
		filter string
		want   string
	}{
		{"root", f.root, "version", nil, "", v1 + " 3, " + v2 + " 1, " + v3 + " 1 of 5"},
		{"root", f.root, "application", nil, "", "applications/x 2, applications/y 2 of 5"},
		{"root", f.root, "subscription", nil, "", "subscriptions/s 4 of 5"},
		{"root", f.root, "gateway", nil, "", "gateways/gateway-1 5 of 5"},
		{"root, of names", f.root, "version", []string{v3, "apis/none/versions/1", v2}, "", v2 + " 1, " + v3 + " 1, apis/none/versions/1 0 of 5"},
		{"root, of another gateway", f.root, "gateway", []string{"gateways/g9"}, "", "gateways/g9 0 of 5"},
		{"root, by a filter", f.root, "version", nil, `application = "applications/y"`, v2 + " 1, " + v3 + " 1 of 2"},
		{"ann, a version's owner", f.ann, "application", nil, "", "applications/x 2 of 3"},
		{"sue, of her applications", f.sue, "version", nil, "", v1 + " 2, " + v2 + " 1, " + v3 + " 1 of 4"},
		{"sue, by a plan that she does not see", f.sue, "version", nil, `plan = "plans/all"`, " of 0"},
		{"tom", f.tom, "version", nil, "", " of 0"},
		{"tom, of names", f.tom, "version", []string{v1}, "", v1 + " 0 of 0"},
	} {
		got, err := f.CountSessions(t.Context(), &gatewayv1.CountSessionsRequest{Parent: parent, GroupBy: tt.by, Names: tt.names, Filter: tt.filter}, tt.as)
		if err != nil || counted(got) != tt.want {
			t.Errorf("%s, by %s: %s, %v, want %s", tt.who, tt.by, counted(got), err, tt.want)
		}
	}
}

// TestCountIsBounded answers with the greatest thousand, and refuses to be asked for more.
func TestCountIsBounded(t *testing.T) {
	f := newFixture(t)
	names := []string{"apis/a/versions/last", "apis/a/versions/last"}
	for i := range sessionorder.MaxCounts {
		name := fmt.Sprintf("apis/a/versions/v%d", i)
		f.add(name, name, "")
		names = append(names, name)
	}
	f.add("r1", names[0], "")
	f.add("r2", names[0], "")
	got, err := f.CountSessions(t.Context(), &gatewayv1.CountSessionsRequest{Parent: parent, GroupBy: "version"}, f.root)
	if n := len(got.GetCounts()); err != nil || n != sessionorder.MaxCounts || got.GetCounts()[0].GetName() != names[0] || got.GetTotal() != sessionorder.MaxCounts+2 {
		t.Errorf("CountSessions = %d counts, %v, of %d, %v, want 1000 with %s as the first", n, got.GetCounts()[:1], got.GetTotal(), err, names[0])
	}
	for _, tt := range []struct {
		by    string
		names []string
		want  string
	}{
		{"", nil, "group_by: must be version, application, subscription, oauth_client, api_key or gateway"},
		{"plan", nil, "group_by: must be version, application, subscription, oauth_client, api_key or gateway"},
		{"version", names, "names: must be at most 1000"},
		{"version", names[:2], "names: must not have the same value twice"},
		{"version", []string{"apis/a"}, "names: must be apis/{api}/versions/{version}"},
		{"application", names[:1], "names: must be applications/{application}"},
		{"subscription", names[:1], "names: must be subscriptions/{subscription}"},
		{"gateway", names[:1], "names: must be gateways/{gateway}"},
	} {
		_, err := f.CountSessions(t.Context(), &gatewayv1.CountSessionsRequest{Parent: parent, GroupBy: tt.by, Names: tt.names}, f.root)
		wantStatus(t, "CountSessions by "+tt.by, err, codes.InvalidArgument, tt.want)
	}
	_, err = f.CountSessions(t.Context(), &gatewayv1.CountSessionsRequest{Parent: parent, GroupBy: "version", Filter: "x"}, f.root)
	wantStatus(t, "CountSessions by a bad filter", err, codes.InvalidArgument, `filter: must be field = "value", joined by AND`)
	_, err = f.CountSessions(t.Context(), &gatewayv1.CountSessionsRequest{Parent: parent, GroupBy: "version"})
	wantStatus(t, "CountSessions of nobody", err, codes.Unauthenticated, "sign in first: the call carries no token")
}

// crowd is an API with n sessions of a hundred versions, each with a grant of its own of
// one of a thousand applications, and whoever owns one application in ten.
func crowd(tb testing.TB, n int) (*API, viewer) {
	tb.Helper()
	registry := session.NewRegistry(nil, func(session.Record) {})
	of := make([]*session.Route, 100)
	for i := range of {
		of[i] = &session.Route{Version: fmt.Sprintf("apis/a/versions/v%d", i)}
	}
	for i := range n {
		g := &grant.Grant{
			User: fmt.Sprint("users/u", i%10), Application: fmt.Sprint("applications/a", i%1000), Subscription: fmt.Sprint("subscriptions/s", i%1000),
			RestsOn: []string{fmt.Sprint("applications/a", i%1000)},
		}
		if _, err := registry.New(nil, session.Info{Ref: fmt.Sprint("r", i), Route: of[i%len(of)], Grant: g}); err != nil {
			tb.Fatal(err)
		}
	}
	a := New(Gateway{Instance: "g", Started: time.Now()}, registry, &routes.Current{}, nil, nil)
	return a, viewer{user: "users/u3", table: a.routes.Load()}
}

// countFor counts as CountSessions does, and returns how many it has counted.
func (a *API) countFor(v viewer, by string) int64 {
	match, _ := v.filter("")
	return a.count(match, groups[by], map[string]int64{}).GetTotal()
}

// TestCountAllocatesLittle: what a count allocates does not grow by an object a session.
func TestCountAllocatesLittle(t *testing.T) {
	allocs := func(n int) float64 {
		a, v := crowd(t, n)
		return testing.AllocsPerRun(5, func() {
			if got := a.countFor(v, "version"); got != int64(n/10) {
				t.Errorf("counted %d of %d, want a tenth", got, n)
			}
		})
	}
	if few, many := allocs(1000), allocs(5000); many > few+100 {
		t.Errorf("a count allocates %v times for 1000 sessions, and %v times for 5000", few, many)
	}
}

func BenchmarkCount(b *testing.B) {
	for _, n := range []int{5_000, 100_000} {
		a, v := crowd(b, n)
		root := v
		root.admin = true
		for _, by := range []string{"version", "application"} {
			b.Run(fmt.Sprintf("%d by %s", n, by), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					a.countFor(root, by)
				}
			})
		}
		b.Run(fmt.Sprintf("%d by version for an application's owner", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				a.countFor(v, "version")
			}
		})
	}
}
