package api_test

import (
	"slices"
	"sync"
	"testing"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// TestVerdictIsOfItsNumber judges a credential while what it rests on changes to and fro:
// a verdict as of a change reflects exactly that change, neither an older nor a newer one.
// Each change that turns the verdict has an event with a name that it rested on, so that
// no gateway keeps what was turned.
func TestVerdictIsOfItsNumber(t *testing.T) {
	for name, toggle := range map[string]func(w *world, app string) (on, off func()){
		"a subscription comes and goes": func(w *world, app string) (on, off func()) {
			var sub *subscriptionv1.Subscription
			return func() { sub = w.subscribe(w.ann, app, v1) }, func() {
				_, err := w.subs.DeleteSubscription(w.ann, &subscriptionv1.DeleteSubscriptionRequest{Name: sub.GetName()})
				w.must(err)
			}
		},
		"a subscription is restored and blocked": func(w *world, app string) (on, off func()) {
			sub := w.subscribe(w.ann, app, v1).GetName()
			block := func() {
				_, err := w.subs.BlockSubscription(w.root, &subscriptionv1.BlockSubscriptionRequest{Name: sub})
				w.must(err)
			}
			block()
			return func() {
				_, err := w.subs.RestoreSubscription(w.root, &subscriptionv1.RestoreSubscriptionRequest{Name: sub})
				w.must(err)
			}, block
		},
		"a version needs a subscription or none": func(w *world, _ string) (on, off func()) {
			return func() { w.hear(w.free(true)) }, func() { w.hear(w.free(false)) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, w *world) { w.judgeWhile(t, toggle) })
		})
	}
}

func (w *world) judgeWhile(t *testing.T, toggle func(w *world, app string) (on, off func())) {
	w.hear(w.free(false))
	app := w.application(w.ann, "Chat").GetName()
	raw := w.token(w.oauthClient(w.ann, app, catalogv1.Stage_STAGE_PRODUCTION))
	on, off := toggle(w, app)
	type verdict struct {
		asOf    uint64
		granted bool
		restsOn []string
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
				v := verdict{resp.GetAsOfChangeNumber(), resp.GetGrant() != nil, resp.GetGrant().GetRestsOn()}
				if !v.granted {
					v.restsOn = resp.GetDenial().GetRestsOn()
				}
				verdicts[i] = append(verdicts[i], v)
			}
		})
	}
	granted := map[uint64]bool{w.head(): false}
	for range 60 {
		on()
		granted[w.head()] = true
		off()
		granted[w.head()] = false
	}
	close(over)
	readers.Wait()

	events := w.grantEvents(t)
	judged := 0
	for _, of := range verdicts {
		for _, v := range of {
			judged++
			want, turned := granted[v.asOf]
			if !turned || v.granted != want {
				t.Fatalf("as of %d: granted %v, want %v (a change that was made: %v)", v.asOf, v.granted, want, turned)
			}
			_, more := granted[v.asOf+1]
			names := events[v.asOf+1].GetNames()
			if more && !slices.ContainsFunc(names, func(n string) bool { return slices.Contains(v.restsOn, n) }) {
				t.Fatalf("as of %d: the verdict rests on %q, none of which is among the %q of the change that turns it", v.asOf, v.restsOn, names)
			}
		}
	}
	t.Logf("%d verdicts", judged)
}

// grantEvents returns the events of all changes that have one for gateways.
func (w *world) grantEvents(t *testing.T) map[uint64]*backplanev1.GrantEvent {
	t.Helper()
	events := map[uint64]*backplanev1.GrantEvent{}
	rows, err := w.db.QueryContext(t.Context(), `SELECT number, events FROM change ORDER BY number`)
	w.must(err)
	defer rows.Close()
	for rows.Next() {
		var n int64
		var text []byte
		w.must(rows.Scan(&n, &text))
		e := &backplanev1.GrantEvent{}
		found, err := watch.DecodeEvent(text, e)
		w.must(err)
		if found {
			events[uint64(n)] = e
		}
	}
	w.must(rows.Err())
	return events
}
