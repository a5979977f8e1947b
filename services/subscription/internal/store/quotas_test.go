package store_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// Numbers of the API.
const (
	ofSubscription, ofApplication, ofVersion = 1, 2, 3
	ofMessages, ofBytes, ofSessions          = 1, 2, 4
	perMinute, perDay                        = 1, 3
)

// boot is one start of a gateway.
type boot struct {
	b        *bench
	name     store.Boot
	sequence int64
}

func (b *bench) boot(gateway, id string) *boot {
	return &boot{b: b, name: store.Boot{Gateway: gateway, BootID: id}}
}

// take makes one demand of a quota in the present day, which edit may change.
func (g *boot) take(t *testing.T, key store.QuotaKey, amount, spent, want int64, edit ...func(*store.QuotaDemand)) store.QuotaSlice {
	t.Helper()
	start := g.b.now().Truncate(24 * time.Hour)
	d := store.QuotaDemand{
		Key: key, Plan: gold, Limit: "messages-per-day", Amount: amount, Start: start, End: start.Add(24 * time.Hour),
		Begins: true, Spent: spent, Want: want,
	}
	for _, e := range edit {
		e(&d)
	}
	g.sequence++
	slices, err := g.b.TakeQuota(t.Context(), g.name, g.sequence, []store.QuotaDemand{d})
	ok(t, err)
	return slices[0]
}

func giveBack(d *store.QuotaDemand) { d.GiveBack = true }

func opens(d *store.QuotaDemand) { d.Opens, d.UsageReported = true, true }

func ofKey(app, version string) store.QuotaKey {
	return store.QuotaKey{Place: ofSubscription, Application: app, Version: version, Unit: ofMessages, Window: perDay}
}

func wantSlice(t *testing.T, what string, got store.QuotaSlice, granted, used int64, usedUp bool) {
	t.Helper()
	if got.Granted != granted || got.Used != used || got.UsedUp != usedUp {
		t.Errorf("%s: %+v, want granted %d, used %d, used up %t", what, got, granted, used, usedUp)
	}
}

// Of what is left a gateway gets an eighth of what each that asks may have, or what it
// lacks; from 5 it gets one after the other, and then nothing.
func TestSlicesOfAQuota(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		one, two := b.boot("one", "1"), b.boot("two", "1")
		big, small := ofKey("a", "apis/a/versions/big"), ofKey("a", "apis/a/versions/small")
		wantSlice(t, "the first of 1000", one.take(t, big, 1000, 0, 1), 125, 0, false)
		wantSlice(t, "it has what it wants", one.take(t, big, 1000, 50, 75), 125, 50, false)
		wantSlice(t, "asked ahead", one.take(t, big, 1000, 60, 66), 125+109, 60, false)
		wantSlice(t, "another, one of two", two.take(t, big, 1000, 0, 1), 766/16, 60, false)
		wantSlice(t, "it lacks a lot", two.take(t, big, 1000, 0, 400), 400, 60, false)
		wantSlice(t, "there is not what it lacks", two.take(t, big, 1000, 0, 5000), 400+366/16, 60, true)
		for spent := range int64(5) {
			wantSlice(t, "one of 5", one.take(t, small, 5, spent, 1), spent+1, spent, spent == 4)
		}
		wantSlice(t, "after 5", one.take(t, small, 5, 5, 1), 5, 5, true)
		wantSlice(t, "the other after 5", two.take(t, small, 5, 0, 1), 0, 5, true)
	})
}

// Whatever many gateways ask at once, and however often answers are lost, they are never
// given more than the amount; when they give back, all of it is used.
func TestQuotaIsNeverPassed(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		const amount, gateways = 2000, 6
		key := ofKey("a", "apis/a/versions/v")
		var mu sync.Mutex
		var all int64
		var wg sync.WaitGroup
		for g := range gateways {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(g)))
				boot := b.boot(fmt.Sprint("g", g), "1")
				var spent, granted int64
				for {
					slice := boot.take(t, key, amount, spent, granted-spent+1+random.Int64N(20))
					if random.IntN(4) == 0 { // the answer was lost
						slice = boot.take(t, key, amount, spent, granted-spent+1)
					}
					granted = slice.Granted
					if slice.UsedUp && granted == spent {
						break
					}
					use := random.Int64N(granted - spent + 1)
					spent += use
					if random.IntN(5) == 0 {
						slice = boot.take(t, key, amount, spent, 0, giveBack)
						granted = slice.Granted
						if granted != spent {
							t.Errorf("gave back and has %d of %d", granted, spent)
						}
					}
				}
				mu.Lock()
				all += spent
				mu.Unlock()
			})
		}
		wg.Wait()
		if all != amount {
			t.Errorf("%d gateways spent %d, want %d", gateways, all, amount)
		}
	})
}

// Many keys in one call, in any order, by many gateways at once: no call fails, though
// each locks all the windows.
func TestQuotasInOneCall(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		const keys = 12
		errs := race(func(i int) error {
			random := rand.New(rand.NewPCG(2, uint64(i)))
			start := b.now().Truncate(24 * time.Hour)
			for sequence := range int64(4) {
				var demands []store.QuotaDemand
				for _, k := range random.Perm(keys) {
					demands = append(demands, store.QuotaDemand{
						Key: ofKey(fmt.Sprint("a", k), "apis/a/versions/v"), Plan: gold, Limit: "l", Amount: int64(100 + k), Start: start, End: start.Add(24 * time.Hour),
						Begins: true, Want: 1 + sequence,
					})
				}
				slices, err := b.TakeQuota(t.Context(), store.Boot{Gateway: fmt.Sprint("g", i), BootID: "1"}, sequence+1, demands)
				if err != nil {
					return err
				}
				for k, s := range slices {
					if s.Granted < 1+sequence && !s.UsedUp || s.Granted > demands[k].Amount {
						return fmt.Errorf("demand of %d is answered %+v", demands[k].Amount, s)
					}
				}
			}
			return nil
		})
		for _, err := range errs {
			ok(t, err)
		}
	})
}

// A call that is overtaken by a later one, and a call that is made again, change nothing.
func TestQuotaCallsOutOfOrder(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		key := ofKey("a", "apis/a/versions/v")
		g := b.boot("g", "1")
		g.take(t, key, 100, 0, 1)
		g.take(t, key, 100, 12, 30)
		before := g.take(t, key, 100, 12, 0)
		g.sequence = 0
		got := g.take(t, key, 100, 1, 5, giveBack)
		wantSlice(t, "an old call", got, before.Granted, 12, false)
		if got.Spent != 12 {
			t.Errorf("after an old call %d is spent, want 12", got.Spent)
		}
		g.sequence = 10
		wantSlice(t, "made again", g.take(t, key, 100, 12, 30), before.Granted, 12, false)
		wantSlice(t, "and again", g.take(t, key, 100, 12, 30), before.Granted, 12, false)
	})
}

// What a gateway was given and was killed with stays taken; a gateway that was only cut off
// says what it spent, and gives back the rest.
func TestKilledGatewayKeepsItsSlice(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		key := ofKey("a", "apis/a/versions/v")
		killed, other := b.boot("g", "1"), b.boot("g", "2")
		slice := killed.take(t, key, 80, 0, 1)
		drain := func() (got store.QuotaSlice) {
			for {
				next := other.take(t, key, 80, got.Granted, 1)
				if next.Granted == got.Granted {
					return next
				}
				got = next
			}
		}
		wantSlice(t, "the others", drain(), 80-slice.Granted, 80-slice.Granted, true)
		killed.take(t, key, 80, 3, 0, giveBack)
		wantSlice(t, "when it is back", drain(), 77, 80, true)
	})
}

// What is left follows the amount in mid-window, and nobody's use is forgotten.
func TestQuotaInMidWindow(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		key := ofKey("a", "apis/a/versions/v")
		g := b.boot("g", "1")
		g.take(t, key, 10, 0, 10)
		wantSlice(t, "used up", g.take(t, key, 10, 10, 1), 10, 10, true)
		wantSlice(t, "a greater amount", g.take(t, key, 26, 10, 1), 12, 10, false)
		wantSlice(t, "a smaller one", g.take(t, key, 8, 11, 2), 12, 11, true)
		u := list(t, b.QuotaUses(t.Context(), b.admin, store.QuotaFilter{}, store.QuotaUseKey{}))
		if len(u) != 1 || u[0].Amount != 8 || u[0].Used != 11 || u[0].Overdraft != 0 {
			t.Errorf("uses = %+v, want 11 of 8 without an overdraft", u)
		}
		// It was passed while the service was away.
		wantSlice(t, "owed", g.take(t, key, 8, 15, 1), 15, 15, true)
		u = list(t, b.QuotaUses(t.Context(), b.admin, store.QuotaFilter{}, store.QuotaUseKey{}))
		if len(u) != 1 || u[0].Used != 15 || u[0].Overdraft != 3 {
			t.Errorf("uses = %+v, want 15 with an overdraft of 3", u)
		}
		b.add(24 * time.Hour)
		if u := list(t, b.QuotaUses(t.Context(), b.admin, store.QuotaFilter{}, store.QuotaUseKey{})); len(u) != 0 {
			t.Errorf("in the next window there are %+v", u)
		}
	})
}

// A gateway that has forgotten what it spent opens the quota, and is told.
func TestQuotaIsOpenedAgain(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		key := ofKey("a", "apis/a/versions/v")
		g := b.boot("g", "1")
		if s := g.take(t, key, 100, 0, 1, opens, func(d *store.QuotaDemand) { d.UsageReported = false }); !s.ReportUsage || s.Granted != 0 {
			t.Errorf("with usage that is not reported: %+v", s)
		}
		if n := b.count("quota_window"); n != 0 {
			t.Errorf("%d windows have begun", n)
		}
		wantSlice(t, "opened", g.take(t, key, 100, 0, 1, opens), 12, 0, false)
		g.take(t, key, 100, 7, 0, giveBack)
		for range 2 { // the answer may be lost
			s := g.take(t, key, 100, 2, 1, opens, func(d *store.QuotaDemand) { d.UsageReported = false })
			wantSlice(t, "opened again", s, 7+11, 7, false)
			if s.Spent != 7 {
				t.Errorf("spent %d, want 7", s.Spent)
			}
		}
		wantSlice(t, "with what it spent since", g.take(t, key, 100, 9, 0), 18, 9, false)
	})
}

// What passed while another plan was there is of the quota, too, when it comes back in the same
// window. While another gateway has something left, usage may be of that.
func TestQuotaComesBack(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		const v = "apis/a/versions/v"
		key := ofKey("a", v)
		g, other := b.boot("g", "1"), b.boot("h", "1")
		g.take(t, key, 100, 0, 1, opens)
		g.take(t, key, 100, 6, 0, giveBack)
		report := func(sequence, sessions int64) {
			t.Helper()
			_, err := b.AddUsage(t.Context(), batch("b", sequence), []store.Usage{usage(b.now().Truncate(time.Minute), v, "a", "s", sessions)}) // 6 messages a session
			ok(t, err)
		}
		report(1, 1)
		if s := g.take(t, key, 100, 0, 1, opens, func(d *store.QuotaDemand) { d.UsageReported = false }); s.ReportUsage || s.Used != 6 {
			t.Errorf("come back without a gap: %+v", s)
		}
		g.take(t, key, 100, 6, 0, giveBack)
		report(2, 5)
		if s := g.take(t, key, 100, 0, 1, opens, func(d *store.QuotaDemand) { d.UsageReported = false }); !s.ReportUsage || s.Granted != 0 {
			t.Errorf("with usage that is not reported: %+v", s)
		}
		for range 2 { // the answer may be lost
			if s := g.take(t, key, 100, 0, 1, opens); s.Used != 36 || s.Spent != 6 {
				t.Errorf("come back: %+v, want 36 used, of which the gateway spent 6", s)
			}
		}
		report(3, 2)
		if s := other.take(t, key, 100, 0, 1, opens); s.Used != 36 {
			t.Errorf("while another has something left: %d used, want 36", s.Used)
		}
	})
}

// Of a window that is neither the present one nor beside it nothing is given, unless it was
// begun in its time.
func TestQuotaOfAnotherTime(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		key := ofKey("a", "apis/a/versions/v")
		g := b.boot("g", "1")
		g.take(t, key, 100, 0, 1)
		late := func(d *store.QuotaDemand) { d.Begins = false }
		wantSlice(t, "begun", g.take(t, key, 100, 12, 1, late), 12+11, 12, false)
		wantSlice(t, "not begun", g.take(t, key, 100, 5, 1, late, func(d *store.QuotaDemand) {
			d.Start, d.End = d.Start.AddDate(0, 0, 7), d.End.AddDate(0, 0, 7)
		}), 5, 0, true)
		if n := b.count("quota_window"); n != 1 {
			t.Errorf("%d windows, want 1", n)
		}
	})
}

// An event is kept of 80 and of 100 per cent, once in a window.
func TestQuotaEvents(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		app := b.application(b.ann, "Chat")
		b.publish(b.bob.User, "apis/a/versions/v")
		key := ofKey(app.ID, "apis/a/versions/v")
		g := b.boot("g", "1")
		events := func() (all []string) {
			for _, e := range list(t, b.QuotaEvents(t.Context(), b.admin, store.QuotaFilter{}, store.QuotaEventKey{})) {
				all = append(all, fmt.Sprintf("%s %d%% %d of %d", e.Start.Format("02"), e.Percent, e.Used, e.Amount))
			}
			return all
		}
		want := func(what, events string, got []string) {
			t.Helper()
			if strings.Join(got, ", ") != events {
				t.Errorf("%s: %q, want %s", what, got, events)
			}
		}
		g.take(t, key, 9, 7, 1)
		want("7 of 9", "", events())
		b.add(time.Second)
		g.take(t, key, 9, 8, 1)
		g.take(t, key, 9, 8, 1)
		want("8 of 9", "02 80% 8 of 9", events())
		b.add(time.Second)
		g.take(t, key, 9, 9, 1)
		g.take(t, key, 9, 10, 1)
		want("9 of 9", "02 100% 9 of 9, 02 80% 8 of 9", events())
		_, err := b.ResetQuota(t.Context(), b.admin, key.ID(), allow[store.QuotaUse])
		ok(t, err)
		g.take(t, key, 9, 19, 1)
		want("again in the window", "02 100% 9 of 9, 02 80% 8 of 9", events())
		b.add(24 * time.Hour)
		g.take(t, key, 9, 9, 1)
		want("both at once", "03 100% 9 of 9, 03 80% 9 of 9, 02 100% 9 of 9, 02 80% 8 of 9", events())
		from := b.now().UnixMicro()
		newest := list(t, b.QuotaEvents(t.Context(), b.ann, store.QuotaFilter{Application: &app.ID, Noted: page.TimeRange{Start: &from}}, store.QuotaEventKey{}))
		if len(newest) != 2 || newest[0].Labels != (store.Labels{API: "Echo", Version: "1.0.0", Application: "Chat", Owner: "ann"}) {
			t.Errorf("Ann's newest events are %+v", newest)
		}
		minute := b.now().Truncate(time.Minute)
		byMinute := key
		byMinute.Window = perMinute
		g.take(t, byMinute, 9, 8, 1, func(d *store.QuotaDemand) { d.Start, d.End = minute, minute.Add(time.Minute) })
		if got := events(); len(got) != 5 {
			t.Errorf("events with one of a minute: %q", got)
		}
		b.add(88 * 24 * time.Hour)
		ok(t, b.Purge(t.Context(), store.Retention{}))
		want("a day before the end", "03 100% 9 of 9, 03 80% 9 of 9, 02 100% 9 of 9, 02 80% 8 of 9", events())
		b.add(3 * 24 * time.Hour)
		ok(t, b.Purge(t.Context(), store.Retention{}))
		want("after 90 days", "", events())
	})
}

// Resetting and adding hold in the present window, are changes with what they did, and are
// for those who may.
func TestQuotaIsResetAndAddedTo(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		app := b.application(b.ann, "Chat")
		b.publish(b.bob.User, "apis/a/versions/v")
		key := ofKey(app.ID, "apis/a/versions/v")
		g := b.boot("g", "1")
		_, err := b.ResetQuota(t.Context(), b.admin, key.ID(), allow[store.QuotaUse])
		refused(t, "reset a quota that is not used", err, codes.NotFound, "quotaUses/"+key.ID()+" not found")
		g.take(t, key, 10, 0, 10)
		g.take(t, key, 10, 10, 1)
		none := identity.Viewer{User: b.user("eve", "subscriber")}
		_, err = b.ResetQuota(t.Context(), none, key.ID(), allow[store.QuotaUse])
		refused(t, "reset what one does not see", err, codes.NotFound, "quotaUses/"+key.ID()+" not found")
		denied := fmt.Errorf("no")
		head := b.head()
		if _, err = b.AddQuota(t.Context(), b.ann, key.ID(), 5, func(q store.QuotaUse) error {
			if q.VersionOwner != b.bob.User || q.Label() != "Chat to Echo/1.0.0: messages-per-day" {
				t.Errorf("asked about %+v", q)
			}
			return denied
		}); err == nil || !strings.Contains(err.Error(), "no") {
			t.Errorf("AddQuota = %v, want what the check says", err)
		}
		u, err := b.ResetQuota(t.Context(), b.bob, key.ID(), allow[store.QuotaUse])
		ok(t, err)
		if u.Used != 0 || u.Amount != 10 {
			t.Errorf("reset: %+v, want 0 of 10 used", u)
		}
		wantSlice(t, "after the reset", g.take(t, key, 10, 10, 10), 20, 0, true)
		wantSlice(t, "used again", g.take(t, key, 10, 20, 1), 20, 10, true)
		u, err = b.AddQuota(t.Context(), b.bob, key.ID(), 5, allow[store.QuotaUse])
		ok(t, err)
		if u.Used != 10 || u.Amount != 10 || u.Added != 5 {
			t.Errorf("added to: %+v, want 10 of 10 and 5 used", u)
		}
		wantSlice(t, "after adding", g.take(t, key, 10, 20, 9), 21, 10, true)
		_, err = b.AddQuota(t.Context(), b.bob, key.ID(), 1e15-4, allow[store.QuotaUse])
		refused(t, "add too much", err, codes.InvalidArgument, "amount: at most 1000000000000000 may be added in a window, and 5 were")
		name := "- quotaUses/" + key.ID()
		if got := b.events(head); len(got) != 2 || got[0] != name || got[1] != name {
			t.Errorf("changes are %q, want two of the quota", got)
		}
		b.add(24 * time.Hour)
		wantSlice(t, "the next day", g.take(t, key, 10, 0, 10), 10, 0, true)
	})
}

// Users see the quotas of their applications and of their versions, administrators all.
func TestQuotasThatUsersSee(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		app, other := b.application(b.ann, "Chat"), b.application(b.bob, "Other")
		b.publish(b.bob.User, "apis/a/versions/v")
		g := b.boot("g", "1")
		keys := map[string]store.QuotaKey{
			"ann at v":    ofKey(app.ID, "apis/a/versions/v"),
			"ann at w":    ofKey(app.ID, "apis/a/versions/w"),
			"ann":         {Place: ofApplication, Application: app.ID, Unit: ofBytes, Window: perDay},
			"bob":         {Place: ofApplication, Application: other.ID, Unit: ofMessages, Window: perDay},
			"v":           {Place: ofVersion, Version: "apis/a/versions/v", Unit: ofSessions, Window: perDay},
			"v, observed": {Place: ofVersion, Version: "apis/a/versions/v", Unit: ofSessions, Window: perDay, Observe: true},
		}
		names := map[string]string{}
		for name, key := range keys {
			g.take(t, key, 10, 1, 1)
			names[key.ID()] = name
		}
		g.take(t, store.QuotaKey{Place: ofApplication, Application: app.ID, Unit: ofSessions, Window: perDay}, 10, 0, 1) // not used
		version, unit := "apis/a/versions/v", int64(ofSessions)
		for _, tt := range []struct {
			viewer identity.Viewer
			filter store.QuotaFilter
			want   map[string]bool
		}{
			{b.admin, store.QuotaFilter{}, map[string]bool{"ann at v": true, "ann at w": true, "ann": true, "bob": true, "v": true, "v, observed": true}},
			{b.ann, store.QuotaFilter{}, map[string]bool{"ann at v": true, "ann at w": true, "ann": true}},
			{b.bob, store.QuotaFilter{}, map[string]bool{"ann at v": true, "bob": true, "v": true, "v, observed": true}},
			{b.ann, store.QuotaFilter{Version: &version}, map[string]bool{"ann at v": true}},
			{b.admin, store.QuotaFilter{Unit: &unit}, map[string]bool{"v": true, "v, observed": true}},
			{identity.Viewer{User: b.user("eve", "subscriber")}, store.QuotaFilter{}, map[string]bool{}},
		} {
			got := map[string]bool{}
			for _, u := range list(t, b.QuotaUses(t.Context(), tt.viewer, tt.filter, store.QuotaUseKey{})) {
				got[names[u.ID]] = true
			}
			if fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("%+v with %+v sees %v, want %v", tt.viewer, tt.filter, got, tt.want)
			}
		}
	})
}

// A window is forgotten some time after its end, with its slices.
func TestOldQuotaWindowsArePurged(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		g := b.boot("g", "1")
		minute := b.now().Truncate(time.Minute)
		key := store.QuotaKey{Place: ofVersion, Version: "apis/a/versions/v", Unit: ofMessages, Window: perMinute}
		g.take(t, key, 10, 0, 1, func(d *store.QuotaDemand) { d.Start, d.End = minute, minute.Add(time.Minute) })
		g.take(t, ofKey("a", "apis/a/versions/v"), 10, 0, 1)
		b.add(10 * time.Minute)
		ok(t, b.Purge(t.Context(), store.Retention{}))
		if n := b.count("quota_window"); n != 2 {
			t.Errorf("%d windows before the time, want 2", n)
		}
		b.add(time.Minute)
		ok(t, b.Purge(t.Context(), store.Retention{}))
		if windows, slices := b.count("quota_window"), b.count("quota_slice"); windows != 1 || slices != 1 {
			t.Errorf("%d windows and %d slices, want that of the day", windows, slices)
		}
	})
}

// A window that was forgotten does not begin again: not with the demand of a gateway that
// is late, nor with that of one whose clock is.
func TestForgottenQuotaWindowStaysClosed(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		g, key := b.boot("g", "1"), ofKey("a", "apis/a/versions/v")
		day := b.now().Truncate(24 * time.Hour)
		inDay := func(d *store.QuotaDemand) { d.Start, d.End = day, day.Add(24*time.Hour) }
		g.take(t, key, 10, 0, 10)
		b.add(day.Add(24*time.Hour + 4*time.Minute).Sub(b.now()))
		wantSlice(t, "a late first demand", g.take(t, ofKey("b", "apis/a/versions/v"), 10, 3, 0, inDay), 3, 3, false)
		b.add(10 * time.Minute)
		ok(t, b.Purge(t.Context(), store.Retention{}))
		wantSlice(t, "after it was forgotten", g.take(t, key, 10, 10, 10, inDay), 10, 0, true)
		if n := b.count("quota_window"); n != 0 {
			t.Errorf("%d windows, want none", n)
		}
	})
}

// What passed before a reset and is given back after it does not make less than nothing
// used.
func TestGivenBackAfterAReset(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		g, key := b.boot("g", "1"), ofKey("a", "apis/a/versions/v")
		g.take(t, key, 10, 0, 10)
		g.take(t, key, 10, 10, 0)
		_, err := b.ResetQuota(t.Context(), b.admin, key.ID(), allow[store.QuotaUse])
		ok(t, err)
		wantSlice(t, "two of ten did not pass", g.take(t, key, 10, 8, 0), 10, 0, false)
		uses := list(t, b.QuotaUses(t.Context(), b.admin, store.QuotaFilter{}, store.QuotaUseKey{}))
		if len(uses) != 1 || uses[0].Used != 0 {
			t.Errorf("uses = %+v, want one with nothing used", uses)
		}
	})
}

// A quota that is given in mid-window begins with what usage says of the window, whatever
// counted it, less what the gateway will say itself; one that was there from the beginning
// of the window begins with nothing.
func TestQuotaBeginsWithUsage(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		const v = "apis/a/versions/v"
		day, minute := b.now().Truncate(24*time.Hour), b.now().Truncate(time.Minute)
		_, err := b.AddUsage(t.Context(), batch("b", 1), []store.Usage{ // 6 messages and 10 bytes a session
			usage(minute, v, "a", "s", 1), usage(minute.Add(-time.Minute), v, "a", "s", 2), usage(minute, v, "other", "t", 4),
			usage(day.Add(-time.Minute), v, "a", "s", 100), usage(minute, "apis/a/versions/w", "a", "u", 8),
		})
		ok(t, err)
		g := b.boot("g", "1")
		inMinute := func(d *store.QuotaDemand) { d.Start, d.End = minute, minute.Add(time.Minute) }
		for _, tt := range []struct {
			what string
			key  store.QuotaKey
			edit func(*store.QuotaDemand)
			used int64
		}{
			{"messages of a subscription in a day", ofKey("a", v), opens, 6 * 3},
			{"that were there", ofKey("a", "apis/a/versions/w"), func(*store.QuotaDemand) {}, 0},
			{"bytes of an application", store.QuotaKey{Place: ofApplication, Application: "a", Unit: ofBytes, Window: perDay}, opens, 10 * 11},
			{"sessions of a version", store.QuotaKey{Place: ofVersion, Version: v, Unit: ofSessions, Window: perDay}, opens, 7},
			{"messages of a version in a minute", store.QuotaKey{Place: ofVersion, Version: v, Unit: ofMessages, Window: perMinute},
				func(d *store.QuotaDemand) { opens(d); inMinute(d) }, 6 * 5},
			{"of which the gateway will say some", store.QuotaKey{Place: ofApplication, Application: "a", Unit: ofMessages, Window: perDay},
				func(d *store.QuotaDemand) { opens(d); d.Spent = 60 }, 6},
		} {
			if got := g.take(t, tt.key, 1000, 0, 1, tt.edit); got.Used != tt.used {
				t.Errorf("%s: %d used, want %d", tt.what, got.Used, tt.used)
			}
		}
		// What is on observe has counted more by now than was reported as usage.
		g.take(t, ofKey("a", v), 1000, 22, 1)
		observed := ofKey("a", v)
		observed.Observe = true
		if got := g.take(t, observed, 1000, 0, 1, opens); got.Used != 18+22 {
			t.Errorf("on observe: %d used, want what the other has counted", got.Used)
		}
	})
}
