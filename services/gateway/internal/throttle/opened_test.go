package throttle

import (
	"testing"
	"time"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// TestOpened: usage counts a session in the minute in which its quota did.
func TestOpened(t *testing.T) {
	inWorld(t, func(w *world) {
		w.put(planOf("gold", quota(catalogv1.Unit_UNIT_SESSIONS, 10)), planOf("silver", messages(10)))
		time.Sleep(time.Minute)
		h, err := w.Enter(t.Context(), w.who("a", "plans/gold", ""))
		if err != nil {
			t.Fatal(err)
		}
		defer h.Release()
		if at := h.Opened(); at != 0 {
			t.Errorf("before it is opened, it was at %d", at)
		}
		time.Sleep(time.Second)
		if err := h.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if at := time.Duration(h.Opened()); at != time.Minute+time.Second {
			t.Errorf("opened after %v, want a minute and a second", at)
		}
		plain, err := w.Enter(t.Context(), w.who("b", "plans/silver", ""))
		if err != nil {
			t.Fatal(err)
		}
		defer plain.Release()
		if err := plain.Open(t.Context()); err != nil || plain.Opened() != 0 {
			t.Errorf("Open = %v, at %d, want no time where no quota counts", err, plain.Opened())
		}
	})
}
