package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/calendar"
)

// ledger is the subscription service's ledger of quotas, with a clock that tests move.
type ledger struct {
	backplanev1.UnimplementedQuotaLedgerServiceServer

	mu      sync.Mutex
	ahead   time.Duration // of its clock
	windows map[ledgerKey]*ledgerWindow
}

// ledgerKey is a window of a quota.
type ledgerKey struct {
	place                catalogv1.PlanPlace
	application, version string
	unit                 catalogv1.Unit
	kind                 catalogv1.Quota_Window
	start                int64 // in Unix seconds
}

// ledgerWindow is what became of it, by starts of the gateway.
type ledgerWindow struct{ spent, granted map[string]int64 }

// newLedger returns one whose clock is at the fifth second of a minute.
func newLedger() *ledger {
	now := time.Now()
	return &ledger{ahead: now.Truncate(time.Minute).Add(65 * time.Second).Sub(now), windows: map[ledgerKey]*ledgerWindow{}}
}

// TakeQuota gives little at once, so that slices are asked for often.
func (l *ledger) TakeQuota(_ context.Context, req *backplanev1.TakeQuotaRequest) (*backplanev1.TakeQuotaResponse, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now().Add(l.ahead)
	resp := &backplanev1.TakeQuotaResponse{ServerTime: timestamppb.New(now)}
	for _, d := range req.GetDemands() {
		at := now
		if d.GetTime() != nil {
			at = d.GetTime().AsTime()
		}
		of := calendar.At(d.GetKey().GetWindow(), at)
		key := ledgerKey{d.GetKey().GetPlace(), d.GetKey().GetApplication(), d.GetKey().GetVersion(), d.GetKey().GetUnit(), d.GetKey().GetWindow(), of.Start.Unix()}
		w := l.windows[key]
		if w == nil {
			w = &ledgerWindow{map[string]int64{}, map[string]int64{}}
			l.windows[key] = w
		}
		boot := req.GetBootId()
		if !d.GetOpens() {
			w.spent[boot] = d.GetSpent()
		}
		w.granted[boot] = max(w.granted[boot], w.spent[boot])
		if d.GetGiveBack() {
			w.granted[boot] = w.spent[boot]
		}
		left := d.GetAmount()
		for _, granted := range w.granted {
			left -= granted
		}
		more := min(max(0, d.GetWant()-(w.granted[boot]-w.spent[boot])), max(0, left))
		w.granted[boot] += more
		resp.Slices = append(resp.Slices, &backplanev1.QuotaSlice{
			StartTime: timestamppb.New(of.Start), EndTime: timestamppb.New(of.End), Granted: w.granted[boot], Spent: w.spent[boot],
			UsedUp: left <= more,
		})
	}
	return resp, nil
}

// turn moves the clock by a minute. Gateways know with the next answer.
func (l *ledger) turn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ahead += time.Minute
}

// spent returns what gateways have said that they spent, by window.
func (l *ledger) spent() map[ledgerKey]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[ledgerKey]int64{}
	for key, w := range l.windows {
		for _, n := range w.spent {
			all[key] += n
		}
	}
	return all
}

// used returns what usage says that was used of a quota in a window.
func (p *plane) used(key ledgerKey) (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, req := range p.usage {
		for _, u := range req.GetUsage() {
			if key.application != "" && u.GetApplication() != key.application || key.version != "" && u.GetVersion() != key.version ||
				calendar.At(key.kind, u.GetMinute().AsTime()).Start.Unix() != key.start {
				continue
			}
			switch key.unit {
			case catalogv1.Unit_UNIT_MESSAGES:
				n += int64(u.GetInbound().GetMessages() + u.GetOutbound().GetMessages())
			case catalogv1.Unit_UNIT_BYTES:
				n += int64(u.GetInbound().GetPayloadBytes() + u.GetOutbound().GetPayloadBytes())
			case catalogv1.Unit_UNIT_SESSIONS:
				n += int64(u.GetSessions())
			}
		}
	}
	return n
}

// balances stops the gateway and wants what was spent of each quota in each window to be
// what usage says that was used. It returns what was spent.
func (w *world) balances() map[ledgerKey]int64 {
	w.t.Helper()
	if err := w.shut(); err != nil {
		w.t.Errorf("Run = %v", err)
	}
	spent := w.plane.ledger.spent()
	for key, n := range spent {
		if used := w.plane.used(key); used != n {
			w.t.Errorf("of %s %d were spent, and usage says %d", fmt.Sprintf("%+v", key), n, used)
		}
	}
	return spent
}
