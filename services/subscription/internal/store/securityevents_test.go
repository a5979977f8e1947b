package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// note keeps an event of now.
func (b *bench) note(kind securitylog.Kind, who, what, from string) store.SecurityEvent {
	b.t.Helper()
	e := store.SecurityEvent{ID: id.New(), Line: securitylog.Line{
		Time: b.now(), Event: securitylog.Event{Kind: kind, Who: who, What: what, Why: "why"}, From: from, Method: "Method",
	}}
	ok(b.t, b.AddSecurityEvents(b.t.Context(), []store.SecurityEvent{e}))
	return e
}

// noted returns the events that a filter leaves, as "event actor subject about".
func (b *bench) noted(f store.SecurityEventFilter, before sqldb.TimeKey) (all []string) {
	b.t.Helper()
	for e, err := range b.SecurityEvents(b.t.Context(), f, before) {
		ok(b.t, err)
		label := func(l store.UserLabel) string {
			if l.Deleted {
				return l.Username + " (deleted)"
			}
			return l.Username
		}
		all = append(all, fmt.Sprintf("%s by %s on %s of %s", e.Kind, label(e.ActorLabel), e.What, label(e.AboutLabel)))
	}
	return all
}

// Events are listed newest first, by kind, by user, by address and by time. The user of a
// sign-in is known by its name, and that of a failed one by the username that was tried. A
// client_id that looks like a user's name is none.
func TestSecurityEvents(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ann, root := store.UserName(b.ann.User), store.UserName(b.admin.User)
		first := b.note(securitylog.SignInFailed, "", "aNN", "192.0.2.1")
		b.add(time.Second)
		b.note(securitylog.SignedIn, ann, "ann", "192.0.2.1")
		b.add(time.Second)
		second := b.note(securitylog.SignInEnded, root, store.SignInName(b.ann.User, "x"), "192.0.2.2")
		b.add(time.Second)
		b.note(securitylog.SignInFailed, "", "nobody\x00\xff", "192.0.2.3")
		b.note(securitylog.ClientRefused, "", ann, "192.0.2.3")
		b.note(securitylog.PasswordChanged, root, store.UserName(b.bob.User), "192.0.2.2")
		ok(t, b.AddSecurityEvents(t.Context(), []store.SecurityEvent{first})) // again, as after a lost answer
		want := []string{
			"PASSWORD_CHANGED by root on " + store.UserName(b.bob.User) + " of bob",
			"CLIENT_REFUSED by  on " + ann + " of ",
			"SIGN_IN_FAILED by  on nobody\uFFFD\uFFFD of ",
			"SIGN_IN_ENDED by root on " + store.SignInName(b.ann.User, "x") + " of ann",
			"SIGNED_IN by ann on ann of ",
			"SIGN_IN_FAILED by  on aNN of ann",
		}
		failed, address := string(securitylog.SignInFailed), "192.0.2.1"
		start, end := first.Time.Add(time.Second).UnixMicro(), second.Time.Add(time.Second).UnixMicro()
		for name, tt := range map[string]struct {
			filter store.SecurityEventFilter
			before sqldb.TimeKey
			want   []string
		}{
			"all":           {store.SecurityEventFilter{}, sqldb.TimeKey{}, want},
			"after a key":   {store.SecurityEventFilter{}, second.ListKey(), want[4:]},
			"of a kind":     {store.SecurityEventFilter{Event: &failed}, sqldb.TimeKey{}, []string{want[2], want[5]}},
			"of a user":     {store.SecurityEventFilter{User: &ann}, sqldb.TimeKey{}, want[3:]},
			"by a user":     {store.SecurityEventFilter{User: &root}, sqldb.TimeKey{}, []string{want[0], want[3]}},
			"of an address": {store.SecurityEventFilter{ClientAddress: &address}, sqldb.TimeKey{}, want[4:]},
			"of a time":     {store.SecurityEventFilter{Happened: page.TimeRange{Start: &start, End: &end}}, sqldb.TimeKey{}, want[3:5]},
			"of all that":   {store.SecurityEventFilter{Event: &failed, User: &ann, ClientAddress: &address, Happened: page.TimeRange{End: &start}}, sqldb.TimeKey{}, want[5:]},
		} {
			if diff := cmp.Diff(tt.want, b.noted(tt.filter, tt.before)); diff != "" {
				t.Errorf("events %s (-want +got):\n%s", name, diff)
			}
		}
		ok(t, b.DeleteUser(t.Context(), b.admin, b.ann.User, allow[store.User]))
		if got := b.noted(store.SecurityEventFilter{User: &ann}, sqldb.TimeKey{}); len(got) != 3 || !strings.HasSuffix(got[0], "of ann (deleted)") || !strings.HasPrefix(got[1], "SIGNED_IN by ann (deleted)") {
			t.Errorf("events of a deleted user: %q", got)
		}
	})
}

// Of each kind the newest are kept, so that a flood of one takes no room from the others,
// and none for longer than 90 days.
func TestSecurityEventsArePurged(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.Bound(store.Bounds{SecurityEvents: 3})
		b.note(securitylog.SignedIn, "users/old", "", "")
		b.add(24 * time.Hour)
		for i := range 5 {
			b.note(securitylog.Denied, fmt.Sprint("users/", i), "", "")
		}
		left := func() (all []string) {
			for e, err := range b.SecurityEvents(t.Context(), store.SecurityEventFilter{}, sqldb.TimeKey{}) {
				ok(t, err)
				all = append(all, e.Who)
			}
			return all
		}
		for _, step := range []struct {
			later time.Duration
			want  []string
		}{
			{0, []string{"users/4", "users/3", "users/2", "users/old"}},
			{89*24*time.Hour + time.Minute, []string{"users/4", "users/3", "users/2"}},
			{24 * time.Hour, nil},
		} {
			b.add(step.later)
			ok(t, b.Purge(t.Context(), store.Retention{}))
			if diff := cmp.Diff(step.want, left()); diff != "" {
				t.Errorf("events after %v more (-want +got):\n%s", step.later, diff)
			}
		}
	})
}
