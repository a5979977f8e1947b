package grant_test

import (
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/faulttest"
)

var planted = []faulttest.Fault{
	{Name: "a session that is not confirmed", File: "refresh.go", Text: "if s.Grant() == nil || c.replay(s, p) {", Fault: "if s.Grant() != nil || c.replay(s, p) {"},
	{Name: "an event that is in no history", File: "apply.go", Text: "c.history.add(changeNumber, e, time.Now())", Fault: "c.history.add(changeNumber, Event{}, time.Now())"},
	{Name: "a grant that outlives its event in the cache", File: "apply.go", Text: "c.grants.evict(e.Names)", Fault: "c.grants.evict(nil)"},
	{Name: "a history that seems to go back for ever", File: "history.go", Text: "if asOf < h.startChangeNumber {", Fault: "if asOf < 0*h.startChangeNumber {"},
	{Name: "a position behind the first event that an answer does not know", File: "history.go", Text: "return h.start + Position(n), true", Fault: "return h.start + Position(n) + 1, true"},
	{Name: "live sessions that a reset forgets", File: "apply.go", Text: "sessions := c.sessions.Granted()", Fault: "sessions := c.sessions.Granted()[:0]"},
	{Name: "grants that are kept over a reset", File: "apply.go", Text: "c.grants.clear()", Fault: "_ = c.grants"},
	{Name: "something lost that is good again", File: "refresh.go", Text: "if !slices.Contains(st.Grant.RestsOn, name) {", Fault: "if name == \"\" {"},
	{Name: "a revocation that ends what was issued after it", File: "event.go", Text: "g.Issued.Before(e.IssuedBefore)", Fault: "!e.IssuedBefore.Before(g.Issued)"},
	{Name: "a revocation after a restore that goes by numbers", File: "event.go", Text: "g.Issued.Before(e.IssuedBefore)", Fault: "g.Issued.Change < e.IssuedBefore.Change"},
	{Name: "a revocation by name that ends another's token", File: "event.go", Text: "(e.Application == \"\" || g.Application == e.Application)", Fault: "e.Names != nil"},
	{Name: "a revocation that only live sessions know of", File: "refresh.go", Text: "if !e.affects(g) {", Fault: "if e.Kind == Revoked {"},
	{Name: "an answer about a ticket that attempts share", File: "lru.go", Text: "if c.Type == credential.Ticket {", Fault: "if c.Type == credential.Ticket && c.Value == \"\" {"},
	{Name: "a renewal that knows no event", File: "renew.go", Text: "if !ok || len(touching) > 0 {", Fault: "if !ok && len(touching) > 0 {"},
	{Name: "a renewal while an event is applied", File: "renew.go", Text: "c.moving <- struct{}{}\n\tdefer func() { <-c.moving }()\n", Fault: ""},
	{Name: "a renewal while grants are refreshed", File: "renew.go", Text: "if err := c.beginRefresh(ctx); err != nil {\n\t\treturn fmt.Errorf(\"%w: %w\", ErrUnavailable, err)\n\t}\n\tdefer c.endRefresh()\n", Fault: "if ctx.Err() != nil {\n\t\treturn fmt.Errorf(\"%w\", ErrUnavailable)\n\t}\n"},
	{Name: "a refresh that is lost with a call that failed", File: "refresh.go", Text: "c.queue.add(sessions...)\n\t\t}\n\t\treturn true, err", Fault: "_ = sessions\n\t\t}\n\t\treturn true, err"},
}

// TestPlantedFaults plants one fault after the other, and plays the interleavings that
// TestSurvivorsAreTheModels plays: they must find each.
func TestPlantedFaults(t *testing.T) {
	t.Parallel()
	faulttest.Find(t, planted, "TestSurvivorsAreTheModels")
}
