package ui

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
)

// TestClosed says how many sessions were closed, and warns of gateways that have not said.
func TestClosed(t *testing.T) {
	took := durationpb.New(31 * time.Millisecond)
	for _, tt := range []struct {
		resp *subscriptionv1.RevokeResponse
		want Notice
	}{
		{&subscriptionv1.RevokeResponse{Duration: took}, Notice{Kind: "ok", Text: "Done. No session was open."}},
		{&subscriptionv1.RevokeResponse{ClosedSessions: 1, Gateways: 1, Duration: took}, Notice{Kind: "ok", Text: "Done. 1 session on 1 gateway closed in 31 ms."}},
		{&subscriptionv1.RevokeResponse{ClosedSessions: 12, Gateways: 2, Duration: took, SilentGateways: []string{"gateways/far"}},
			Notice{Kind: "warn", Text: "Done. 12 sessions on 2 gateways closed in 31 ms. Silent for a second: far; what is open there ends when it is heard of."}},
		{&subscriptionv1.RevokeResponse{Duration: took, SilentGateways: []string{"gateways/-"}},
			Notice{Kind: "warn", Text: "Done. No session was open. It is not known which gateways there are: they close theirs as soon as they hear of it."}},
	} {
		if got := Closed("/there", "Done.", tt.resp); got.Notice != tt.want || got.To != "/there" {
			t.Errorf("Closed(%v) = %v, want %v", tt.resp, got, tt.want)
		}
	}
}
