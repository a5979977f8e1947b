package access

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/watch"
)

// newWatch returns a watch that follows nobody.
func newWatch(service, instance string) *Watch {
	return New(backplanev1.NewAccessServiceClient(nil), service, instance, nil, time.Now)
}

func ended(name string, change uint64, until time.Time) *backplanev1.EndedAccess {
	return &backplanev1.EndedAccess{Name: name, ChangeNumber: change, ExpireTime: timestamppb.New(until)}
}

func (w *Watch) check(t *testing.T, what string, u identity.User, want bool) {
	t.Helper()
	if got, err := w.Ended(t.Context(), u); got != want || err != nil {
		t.Errorf("%s: Ended(%v) = %v, %v, want %v", what, u, got, err, want)
	}
}

func apply(t *testing.T, w *Watch, all ...*backplanev1.EndedAccess) {
	t.Helper()
	event := &backplanev1.UserEvent{Ended: all}
	_, err := sink{w}.Apply(t.Context(), watch.At{}, &backplanev1.WatchUsersResponse{
		Body: &backplanev1.WatchUsersResponse_Change{Change: &backplanev1.UserChange{Event: event}},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAccessEndsForOlderTokens ends the access of a user and of a sign-in: tokens
// from before it give none, later ones and those of others do.
func TestAccessEndsForOlderTokens(t *testing.T) {
	w := newWatch(identity.Catalog, "catalog-1")
	until := time.Now().Add(time.Hour)
	apply(t, w, ended("users/a", 7, until), ended("users/b/signIns/s", 8, until))
	for _, tt := range []struct {
		what string
		user identity.User
		want bool
	}{
		{"an older token", identity.User{Name: "users/a", SignIn: "x", AsOf: moment.Moment{Change: 6}}, true},
		{"a token that knows the change", identity.User{Name: "users/a", SignIn: "x", AsOf: moment.Moment{Change: 7}}, false},
		{"a token without a sign-in", identity.User{Name: "users/a"}, true},
		{"the sign-in", identity.User{Name: "users/b", SignIn: "s", AsOf: moment.Moment{Change: 7}}, true},
		{"another sign-in of the user", identity.User{Name: "users/b", SignIn: "t", AsOf: moment.Moment{Change: 7}}, false},
		{"a sign-in of that name of another user", identity.User{Name: "users/c", SignIn: "s", AsOf: moment.Moment{Change: 7}}, false},
	} {
		w.check(t, tt.what, tt.user, tt.want)
	}
}

// TestSnapshotReplaces begins anew with another history.
func TestSnapshotReplaces(t *testing.T) {
	w := newWatch(identity.Catalog, "catalog-1")
	until := time.Now().Add(time.Hour)
	apply(t, w, ended("users/a", 7, until))
	var pieces []*backplanev1.WatchUsersResponse
	for _, name := range []string{"users/b", "users/c"} {
		pieces = append(pieces, &backplanev1.WatchUsersResponse{Body: &backplanev1.WatchUsersResponse_Snapshot{
			Snapshot: &backplanev1.UserSnapshot{Ended: []*backplanev1.EndedAccess{ended(name, 3, until)}},
		}})
	}
	if _, err := (sink{w}).Reset(t.Context(), watch.At{}, backplanev1.Begin_RESET_EPOCH, pieces); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"users/a": false, "users/b": true, "users/c": true} {
		w.check(t, "after the snapshot", identity.User{Name: name}, want)
	}
}

// TestUnheardTokensGoOn follows a service that is away: tokens are good until they
// expire, and what was heard before stays known.
func TestUnheardTokensGoOn(t *testing.T) {
	w := newWatch(identity.Catalog, "catalog-1")
	if err := w.Health(); err == nil {
		t.Error("Health() of a watch that hears nothing = nil, want what is missing")
	}
	w.check(t, "before anything was heard", identity.User{Name: "users/a"}, false)
	apply(t, w, ended("users/a", 7, time.Now().Add(time.Hour)))
	w.check(t, "after the stream broke", identity.User{Name: "users/a"}, true)
	w.check(t, "after the stream broke", identity.User{Name: "users/b"}, false)
}

// TestForgetsWhatHasExpired holds what is kept to what tokens may still be valid.
func TestForgetsWhatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatch(identity.Gateway, "gateway-1")
		for i := range 1000 {
			apply(t, w, ended(fmt.Sprint("users/", i), 1, time.Now().Add(20*time.Minute)))
			time.Sleep(time.Minute)
		}
		if n := len(w.ended); n > 22 {
			t.Errorf("%d ends are kept, want those of the last 20 minutes", n)
		}
	})
}

// TestAccessEndsAfterARestore ends access at a lower number than that of an older token, as
// after a restored backup: the times say which was first.
func TestAccessEndsAfterARestore(t *testing.T) {
	w := newWatch(identity.Catalog, "catalog-1")
	now := time.Now().Truncate(time.Microsecond)
	e := ended("users/a", 7, now.Add(time.Hour))
	e.ChangeTime = timestamppb.New(now)
	apply(t, w, e)
	for what, tt := range map[string]struct {
		asOf moment.Moment
		want bool
	}{
		"a token from before the restore": {moment.Moment{Change: 9, Time: now.Add(-time.Second).UnixMicro()}, true},
		"a token that knows the change":   {moment.Moment{Change: 7, Time: now.UnixMicro()}, false},
		"a later token":                   {moment.Moment{Change: 8, Time: now.Add(time.Second).UnixMicro()}, false},
		"an older release's token":        {moment.Moment{Change: 9}, false},
	} {
		w.check(t, what, identity.User{Name: "users/a", AsOf: tt.asOf}, tt.want)
	}
}
