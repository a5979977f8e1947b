package throttle

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/ending"
	"github.com/tidegatehq/tidegate/services/gateway/internal/limits"
)

// TestBounding: the limit that bounds messages, or age, is named where it is a plan's, and
// the smallest.
func TestBounding(t *testing.T) {
	size := func(n int64) *catalogv1.Limit {
		return &catalogv1.Limit{Name: "message-size", Kind: &catalogv1.Limit_MessageSize{MessageSize: &catalogv1.MessageSize{Bytes: n}}}
	}
	age := func(d time.Duration) *catalogv1.Limit {
		return &catalogv1.Limit{Name: "session-age", Kind: &catalogv1.Limit_SessionAge{SessionAge: &catalogv1.SessionAge{Age: durationpb.New(d)}}}
	}
	inWorld(t, func(w *world) {
		w.put(planOf("gold", messages(10), size(1000), age(2*time.Hour)), planOf("own", size(800), age(3*time.Hour)), planOf("plain", messages(10)))
		is := func(c *client, r ending.Reason, want string) {
			t.Helper()
			got := ""
			if l := c.Bounding(r); l != nil {
				got = l.Place.String() + "'s limit " + l.Name + " of " + l.Plan
				if kind := map[ending.Reason]limits.Kind{ending.TooBig: limits.KindMessageSize, ending.MaxAge: limits.KindSessionAge}[r]; l.Kind() != kind {
					t.Errorf("%s is of kind %d, want %d", got, l.Kind(), kind)
				}
			}
			if got != want {
				t.Errorf("%v is by %q, want %q", r, got, want)
			}
		}
		c := w.mustEnter(w.who("a", "plans/gold", "plans/own"))
		is(c, ending.TooBig, "application's limit message-size of plans/own")
		is(c, ending.MaxAge, "subscription's limit session-age of plans/gold")
		is(c, ending.Throttled, "")
		w.SetVersions(map[string]Version{version1: {MaxMessage: 500}}, nil) // which no plan says
		is(c, ending.TooBig, "")
		c.Release()
		is(c, ending.MaxAge, "")
		who := w.who("b", "plans/gold", "")
		who.MaxAge = time.Hour // of the gateway
		sooner := w.mustEnter(who)
		is(sooner, ending.MaxAge, "")
		plain := w.mustEnter(w.who("c", "plans/plain", ""))
		is(plain, ending.TooBig, "")
		is(plain, ending.MaxAge, "")
	})
}
