package throttle

import (
	"testing"

	"pgregory.net/rapid"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/planlimit/planlimittest"
)

// Whatever the catalog saves can be armed, with all of its limits.
func TestWhatIsSavedIsArmed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		saved := &catalogv1.Plan{Name: "plans/p", Limits: planlimittest.Saved().Draw(t, "limits")}
		p := newPlan(saved, 1<<20)
		if p.wrong != nil {
			t.Fatalf("%v is saved, and not armed: %v", saved, p.wrong)
		}
		var want, got struct{ rates, quotas, seats, sizes, ages int }
		for _, l := range saved.GetLimits() {
			switch l.GetKind().(type) {
			case *catalogv1.Limit_Rate:
				want.rates++
			case *catalogv1.Limit_Quota:
				want.quotas++
			case *catalogv1.Limit_Connections:
				want.seats++
			case *catalogv1.Limit_MessageSize:
				want.sizes++
			case *catalogv1.Limit_SessionAge:
				want.ages++
			}
		}
		for _, l := range p.limits {
			if l.rate.Amount > 0 {
				got.rates++
			} else {
				got.quotas++
			}
		}
		got.seats = len(p.seats)
		if p.maxMessage > 0 {
			got.sizes++
		}
		if p.maxAge > 0 {
			got.ages++
		}
		if got != want {
			t.Fatalf("%v is armed as %+v, want %+v", saved, got, want)
		}
	})
}
