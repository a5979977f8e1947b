package portal_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// TestRESTUsage asks for usage as a chart does: groupBy several times, a step in seconds.
func TestRESTUsage(t *testing.T) {
	s := start(t)
	s.on(usagev1.UsageService_ListUsage_FullMethodName, func(context.Context, proto.Message) (proto.Message, error) {
		return &usagev1.ListUsageResponse{}, nil
	})
	got := s.do(t, "GET", "/v1/usage?groupBy=application&groupBy=plan&step=3600s&top=3&orderBy=observed&startTime=2026-01-02T03:00:00Z", "", "Authorization", "Bearer token")
	c, _ := s.last()
	want := &usagev1.ListUsageRequest{
		GroupBy: []string{"application", "plan"}, Step: durationpb.New(time.Hour), Top: 3, OrderBy: "observed",
		StartTime: timestamppb.New(time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)),
	}
	if diff := cmp.Diff(proto.Message(want), c.request, protocmp.Transform()); diff != "" || got.status != 200 {
		t.Errorf("GET /v1/usage = %d %s (-want +got):\n%s", got.status, got.body, diff)
	}
}
