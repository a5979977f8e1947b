package catalogwatch_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogtest"
	"github.com/tidegatehq/tidegate/services/subscription/internal/catalogwatch"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

const (
	v1   = "apis/a/versions/v1"
	v2   = "apis/a/versions/v2"
	gold = "plans/gold"
)

func newStore(db *sqldb.DB) *store.Store {
	return store.New(db, change.NewLog(identity.Subscription, db, slog.New(slog.DiscardHandler), time.Now, 0), time.Now)
}

func newWatch(c *catalogtest.Catalog, st *store.Store, instance string) *catalogwatch.Watch {
	hello := &backplanev1.Hello{Instance: instance, Kind: "subscription"}
	return catalogwatch.New(backplanev1.NewRouteServiceClient(c.Conn()), st, hello, slog.New(slog.DiscardHandler), time.Now)
}

// start runs a watch and returns what stops it.
func start(t *testing.T, w *catalogwatch.Watch) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run() = %v, want nil", err)
		}
	}
}

// eventually waits until done returns nil.
func eventually(t *testing.T, done func() error) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for err := done(); err != nil; err = done() {
		select {
		case <-poll.C:
		case <-t.Context().Done():
			t.Fatal(err)
		}
	}
}

// reach waits until the store has applied a change of the catalog.
func reach(t *testing.T, st *store.Store, number uint64) {
	t.Helper()
	eventually(t, func() error {
		c, err := st.ReadCursor(t.Context())
		if err == nil && (c.Text == "" || c.Number < number) {
			err = fmt.Errorf("change %d is not applied, the cursor is at %d", number, c.Number)
		}
		return err
	})
}

// TestGatewaysAreKept: an address is one of the gateways that the catalog named last.
func TestGatewaysAreKept(t *testing.T) {
	st, c := newStore(testdb.SQLite(t, store.Schema())), catalogtest.New(t)
	number := c.Put(catalogtest.Route(v1, "users/bob", true, gold))
	for _, gateway := range []string{"wss://one.test", "wss://two.test"} {
		c.Advertise(gateway)
		stop := start(t, newWatch(c, st, "s1"))
		reach(t, st, number)
		eventually(t, func() error {
			got, err := st.AdvertisedAddress(t.Context(), gateway+"/echo")
			if err == nil && got != gateway+"/echo" {
				err = fmt.Errorf("AdvertisedAddress = %q, want one at %s", got, gateway)
			}
			return err
		})
		stop()
	}
	if got, err := st.AdvertisedAddress(t.Context(), "wss://one.test/echo"); got != "" || err != nil {
		t.Errorf("AdvertisedAddress at a former gateway = %q, %v, want none", got, err)
	}
}

func plans(t *testing.T, st *store.Store, name string) (list []string, known bool) {
	t.Helper()
	v, known, err := st.ReadVersion(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return v.Plans, known
}

func TestFollow(t *testing.T) {
	testdb.Each(t, store.Schema(), func(t *testing.T, db *sqldb.DB) {
		c, st := catalogtest.New(t), newStore(db)
		c.Put(catalogtest.Route(v1, "users/o", true, gold))
		stop := start(t, newWatch(c, st, "one"))
		reach(t, st, c.Put(catalogtest.Route(v2, "users/o", false)))
		got, known, err := st.ReadVersion(t.Context(), v1)
		if err != nil || !known || got.Owner != "o" || !got.Published || got.APIName != "Echo" || got.ChangeNumber != 1 || !slices.Equal(got.Plans, []string{gold}) {
			t.Errorf("ReadVersion() = %+v, %v, %v", got, known, err)
		}
		stop()
		// Changes that happen while nobody follows are applied later.
		n := c.Remove(v2)
		stop = start(t, newWatch(c, st, "one"))
		reach(t, st, n)
		if _, known := plans(t, st, v2); known {
			t.Error("a version that was removed while away is still known")
		}
		stop()
	})
}

// TestReplicasCutAtRandom has three replicas that share one database and are
// stopped and started at random moments while the catalog changes: every change
// must be applied once and in order.
func TestReplicasCutAtRandom(t *testing.T) {
	testdb.Each(t, store.Schema(), func(t *testing.T, db *sqldb.DB) {
		c, st := catalogtest.New(t), newStore(db)
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		var wg sync.WaitGroup
		over := make(chan struct{})
		for i := range 3 {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, uint64(i)))
				for last := false; !last; {
					stop := start(t, newWatch(c, st, fmt.Sprint("replica-", i)))
					cut := time.NewTimer(time.Duration(rnd.IntN(60)) * time.Millisecond)
					select {
					case <-cut.C:
					case <-over:
						last = true
						defer stop()
					}
					cut.Stop()
					if !last {
						stop()
					}
				}
				reach(t, st, 200)
			})
		}
		rnd := rand.New(rand.NewPCG(seed, 99))
		removed := 0
		there := map[string]string{}
		for i := range 200 {
			name := fmt.Sprint("apis/a/versions/v", rnd.IntN(5))
			if _, ok := there[name]; ok && rnd.IntN(3) == 0 {
				c.Remove(name)
				delete(there, name)
				removed++
				continue
			}
			there[name] = fmt.Sprint("plans/p", i)
			c.Put(catalogtest.Route(name, "users/o", true, there[name]))
		}
		close(over)
		wg.Wait()
		for i := range 5 {
			name := fmt.Sprint("apis/a/versions/v", i)
			got, known := plans(t, st, name)
			want, wanted := there[name]
			if known != wanted || wanted && !slices.Equal(got, []string{want}) {
				t.Errorf("%s: plans %v, known %v; want %q, %v", name, got, known, want, wanted)
			}
		}
		// Each removal makes one change, unless a snapshot covered it together with
		// later ones.
		head, err := st.Head(t.Context())
		if err != nil || head > uint64(removed) {
			t.Errorf("%d changes for %d removals, %v", head, removed, err)
		}
	})
}

func TestAnotherHistory(t *testing.T) {
	c, st := catalogtest.New(t), newStore(testdb.SQLite(t, store.Schema()))
	c.Put(catalogtest.Route(v1, "users/o", true, gold))
	w := newWatch(c, st, "one")
	stop := start(t, w)
	reach(t, st, c.Put(catalogtest.Route(v2, "users/o", true, gold)))
	stop()
	c.NewHistory()
	n := c.Put(catalogtest.Route(v1, "users/o", true, "plans/restored"))
	stop = start(t, newWatch(c, st, "one"))
	defer stop()
	for list, _ := plans(t, st, v1); !slices.Equal(list, []string{"plans/restored"}); list, _ = plans(t, st, v1) {
		reach(t, st, n)
	}
	if list, known := plans(t, st, v2); !known || len(list) != 0 {
		t.Errorf("%s, which the restored catalog lacks: plans %v, known %v; want kept and closed", v2, list, known)
	}
}

func TestRead(t *testing.T) {
	c, st := catalogtest.New(t), newStore(testdb.SQLite(t, store.Schema()))
	w := newWatch(c, st, "one")
	if found, err := w.Read(t.Context(), v1); found || err != nil {
		t.Errorf("Read(unknown) = %v, %v, want false", found, err)
	}
	c.Put(catalogtest.Route(v1, "users/o", true, gold))
	if found, err := w.Read(t.Context(), v1); !found || err != nil {
		t.Errorf("Read() = %v, %v, want true", found, err)
	}
	if list, known := plans(t, st, v1); !known || !slices.Equal(list, []string{gold}) {
		t.Errorf("plans = %v, %v, want %s", list, known, gold)
	}
	c.Down.Store(true)
	if _, err := w.Read(t.Context(), v2); !fault.Is(err, codes.Unavailable) {
		t.Errorf("Read(catalog away) = %v, want UNAVAILABLE", err)
	}
	c.Down.Store(false)
	// The version goes after it was read and before it is saved.
	gone := false
	c.OnRead = func() {
		if gone {
			return
		}
		gone = true
		n := c.Remove(v1)
		before, err := st.ReadCursor(t.Context())
		if err != nil {
			t.Error(err)
		}
		_, err = st.ApplyCatalogChange(t.Context(), store.CatalogChange{Removed: []string{v1}}, before, store.Cursor{Number: n, Text: "moved"})
		if err != nil {
			t.Error(err)
		}
	}
	if found, err := w.Read(t.Context(), v1); found || err != nil {
		t.Errorf("Read(removed meanwhile) = %v, %v, want false", found, err)
	}
	if _, known := plans(t, st, v1); known {
		t.Error("a version that was removed meanwhile is known")
	}
}
