package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/coder/websocket"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// live waits until the only live session of a product is as it is wanted, and returns it.
func (p *user) live(t *testing.T, x *product, want func(*gatewayv1.Session) bool) *gatewayv1.Session {
	t.Helper()
	var session *gatewayv1.Session
	eventually(t, func() error {
		all := p.liveSessions(t, x)
		if len(all) != 1 || !want(all[0]) {
			return fmt.Errorf("live sessions are %v", all)
		}
		session = all[0]
		return nil
	})
	return session
}

// TestLiveSessionsMoveWithTheirPlans moves a subscription to another plan, and gives its
// application one: the live session goes on, under these plans.
func TestLiveSessionsMoveWithTheirPlans(t *testing.T) {
	t.Parallel()
	s := onSQLite(t)
	p := s.admin(t)
	x := p.publish(t, "Moves", newBackend(t))
	gold, silver, bronze := p.plan(t, "Gold"), p.plan(t, "Silver"), p.plan(t, "Bronze")
	conn := s.connect(t, s.WS+x.path, p.accessToken(t, x))
	echo(t, conn, websocket.MessageText, "before")
	under := func(plan, application string) func(*gatewayv1.Session) bool {
		return func(s *gatewayv1.Session) bool { return s.GetPlan() == plan && s.GetApplicationPlan() == application }
	}
	first := p.live(t, x, under(gold, ""))
	// The version does not offer it; an administrator moves the subscription anyway.
	_, err := p.subs.UpdateSubscription(p.ctx(t), &subscriptionv1.UpdateSubscriptionRequest{
		Subscription: &subscriptionv1.Subscription{Name: x.subscription.GetName(), Plan: silver},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.live(t, x, under(silver, ""))
	for _, plan := range []string{bronze, ""} {
		_, err = p.apps.UpdateApplication(p.ctx(t), &subscriptionv1.UpdateApplicationRequest{
			Application: &subscriptionv1.Application{Name: x.app.GetName(), Plan: plan}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"plan"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		p.live(t, x, under(silver, plan))
	}
	if last := p.live(t, x, under(silver, "")); last.GetName() != first.GetName() {
		t.Errorf("the session is %s, and was %s", last.GetName(), first.GetName())
	}
	echo(t, conn, websocket.MessageText, "after")
}

// TestBlockAndRestore blocks a subscription: its handshakes are refused, with a record of
// why, until it is restored.
func TestBlockAndRestore(t *testing.T) {
	t.Parallel()
	s := onSQLite(t)
	p := s.admin(t)
	x := p.publish(t, "Blocked", newBackend(t))
	token := p.accessToken(t, x)
	since := time.Now()
	if _, err := p.subs.BlockSubscription(p.ctx(t), &subscriptionv1.BlockSubscriptionRequest{Name: x.subscription.GetName()}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if got := s.refused(t, s.WS+x.path, token); got != 403 {
			return fmt.Errorf("a handshake is answered %d, want 403", got)
		}
		return nil
	})
	eventually(t, func() error {
		list, err := p.usage.ListSessionRecords(p.ctx(t), &usagev1.ListSessionRecordsRequest{
			Filter: fmt.Sprintf("application = %q AND code = %q", x.app.GetName(), "BLOCKED"),
		})
		if err != nil {
			return err
		}
		for _, r := range list.GetSessionRecords() {
			if r.GetEndTime().AsTime().After(since.Add(-time.Second)) && r.GetDetail() == "the application's subscription to this version of the API is blocked" {
				return nil
			}
		}
		return fmt.Errorf("records are %v, want one that says that the subscription is blocked", list.GetSessionRecords())
	})
	if _, err := p.subs.RestoreSubscription(p.ctx(t), &subscriptionv1.RestoreSubscriptionRequest{Name: x.subscription.GetName()}); err != nil {
		t.Fatal(err)
	}
	// Without waiting for a denial to be forgotten: the event makes it void.
	eventually(t, func() error {
		conn, status, err := s.tryConnect(t, s.WS+x.path, token)
		if err != nil {
			return fmt.Errorf("a handshake after the restoration is answered %d: %w", status, err)
		}
		echo(t, conn, websocket.MessageText, "back")
		return nil
	})
}

// TestSubscriptionlessVersion has a version that needs no subscription: an application
// without one gets in, moves to the plan of the subscription that it makes, and is out once
// the version needs subscriptions again and it has none.
func TestSubscriptionlessVersion(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, s *Stack) {
		p := s.admin(t)
		x := p.publish(t, "Free", newBackend(t))
		of := p.application(t, "Free rider")
		token := p.accessToken(t, of)
		need := func(subscription bool) {
			t.Helper()
			_, err := p.catalog.UpdateVersion(p.ctx(t), &catalogv1.UpdateVersionRequest{
				Version:    &catalogv1.Version{Name: x.version.GetName(), Subscriptionless: !subscription},
				UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"subscriptionless"}},
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if got := s.refused(t, s.WS+x.path, token); got != 403 {
			t.Fatalf("a handshake without a subscription is answered %d, want 403", got)
		}
		need(false)
		var conn *websocket.Conn
		eventually(t, func() (err error) {
			conn, _, err = s.tryConnect(t, s.WS+x.path, token)
			return err
		})
		echo(t, conn, websocket.MessageText, "free")
		free := p.live(t, x, func(s *gatewayv1.Session) bool {
			return s.GetSubscription() == "" && s.GetPlan() == "plans/async-default-subscriptionless"
		})
		sub := p.subscribe(t, of.app.GetName(), x.version.GetName())
		moved := p.live(t, x, func(s *gatewayv1.Session) bool {
			return s.GetSubscription() == sub.GetName() && s.GetPlan() == p.plan(t, "Gold")
		})
		if moved.GetName() != free.GetName() {
			t.Errorf("the session is %s, and was %s", moved.GetName(), free.GetName())
		}
		echo(t, conn, websocket.MessageText, "subscribed")
		if _, err := p.subs.DeleteSubscription(p.ctx(t), &subscriptionv1.DeleteSubscriptionRequest{Name: sub.GetName()}); err != nil {
			t.Fatal(err)
		}
		if code, reason := closed(t, conn); code != 4006 {
			t.Errorf("closed with %d %q, want 4006", code, reason)
		}
		conn = s.connect(t, s.WS+x.path, token)
		echo(t, conn, websocket.MessageText, "free again")
		need(true)
		if code, reason := closed(t, conn); code != 4006 {
			t.Errorf("closed with %d %q, want 4006", code, reason)
		}
		if got := s.refused(t, s.WS+x.path, token); got != 403 {
			t.Errorf("a handshake without a subscription is answered %d, want 403", got)
		}
	})
}
