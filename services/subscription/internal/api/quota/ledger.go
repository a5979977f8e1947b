package quota

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/calendar"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// TakeQuota takes what a gateway has spent of quotas, and gives it more.
func (a *API) TakeQuota(ctx context.Context, req *backplanev1.TakeQuotaRequest) (*backplanev1.TakeQuotaResponse, error) {
	now := a.now()
	demands := make([]store.QuotaDemand, len(req.GetDemands()))
	type window struct {
		key   store.QuotaKey
		start time.Time
	}
	seen := make(map[window]int, len(demands))
	for i, d := range req.GetDemands() {
		var err error
		if demands[i], err = demandRow(fmt.Sprintf("demands[%d]", i), d, now); err != nil {
			return nil, err
		}
		w := window{demands[i].Key, demands[i].Start}
		if first, twice := seen[w]; twice {
			return nil, fault.Invalid(fmt.Sprintf("demands[%d]", i), "has the key and window of demands[%d]", first)
		}
		seen[w] = i
	}
	taken, err := a.store.TakeQuota(ctx, store.Boot{Gateway: req.GetGateway(), BootID: req.GetBootId()}, req.GetSequence(), demands)
	if err != nil {
		return nil, err
	}
	out := &backplanev1.TakeQuotaResponse{Slices: make([]*backplanev1.QuotaSlice, len(taken)), ServerTime: timestamppb.New(a.now())}
	for i, s := range taken {
		out.Slices[i] = &backplanev1.QuotaSlice{
			StartTime: timestamppb.New(demands[i].Start), EndTime: timestamppb.New(demands[i].End),
			Granted: s.Granted, Spent: s.Spent, Used: s.Used, UsedUp: s.UsedUp, ReportUsage: s.ReportUsage,
		}
	}
	return out, nil
}

// demandRow returns a demand for the store, and a fault where the key does not fit its
// place.
func demandRow(field string, d *backplanev1.QuotaDemand, now time.Time) (store.QuotaDemand, error) {
	key, err := keyRow(field+".key", d.GetKey())
	if err != nil {
		return store.QuotaDemand{}, err
	}
	kind := d.GetKey().GetWindow()
	present := calendar.At(kind, now)
	w := present
	if t := d.GetTime(); t != nil {
		if t.CheckValid() != nil {
			return store.QuotaDemand{}, fault.Invalid(field+".time", "must be a time")
		}
		w = calendar.At(kind, t.AsTime())
	}
	return store.QuotaDemand{
		Key: key, Plan: d.GetPlan(), Limit: d.GetLimit(), Amount: d.GetAmount(), Start: w.Start, End: w.End,
		// Of any other window nothing is given that was not begun in its time: so a clock
		// that leaps opens no more than the windows that it shows.
		Begins: w.Number >= present.Number-1 && w.Number <= present.Number+1,
		Spent:  d.GetSpent(), Want: d.GetWant(), GiveBack: d.GetGiveBack(), Opens: d.GetOpens(), UsageReported: d.GetUsageReported(),
	}, nil
}

// keyRow returns a key for the store.
func keyRow(field string, k *backplanev1.QuotaKey) (store.QuotaKey, error) {
	row := store.QuotaKey{
		Place: int64(k.GetPlace()), Version: k.GetVersion(), Unit: int64(k.GetUnit()), Window: int64(k.GetWindow()), Observe: k.GetObserve(),
	}
	of := map[catalogv1.PlanPlace][2]bool{ // whether there is an application, and a version
		catalogv1.PlanPlace_PLAN_PLACE_SUBSCRIPTION: {true, true},
		catalogv1.PlanPlace_PLAN_PLACE_APPLICATION:  {true, false},
		catalogv1.PlanPlace_PLAN_PLACE_VERSION:      {false, true},
	}[k.GetPlace()]
	for i, part := range []struct{ name, value string }{{"application", k.GetApplication()}, {"version", k.GetVersion()}} {
		switch {
		case of[i] && part.value == "":
			return row, fault.Invalid(field+"."+part.name, "is required with this place")
		case !of[i] && part.value != "":
			return row, fault.Invalid(field+"."+part.name, "must be empty with this place")
		}
	}
	if k.GetApplication() != "" {
		name, err := resourcename.ParseApplication(field+".application", k.GetApplication())
		if err != nil {
			return row, err
		}
		row.Application = name.Application
	}
	return row, nil
}
