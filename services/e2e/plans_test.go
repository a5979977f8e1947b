package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/kit/planlimit/planlimittest"
)

// rest makes a call over REST, and reads its answer.
func (p *user) rest(t *testing.T, method, path string, request, answer proto.Message) {
	t.Helper()
	var text []byte
	if request != nil {
		var err error
		if text, err = protojson.Marshal(request); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(within(t), method, p.stack.Portal+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := p.stack.http(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	out := body(t, res)
	if res.StatusCode != http.StatusOK || !json.Valid([]byte(out)) {
		t.Fatalf("%s %s %s = %d %s", method, path, text, res.StatusCode, out)
	}
	if err := protojson.Unmarshal([]byte(out), answer); err != nil {
		t.Fatalf("%s %s = %s: %v", method, path, out, err)
	}
}

// TestPlanValuesRoundTrip: the limits of plans of all kinds are over gRPC and over REST what
// was saved over the other, and stay what they are when they are sent back.
func TestPlanValuesRoundTrip(t *testing.T) {
	t.Parallel()
	p := onSQLite(t).admin(t)
	kinds := map[string]bool{}
	saved := planlimittest.Saved()
	for seed := range 20 {
		want := saved.Example(seed)
		for _, l := range want {
			kinds[fmt.Sprintf("%T", l.GetKind())] = true
		}
		check := func(what string, got *catalogv1.Plan) {
			t.Helper()
			if diff := cmp.Diff(want, got.GetLimits(), protocmp.Transform()); diff != "" {
				t.Fatalf("limits of seed %d %s differ (- want, + got):\n%s", seed, what, diff)
			}
		}
		made, inREST := &catalogv1.Plan{DisplayName: fmt.Sprint("Seed ", seed), Limits: want}, &catalogv1.Plan{}
		if seed%2 == 0 {
			p.rest(t, http.MethodPost, "/v1/plans", made, inREST)
		} else {
			var err error
			if inREST, err = p.catalog.CreatePlan(p.ctx(t), &catalogv1.CreatePlanRequest{Plan: made}); err != nil {
				t.Fatal(err)
			}
		}
		check("as made", inREST)
		inGRPC, err := p.catalog.GetPlan(p.ctx(t), &catalogv1.GetPlanRequest{Name: inREST.GetName()})
		if err != nil {
			t.Fatal(err)
		}
		check("over gRPC", inGRPC)
		p.rest(t, http.MethodGet, "/v1/"+inGRPC.GetName(), nil, inREST)
		if diff := cmp.Diff(inGRPC, inREST, protocmp.Transform()); diff != "" {
			t.Fatalf("seed %d over REST differs from gRPC (- gRPC, + REST):\n%s", seed, diff)
		}
		p.rest(t, http.MethodPatch, "/v1/"+inGRPC.GetName()+"?updateMask=limits", inREST, inREST)
		check("sent back over REST", inREST)
	}
	if len(kinds) != 5 {
		t.Errorf("the limits were of kinds %v, want all five", kinds)
	}
}

// throttledOut is what a client is told by the template of WSO2 API Manager.
const throttledOut = "Error code: 4003 reason: Websocket frame throttled out"

// untilThrottled sends messages over all connections in turn until one is dropped, or its
// echo, and returns how many came back.
func untilThrottled(t *testing.T, conns ...*websocket.Conn) (n int) {
	t.Helper()
	for ; n < 1000; n++ {
		if text := said(t, conns[n%len(conns)], "hello"); text != "hello" {
			return n
		}
	}
	t.Fatal("no message is dropped")
	return n
}

// said sends a message and returns what comes: the echo, or that it was dropped.
func said(t *testing.T, conn *websocket.Conn, message string) string {
	t.Helper()
	if err := conn.Write(within(t), websocket.MessageText, []byte(message)); err != nil {
		t.Fatalf("send: %v", err)
	}
	_, text, err := conn.Read(within(t))
	if err != nil || string(text) != message && string(text) != throttledOut {
		t.Fatalf("read %q, %v, want an echo or %q", text, err, throttledOut)
	}
	return string(text)
}

// TestQuotaHolds: of the quota of a plan exactly as much passes, both directions together,
// over all sessions of the subscription, and so it does when something is added and when it
// is reset, for sessions that live. What was used is what usage says that passed, and dropped
// is what it says that was dropped.
func TestQuotaHolds(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, s *Stack) {
		const amount, added = 9, 4
		p := s.admin(t)
		x := p.publish(t, "Quota", newBackend(t))
		plan := &catalogv1.Plan{}
		p.rest(t, http.MethodPost, "/v1/plans", &catalogv1.Plan{DisplayName: "Nine", Limits: []*catalogv1.Limit{{Kind: &catalogv1.Limit_Quota{
			Quota: &catalogv1.Quota{Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: amount, Window: catalogv1.Quota_WINDOW_MONTH},
		}}}}, plan)
		var header metadata.MD
		v, err := p.catalog.UpdateVersion(p.ctx(t), &catalogv1.UpdateVersionRequest{Version: &catalogv1.Version{
			Name: x.version.GetName(), ErrorFrames: &catalogv1.ErrorFrames{Template: catalogv1.ErrorFrames_TEMPLATE_WSO2},
		}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"error_frames"}}}, grpc.Header(&header))
		p.moved(t, v, header, err)
		token := p.accessToken(t, x)
		one := s.connect(t, s.WS+x.path, token)
		if _, err := p.subs.UpdateSubscription(p.ctx(t), &subscriptionv1.UpdateSubscriptionRequest{
			Subscription: &subscriptionv1.Subscription{Name: x.subscription.GetName(), Plan: plan.GetName()},
		}); err != nil {
			t.Fatal(err)
		}
		p.live(t, x, func(s *gatewayv1.Session) bool { return s.GetPlan() == plan.GetName() })
		two := s.connect(t, s.WSS+x.path, token)
		dropped := uint64(1) // the echo of the last message
		if n := untilThrottled(t, one, two); n != amount/2 {
			t.Errorf("%d messages came back, want %d", n, amount/2)
		}
		for _, conn := range []*websocket.Conn{one, two} {
			if got := said(t, conn, "too much"); got != throttledOut {
				t.Errorf("over the quota %q comes, want %q", got, throttledOut)
			}
			dropped++
		}
		passed := uint64(amount)
		use := p.usedUp(t, x, amount, amount, passed, dropped)
		for _, change := range []struct {
			name string
			do   func() (*usagev1.QuotaUse, error)
			more int
			used int64
		}{
			{"added", func() (*usagev1.QuotaUse, error) {
				return p.quotas.AddQuota(p.ctx(t), &usagev1.AddQuotaRequest{Name: use.GetName(), Amount: added})
			}, added, amount + added},
			{"reset", func() (*usagev1.QuotaUse, error) {
				return p.quotas.ResetQuota(p.ctx(t), &usagev1.ResetQuotaRequest{Name: use.GetName()})
			}, amount + added, amount + added},
		} {
			if _, err := change.do(); err != nil {
				t.Fatal(err)
			}
			eventually(t, func() error { // the gateway asks again
				if got := said(t, one, "more"); got != "more" {
					dropped++
					return fmt.Errorf("%s: %q comes", change.name, got)
				}
				return nil
			})
			if n := 1 + untilThrottled(t, two, one); n != change.more/2 {
				t.Errorf("%s: %d messages came back, want %d", change.name, n, change.more/2)
			}
			dropped, passed = dropped+1, passed+uint64(change.more)
			p.usedUp(t, x, amount+added, change.used, passed, dropped)
		}
		if live := p.liveSessions(t, x); len(live) != 2 {
			t.Errorf("%d sessions live, want both", len(live))
		}
	})
}

// usedUp waits until a product's only quota is used up, by so much, and usage says that so
// many messages passed and were dropped.
func (p *user) usedUp(t *testing.T, x *product, amount, used int64, passed, dropped uint64) (use *usagev1.QuotaUse) {
	t.Helper()
	filter := fmt.Sprintf("subscription = %q", x.subscription.GetName())
	eventually(t, func() error {
		uses, err := p.quotas.ListQuotaUses(p.ctx(t), &usagev1.ListQuotaUsesRequest{Filter: fmt.Sprintf(`version = %q AND window = "MONTH"`, x.version.GetName())})
		if err != nil || len(uses.GetQuotaUses()) != 1 {
			return fmt.Errorf("ListQuotaUses = %v, %w, want one", uses, err)
		}
		use = uses.GetQuotaUses()[0]
		if use.GetUsed() != used || use.GetLeft() != 0 || use.GetAmount() != amount {
			return fmt.Errorf("the quota is %v, want %d of %d used", use, used, amount)
		}
		list, err := p.usage.ListUsage(p.ctx(t), &usagev1.ListUsageRequest{Filter: filter})
		if err != nil {
			return err
		}
		var sum, left uint64
		for _, u := range list.GetUsage() {
			sum += u.GetInbound().GetMessages() + u.GetOutbound().GetMessages()
			for _, l := range u.GetLimits() {
				left += l.GetDroppedMessages()
			}
		}
		if sum != passed || left != dropped {
			return fmt.Errorf("usage says that %d passed and %d were dropped, want %d and %d", sum, left, passed, dropped)
		}
		return nil
	})
	return use
}
