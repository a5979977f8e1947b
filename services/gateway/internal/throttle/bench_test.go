package throttle

import (
	"log/slog"
	"testing"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/gateway/internal/grant"
)

// inGroup returns what has a session come, in a group without plans or with limits at four
// places that it does not come near.
func inGroup(t testing.TB, limited bool) (come func() *Hold) {
	t.Helper()
	const plenty = 1_000_000_000
	w := &world{ledger: &ledger{accounts: map[QuotaKey]*account{}}}
	c := New(Config{Engine: (*engine)(w), Ledger: w.ledger, Fetch: w.fetch, MaxMessage: 1 << 20, Log: slog.New(slog.DiscardHandler)})
	t.Cleanup(c.Close)
	who := Who{Version: version1, Grant: &grant.Grant{Application: "a"}}
	if limited {
		shared := func() []*catalogv1.Limit {
			return []*catalogv1.Limit{
				rate("messages-rate", catalogv1.Unit_UNIT_MESSAGES, plenty), rate("bytes-rate", catalogv1.Unit_UNIT_BYTES, plenty),
				rate("handshakes-rate", catalogv1.Unit_UNIT_HANDSHAKES, plenty), quota(catalogv1.Unit_UNIT_MESSAGES, plenty), connections(1_000_000, refuse),
			}
		}
		own := []*catalogv1.Limit{
			rate("own-messages", catalogv1.Unit_UNIT_MESSAGES, plenty, perConnection), rate("own-bytes", catalogv1.Unit_UNIT_BYTES, plenty, perConnection),
		}
		c.SetPlans([]*catalogv1.Plan{planOf("narrow", append(own, shared()...)...), planOf("wide", shared()...)}, nil)
		c.SetVersions(map[string]Version{version1: {TrafficPlan: "plans/wide"}}, nil)
		who.Grant.Plan, who.Grant.ApplicationPlan = "plans/narrow", "plans/wide"
	}
	return func() *Hold {
		h, err := c.Enter(t.Context(), who)
		if err == nil {
			err = h.Open(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		h.Bind(nil)
		h.Limits()
		return h
	}
}

// BenchmarkHold has a session come and go, in a group of 5000.
func BenchmarkHold(b *testing.B) {
	for _, limited := range []bool{false, true} {
		b.Run(map[bool]string{false: "limits=false", true: "limits=true"}[limited], func(b *testing.B) {
			come := inGroup(b, limited)
			for range 5000 {
				defer come().Release()
			}
			b.ReportAllocs()
			for b.Loop() {
				come().Release()
			}
		})
	}
}
