package api_test

import (
	"strings"
	"sync"
	"testing"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// TestVerdictIsOfItsNumber judges a credential while its subscription comes and
// goes: a verdict as of a change reflects exactly that change, neither an older nor
// a newer one.
func TestVerdictIsOfItsNumber(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.publish(v1)
		app := w.application(w.ann, "Chat").GetName()
		raw := w.token(w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION))
		type verdict struct {
			asOf    uint64
			granted bool
		}
		verdicts := make([][]verdict, 4)
		var readers sync.WaitGroup
		over := make(chan struct{})
		for i := range verdicts {
			readers.Go(func() {
				for {
					select {
					case <-over:
						return
					default:
					}
					resp, err := w.gateway.tokens.VerifyCredential(t.Context(), &backplanev1.VerifyCredentialRequest{Credential: raw, Version: v1, Scheme: backplanev1.CredentialScheme_CREDENTIAL_SCHEME_OAUTH2})
					if err != nil {
						t.Errorf("VerifyCredential() = %v", err)
						return
					}
					verdicts[i] = append(verdicts[i], verdict{resp.GetAsOfChangeNumber(), resp.GetGrant() != nil})
				}
			})
		}
		for range 60 {
			sub := w.subscribe(w.ann, app, v1)
			_, err := w.subs.DeleteSubscription(w.ann, &subscriptionv1.DeleteSubscriptionRequest{Name: sub.GetName()})
			w.must(err)
		}
		close(over)
		readers.Wait()

		left := map[uint64]bool{}
		rows, err := w.db.QueryContext(t.Context(), `SELECT number, events FROM change ORDER BY number`)
		w.must(err)
		defer rows.Close()
		subscribed := false
		for rows.Next() {
			var n int64
			var text []byte
			w.must(rows.Scan(&n, &text))
			e := &backplanev1.GrantEvent{}
			found, err := watch.DecodeEvent(text, e)
			w.must(err)
			if found {
				subscribed = strings.Contains(e.GetNames()[0], "@")
			}
			left[uint64(n)] = subscribed
		}
		w.must(rows.Err())
		judged := 0
		for _, of := range verdicts {
			for _, v := range of {
				judged++
				if want := left[v.asOf]; v.granted != want {
					t.Fatalf("as of %d: granted %v, want %v", v.asOf, v.granted, want)
				}
			}
		}
		t.Logf("%d verdicts", judged)
	})
}
