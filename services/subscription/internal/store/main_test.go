package store_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/kit/watch"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// bench is a store with a clock and some users.
type bench struct {
	*store.Store
	t     *testing.T
	db    *sqldb.DB
	log   *change.Log
	mu    sync.Mutex
	clock time.Time
	// Admin sees all; Ann and Bob are users.
	admin    identity.Viewer
	ann, bob identity.Viewer
}

const (
	gold   = "plans/gold"
	silver = "plans/silver"
)

// each runs a test on each engine.
func each(t *testing.T, test func(t *testing.T, b *bench)) {
	t.Helper()
	testdb.Each(t, store.Schema(), func(t *testing.T, db *sqldb.DB) { test(t, newBench(t, db)) })
}

func newBench(t *testing.T, db *sqldb.DB) *bench {
	t.Helper()
	b := &bench{t: t, db: db, clock: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)}
	b.log = change.NewLog(identity.Subscription, db, slog.New(slog.DiscardHandler), b.now, 0)
	b.Store = store.New(db, b.log, b.now)
	ok(t, b.Install(t.Context(), store.Installation{Issuer: "https://x.test", Canary: []byte{1}, RefreshKey: []byte{1}}, "hash"))
	_, _, _, err := b.Password(t.Context(), "admin")
	ok(t, err)
	b.admin = identity.Viewer{User: b.user("root", "admin"), All: true}
	b.ann = identity.Viewer{User: b.user("ann", "subscriber")}
	b.bob = identity.Viewer{User: b.user("bob", "subscriber")}
	return b
}

// Purge deletes what is older than keep.
func (b *bench) Purge(ctx context.Context, keep store.Retention) error {
	b.Keep(keep)
	return b.Store.Purge(ctx)
}

// used returns the usage that v may see, by all that it can be grouped by and, where q
// does not say otherwise, by the hour.
func (b *bench) used(v identity.Viewer, q store.UsageQuery) []store.Usage {
	b.t.Helper()
	if q.Step == 0 {
		q.Step = time.Hour
	}
	q.GroupBy = []string{"version", "application", "subscription", "plan"}
	rows, err := b.Usage(b.t.Context(), v, q, store.UsageKey{}, 1000)
	ok(b.t, err)
	return rows
}

func (b *bench) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.clock
}

func (b *bench) add(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clock = b.clock.Add(d)
}

func (b *bench) user(username string, roles ...string) string {
	b.t.Helper()
	p, _, err := b.CreateUser(b.t.Context(), requestid.Request{}, store.User{Username: username, Roles: roles}, "hash of "+username)
	ok(b.t, err)
	return p.ID
}

func (b *bench) application(v identity.Viewer, name string) store.Application {
	b.t.Helper()
	a, err := b.CreateApplication(b.t.Context(), requestid.Request{}, store.Application{Owner: v.User, DisplayName: name})
	ok(b.t, err)
	return a
}

func (b *bench) oauthClient(v identity.Viewer, app string, stage store.Stage) store.OAuthClient {
	b.t.Helper()
	c, err := b.CreateOAuthClient(b.t.Context(), requestid.Request{}, v, store.OAuthClient{Name: resourcename.OAuthClient{Application: app}, Stage: stage, ClientID: fmt.Sprintf("id-%s-%d", app, stage)}, allow[store.Application])
	ok(b.t, err)
	return c
}

func (b *bench) secret(v identity.Viewer, c store.OAuthClient, hash string, expires time.Time) store.Secret {
	b.t.Helper()
	s, _, err := b.CreateSecret(b.t.Context(), requestid.Request{}, v, c.Name, expires, []byte(hash), allow[store.OAuthClient])
	ok(b.t, err)
	return s
}

// publish makes versions published under both plans, as the catalog would say.
func (b *bench) publish(owner string, names ...string) {
	b.t.Helper()
	var all []store.Version
	for _, name := range names {
		all = append(all, version(name, owner, true, gold, silver))
	}
	b.catalog(store.CatalogChange{Versions: all})
}

func version(name, owner string, published bool, plans ...string) store.Version {
	api, _, _ := strings.Cut(name, "/versions/")
	return store.Version{Name: name, API: api, APIName: "Echo", Version: "1.0.0", Owner: owner, Published: published, Plans: plans}
}

// catalog applies the catalog's next change.
func (b *bench) catalog(c store.CatalogChange) store.Cursor {
	b.t.Helper()
	before, err := b.ReadCursor(b.t.Context())
	ok(b.t, err)
	after := cursor(before.Number + 1)
	for i := range c.Versions {
		c.Versions[i].ChangeNumber = after.Number
	}
	applied, err := b.ApplyCatalogChange(b.t.Context(), c, before, after)
	ok(b.t, err)
	if !applied {
		b.t.Fatalf("catalog's change %d is not applied", after.Number)
	}
	return after
}

func cursor(n uint64) store.Cursor { return store.Cursor{Number: n, Text: fmt.Sprintf("c:%d", n)} }

func (b *bench) subscribe(v identity.Viewer, app, name string) store.Subscription {
	b.t.Helper()
	s, err := b.CreateSubscription(b.t.Context(), requestid.Request{}, v, store.Subscription{Application: app, Version: name, Plan: gold}, allow[store.Application])
	ok(b.t, err)
	return s
}

// events returns what the change log has after a number, as "cause name name".
func (b *bench) events(after uint64) []string {
	b.t.Helper()
	rows, err := b.db.QueryContext(b.t.Context(), `SELECT resource, events FROM change WHERE number > $1 ORDER BY number`, int64(after))
	ok(b.t, err)
	defer rows.Close()
	var all []string
	for rows.Next() {
		var resource string
		var event []byte
		ok(b.t, rows.Scan(&resource, &event))
		e := &backplanev1.GrantEvent{}
		found, err := watch.DecodeEvent(event, e)
		ok(b.t, err)
		if !found {
			all = append(all, "- "+resource)
			continue
		}
		cause := ""
		if e.GetCause() != backplanev1.GrantEvent_CAUSE_UNSPECIFIED {
			cause = strings.TrimPrefix(e.GetCause().String(), "CAUSE_") + " "
		}
		all = append(all, cause+strings.Join(e.GetNames(), " "))
	}
	ok(b.t, rows.Err())
	return all
}

func (b *bench) head() uint64 {
	b.t.Helper()
	n, err := b.Head(b.t.Context())
	ok(b.t, err)
	return n
}

// latest returns the moment of the newest change.
func (b *bench) latest() moment.Moment {
	b.t.Helper()
	m, err := change.Latest(b.t.Context(), b.db)
	ok(b.t, err)
	return m
}

// count returns how many rows a table has.
func (b *bench) count(table string) int {
	b.t.Helper()
	var n int
	ok(b.t, b.db.QueryRowContext(b.t.Context(), "SELECT count(*) FROM "+table).Scan(&n))
	return n
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused checks that an error is a fault with a code and a text.
func refused(t *testing.T, what string, err error, code codes.Code, text string) {
	t.Helper()
	if !fault.Is(err, code) || !strings.Contains(err.Error(), text) {
		t.Errorf("%s = %v, want %v with %q", what, err, code, text)
	}
}

// race runs do 16 times at once and returns the errors.
func race(do func(i int) error) []error {
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errs
}

// one checks that one of several attempts succeeded and the others were refused.
func one(t *testing.T, what string, errs []error, code codes.Code) {
	t.Helper()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !fault.Is(err, code):
			t.Errorf("%s: %v, want %v", what, err, code)
		}
	}
	if won != 1 {
		t.Errorf("%s: %d of %d won, want 1", what, won, len(errs))
	}
}

// allow allows everything.
func allow[Row any](Row) error { return nil }

// list collects the rows of a list.
func list[Row any](t *testing.T, rows iter.Seq2[Row, error]) []Row {
	t.Helper()
	var all []Row
	for row, err := range rows {
		ok(t, err)
		all = append(all, row)
	}
	return all
}

// onOffer restricts a subscription to the plans that its version offers.
func onOffer(store.Subscription) bool { return false }

// givePlan gives an application a plan, as an administrator does.
func (b *bench) givePlan(app, plan string) {
	b.t.Helper()
	_, err := b.UpdateApplication(b.t.Context(), b.admin, app, func(a store.Application) (store.Application, error) {
		a.Plan = plan
		return a, nil
	})
	ok(b.t, err)
}

// subscriptionless is a published version that needs no subscription, or does.
func subscriptionless(name string, is bool) store.Version {
	v := version(name, "o", true, gold, silver)
	v.Subscriptionless = is
	return v
}
