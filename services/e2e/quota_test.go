package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/tidegatehq/tidegate/gen"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
)

// TestQuota gives an application a quota in mid-window, while it is connected: what passed
// before is part of it, exactly so much more passes, also after a new connection and a
// restart, and what the quota says is what usage says. A reset and what is added are there
// within moments.
func TestQuota(t *testing.T) {
	t.Parallel()
	data := newData(t)
	first := start(t, data, append(quick(), "-no-sample")...)
	p := first.admin(t)
	x := p.publish(t, "Quota", newBackend(t))
	var header metadata.MD
	v, err := p.catalog.UpdateVersion(p.ctx(t), &catalogv1.UpdateVersionRequest{
		Version:    &catalogv1.Version{Name: x.version.GetName(), ErrorFrames: &catalogv1.ErrorFrames{Template: catalogv1.ErrorFrames_TEMPLATE_WSO2}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"error_frames"}},
	}, grpc.Header(&header))
	p.moved(t, v, header, err)
	token := p.accessToken(t, x)
	conn := first.connect(t, first.WS+x.path, token)
	echo(t, conn, websocket.MessageText, "one")
	echo(t, conn, websocket.MessageText, "two")
	p.quota(t, x, 10) // of which an echo takes two
	p.usedQuota(t, x, 4)
	const more = 3
	if n := echoes(t, conn); n != more {
		t.Errorf("%d echoes pass after the quota was given, want %d", n, more)
	}
	use := p.usedQuota(t, x, 10)
	if use.GetAmount() != 10 || use.GetLeft() != 0 || use.GetOverdraft() != 0 {
		t.Errorf("the quota is %v, want 10 used up", use)
	}
	_ = conn.CloseNow()
	conn = first.connect(t, first.WS+x.path, token)
	if n := echoes(t, conn); n != 0 {
		t.Errorf("%d echoes pass on another connection", n)
	}
	if _, err := p.quotas.ResetQuota(p.ctx(t), &usagev1.ResetQuotaRequest{Name: use.GetName()}); err != nil {
		t.Fatalf("ResetQuota: %v", err)
	}
	if n := passing(t, conn, 5); n != 5 {
		t.Errorf("%d echoes pass after a reset, want 5", n)
	}
	p.usedQuota(t, x, 10)
	_ = conn.CloseNow()
	first.stop()
	first.wait(t)

	again := start(t, data, append(quick(), "-no-sample")...)
	p = again.admin(t)
	conn = again.connect(t, again.WS+x.path, p.accessToken(t, x))
	if n := echoes(t, conn); n != 0 {
		t.Errorf("%d echoes pass after a restart", n)
	}
	if _, err := p.quotas.AddQuota(p.ctx(t), &usagev1.AddQuotaRequest{Name: use.GetName(), Amount: 4}); err != nil {
		t.Fatalf("AddQuota: %v", err)
	}
	if n := passing(t, conn, 2); n != 2 {
		t.Errorf("%d echoes pass after 4 were added, want 2", n)
	}
	if use = p.usedQuota(t, x, 14); use.GetAmount() != 14 || use.GetAdded() != 4 {
		t.Errorf("the quota is %v, want 4 added", use)
	}
	if got := p.totals(t, x); got.in != 2+more+5+2 || got.out != got.in {
		t.Errorf("usage is %+v, want %d messages each way", got, 2+more+5+2)
	}
	events, err := p.quotas.ListQuotaEvents(p.ctx(t), &usagev1.ListQuotaEventsRequest{Filter: fmt.Sprintf("application = %q", x.app.GetName())})
	if err != nil || len(events.GetQuotaEvents()) != 2 {
		t.Errorf("ListQuotaEvents = %v, %v, want one of 80 and one of 100 %%", events, err)
	}
}

// quota gives an application a plan with a quota of so many messages a day, and waits until
// gateways know.
func (p *user) quota(t *testing.T, x *product, amount int64) {
	t.Helper()
	plan, err := p.catalog.CreatePlan(p.ctx(t), &catalogv1.CreatePlanRequest{Plan: &catalogv1.Plan{DisplayName: "Small", Limits: []*catalogv1.Limit{{
		Reaction: catalogv1.Limit_REACTION_DROP,
		Kind:     &catalogv1.Limit_Quota{Quota: &catalogv1.Quota{Unit: catalogv1.Unit_UNIT_MESSAGES, Amount: amount, Window: catalogv1.Quota_WINDOW_DAY}},
	}}}})
	if err != nil {
		t.Fatalf("CreatePlan: %v", err)
	}
	var header metadata.MD
	_, err = p.apps.UpdateApplication(p.ctx(t), &subscriptionv1.UpdateApplicationRequest{
		Application: &subscriptionv1.Application{Name: x.app.GetName(), Plan: plan.GetName()}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"plan"}},
	}, grpc.Header(&header))
	if err != nil {
		t.Fatalf("UpdateApplication: %v", err)
	}
	change := strings.Join(header.Get(gen.ChangeHeader), "")
	if applied, err := p.changes.WaitChange(p.ctx(t), &changev1.WaitChangeRequest{Name: change}); err != nil || !applied.GetApplied() {
		t.Fatalf("WaitChange(%q) = %v, %v", change, applied, err)
	}
}

// echoes sends messages until one is dropped, and returns how many came back before.
func echoes(t *testing.T, conn *websocket.Conn) (n int) {
	t.Helper()
	for ; n < 100; n++ {
		if !passes(t, conn, fmt.Sprint("message ", n)) {
			return n
		}
	}
	return n
}

// passing sends messages until so many came back, and one more is dropped.
func passing(t *testing.T, conn *websocket.Conn, want int) (n int) {
	t.Helper()
	eventually(t, func() error {
		if passes(t, conn, fmt.Sprint("message ", n)) {
			n++
		}
		if n < want {
			return fmt.Errorf("%d of %d echoes came back", n, want)
		}
		return nil
	})
	return n + echoes(t, conn)
}

// passes sends a message and reports whether it came back, and not the error that it was
// dropped.
func passes(t *testing.T, conn *websocket.Conn, text string) bool {
	t.Helper()
	if err := conn.Write(within(t), websocket.MessageText, []byte(text)); err != nil {
		t.Fatalf("send %q: %v", text, err)
	}
	_, got, err := conn.Read(within(t))
	switch {
	case err != nil:
		t.Fatalf("after %q: %v", text, err)
	case string(got) == "Error code: 4003 reason: Websocket frame throttled out":
		return false
	case string(got) != text:
		t.Fatalf("after %q came %q", text, got)
	}
	return true
}

// usedQuota waits until so much of the application's quota was used, and returns it.
func (p *user) usedQuota(t *testing.T, x *product, used int64) (use *usagev1.QuotaUse) {
	t.Helper()
	eventually(t, func() error {
		list, err := p.quotas.ListQuotaUses(p.ctx(t), &usagev1.ListQuotaUsesRequest{Filter: fmt.Sprintf("application = %q AND window = \"DAY\"", x.app.GetName())})
		if err != nil {
			return err
		}
		if len(list.GetQuotaUses()) != 1 || list.GetQuotaUses()[0].GetUsed() != used {
			return fmt.Errorf("uses are %v, want %d used", list.GetQuotaUses(), used)
		}
		use = list.GetQuotaUses()[0]
		return nil
	})
	return use
}
