package portal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity/identitytest"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/portal"
)

// history answers ListChanges for a service as kit/change does: change n was made
// at the second seconds[n-1]. No page has more than most.
func history(seconds map[string][]int64, most int) reply {
	return func(_ context.Context, m proto.Message) (proto.Message, error) {
		req, ok := m.(*changev1.ListChangesRequest)
		if !ok {
			return nil, fmt.Errorf("a request %T", m)
		}
		p, err := page.New[uint64](req)
		if err != nil {
			return nil, err
		}
		resp := &changev1.ListChangesResponse{}
		times := seconds[req.GetParent()]
		for n := min(uint64(len(times)), p.After-1); n > 0; n-- {
			if len(resp.GetChanges()) == min(most, int(req.GetPageSize())) {
				resp.NextPageToken = p.Token(n + 1)
				break
			}
			resp.Changes = append(resp.GetChanges(), &changev1.Change{
				Name: req.GetParent() + "/changes/" + strconv.FormatUint(n, 10), ChangeNumber: n,
				CreateTime: &timestamppb.Timestamp{Seconds: times[n-1]},
			})
		}
		return resp, nil
	}
}

// TestChangesOfAllServices merges two histories by time, over pages, while changes
// are added: pages neither repeat nor leave out what was there at the beginning, even if
// the services' pages are shorter than they were asked to be.
func TestChangesOfAllServices(t *testing.T) {
	s := start(t)
	seconds := map[string][]int64{
		"services/catalog": {10, 20, 20, 30, 90}, "services/subscription": {5, 20, 21, 22, 23, 24},
	}
	s.on(changev1.ChangeService_ListChanges_FullMethodName, history(seconds, 12))
	client := changev1.NewChangeServiceClient(s.dial(t))
	want := []string{
		"catalog 5", "catalog 4", "subscription 6", "subscription 5", "subscription 4", "subscription 3",
		"catalog 3", "catalog 2", "subscription 2", "catalog 1", "subscription 1",
	}
	for size := int32(1); size <= 24; size++ {
		most := 12
		if size > 12 {
			most = int(size) - 12 // a page is as large as fits into an answer
		}
		s.on(changev1.ChangeService_ListChanges_FullMethodName, history(seconds, most))
		var got []string
		req := &changev1.ListChangesRequest{Parent: "services/-", PageSize: size}
		for range 20 {
			resp, err := client.ListChanges(t.Context(), req, identitytest.Bearer("token"))
			if err != nil || len(resp.GetChanges()) > int(size) {
				t.Fatalf("ListChanges by %d = %d changes, %v", size, len(resp.GetChanges()), err)
			}
			for _, c := range resp.GetChanges() {
				got = append(got, strings.NewReplacer("services/", "", "/changes/", " ").Replace(c.GetName()))
			}
			if req.PageToken = resp.GetNextPageToken(); req.GetPageToken() == "" {
				break
			}
			s.on(changev1.ChangeService_ListChanges_FullMethodName, history(map[string][]int64{
				"services/catalog":      append(slices.Clone(seconds["services/catalog"]), 100, 101),
				"services/subscription": append(slices.Clone(seconds["services/subscription"]), 100),
			}, most))
		}
		if !slices.Equal(got, want) {
			t.Errorf("by %d: %q, want %q", size, got, want)
		}
	}
	restricted := &changev1.ListChangesRequest{
		Parent: "services/-", Filter: `action = "CreateApi"`, StartTime: &timestamppb.Timestamp{Seconds: 1}, EndTime: &timestamppb.Timestamp{Seconds: 2},
	}
	if _, err := client.ListChanges(t.Context(), restricted, identitytest.Bearer("token")); err != nil {
		t.Error(err)
	}
	if c, _ := s.last(); !sameRestriction(c.request, restricted) {
		t.Errorf("a service was asked %v for %v", c.request, restricted)
	}
	if c, _ := s.last(); !slices.Equal(c.metadata.Get("authorization"), []string{"Bearer token"}) {
		t.Errorf("a service was asked with %v, want the caller's token", c.metadata)
	}
}

// sameRestriction reports whether a request has the filter and the times of another.
func sameRestriction(m proto.Message, want *changev1.ListChangesRequest) bool {
	got, ok := m.(*changev1.ListChangesRequest)
	return ok && got.GetFilter() == want.GetFilter() && proto.Equal(got.GetStartTime(), want.GetStartTime()) && proto.Equal(got.GetEndTime(), want.GetEndTime())
}

// TestChangesAreRouted asks for what one service has, over gRPC and REST.
func TestChangesAreRouted(t *testing.T) {
	s := start(t)
	client := changev1.NewChangeServiceClient(s.dial(t))
	s.on(changev1.ChangeService_GetChange_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return &changev1.Change{Action: "CreateApi"}, nil
	})
	s.on(changev1.ChangeService_WaitChange_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return &changev1.WaitChangeResponse{PendingWatchers: []string{"services/catalog/watchers/gateway-1"}}, nil
	})
	s.on(changev1.ChangeService_ListWatchers_FullMethodName, func(_ context.Context, m proto.Message) (proto.Message, error) {
		req, _ := m.(*changev1.ListWatchersRequest)
		return &changev1.ListWatchersResponse{Watchers: []*changev1.Watcher{{Name: req.GetParent() + "/watchers/gateway-1"}}}, nil
	})
	const name = "services/catalog/changes/7"
	got, err := client.GetChange(t.Context(), &changev1.GetChangeRequest{Name: name})
	if c, _ := s.last(); err != nil || got.GetAction() != "CreateApi" || !proto.Equal(c.request, &changev1.GetChangeRequest{Name: name}) {
		t.Errorf("GetChange = %v, %v after %v", got, err, c.request)
	}
	for path, want := range map[string]string{
		"/v1/" + name + ":wait":         `{"applied":false,"pendingWatchers":["services/catalog/watchers/gateway-1"]}`,
		"/v1/services/catalog/watchers": watchersOf("catalog"),
		"/v1/services/-/watchers":       watchersOf("catalog", "subscription"),
	} {
		if got := s.do(t, "GET", path, "", "Authorization", "Bearer token"); got.status != 200 || compact(t, got.body) != want {
			t.Errorf("GET %s = %d %s, want %s", path, got.status, got.body, want)
		}
		if c, _ := s.last(); !slices.Equal(c.metadata.Get("authorization"), []string{"Bearer token"}) {
			t.Errorf("GET %s asked with %v, want the caller's token", path, c.metadata)
		}
	}
}

// watchersOf is the JSON of a list that has one watcher of each service.
func watchersOf(services ...string) string {
	var all []string
	for _, s := range services {
		all = append(all, `{"name":"services/`+s+`/watchers/gateway-1","instance":"","kind":"","build":"","address":"","features":[],`+
			`"appliedChangeNumber":"0","sessionsClosed":"0","failure":"","connected":false,"refTag":""}`)
	}
	return `{"watchers":[` + strings.Join(all, ",") + `]}`
}

// TestChangesRefuse shows what callers hear of a request that names no service,
// and of a service that refuses or is away.
func TestChangesRefuse(t *testing.T) {
	s := start(t)
	s.on(changev1.ChangeService_ListChanges_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return nil, fault.Denied("this needs the role admin")
	})
	client := changev1.NewChangeServiceClient(s.dial(t))
	list := func(parent string) func() error {
		return func() error {
			_, err := client.ListChanges(t.Context(), &changev1.ListChangesRequest{Parent: parent})
			return err
		}
	}
	const badParent, badName = "parent: must be services/{service}", "name: must be services/{service}/changes/{change_number}"
	wait := func(name string) func() error {
		return func() error {
			_, err := client.WaitChange(t.Context(), &changev1.WaitChangeRequest{Name: name})
			return err
		}
	}
	for _, tt := range []struct {
		what string
		call func() error
		code codes.Code
		text string
	}{
		{"no parent", list(""), codes.InvalidArgument, badParent},
		{"a parent that is none", list("services"), codes.InvalidArgument, badParent},
		{"a change as parent", list("services/x/changes/1"), codes.InvalidArgument, badParent},
		{"a service that there is not", list("services/gateway"), codes.NotFound, "services/gateway not found"},
		{"no right at one service", list("services/catalog"), codes.PermissionDenied, "this needs the role admin"},
		{"no right at all services", list("services/-"), codes.PermissionDenied, "this needs the role admin"},
		{"no name", wait(""), codes.InvalidArgument, badName},
		{"a number", wait("7"), codes.InvalidArgument, badName},
		{"a change of all services", wait("services/-/changes/7"), codes.NotFound, "services/-/changes/7 not found"},
		{"a bad size", func() error {
			_, err := client.ListChanges(t.Context(), &changev1.ListChangesRequest{Parent: "services/-", PageSize: -1})
			return err
		}, codes.InvalidArgument, "page_size: must not be negative"},
		{"a bad token", func() error {
			_, err := client.ListChanges(t.Context(), &changev1.ListChangesRequest{Parent: "services/-", PageToken: "x"})
			return err
		}, codes.InvalidArgument, "page_token: is not a token that a list has returned"},
	} {
		if st := status.Convert(tt.call()); st.Code() != tt.code || st.Message() != tt.text {
			t.Errorf("%s: %v, want %v %q", tt.what, st, tt.code, tt.text)
		}
	}
	got := s.do(t, "GET", "/v1/services/x/changes", "")
	if st := statusOf(t, got); got.status != 404 || st.GetMessage() != "services/x not found" {
		t.Errorf("GET /v1/services/x/changes = %d %s", got.status, got.body)
	}
	away := start(t, func(cfg *portal.Config) { cfg.Subscription = nowhere(t) })
	away.on(changev1.ChangeService_ListChanges_FullMethodName, history(nil, 12))
	got = away.do(t, "GET", "/v1/services/-/changes", "")
	if st := statusOf(t, got); got.status != 503 || st.GetMessage() != "the subscription service cannot be reached, try again" {
		t.Errorf("changes of all services without one of them = %d %s, want 503", got.status, got.body)
	}
	if got := away.do(t, "GET", "/v1/services/catalog/changes", ""); got.status != 200 || !json.Valid([]byte(got.body)) {
		t.Errorf("changes of the service that is there = %d %s, want 200", got.status, got.body)
	}
}
