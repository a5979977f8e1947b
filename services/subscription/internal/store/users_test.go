package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

func TestUser(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		made, _, err := b.CreateUser(t.Context(), requestid.Request{}, store.User{Username: "Carol", DisplayName: "Carol C.", Roles: []string{"creator", "publisher"}}, "")
		ok(t, err)
		got, err := b.User(t.Context(), b.admin, made.ID)
		ok(t, err)
		if diff := cmp.Diff(made, got); diff != "" || got.Etag != 1 || !got.CreatedAt.Equal(b.now()) {
			t.Errorf("User() (-made +got):\n%s", diff)
		}
		_, _, err = b.CreateUser(t.Context(), requestid.Request{}, store.User{Username: "cAROL", Roles: []string{"admin"}}, "")
		refused(t, "CreateUser(cAROL)", err, codes.AlreadyExists, `the username "cAROL" is taken`)
		_, err = b.User(t.Context(), b.admin, "nobody")
		refused(t, "User(nobody)", err, codes.NotFound, "users/nobody not found")
		p, hash, known, err := b.Password(t.Context(), "CAROL")
		if err != nil || !known || hash != "" || p.ID != made.ID {
			t.Errorf("Password(CAROL) = %v, %q, %v, %v, want Carol without one", p, hash, known, err)
		}
		if _, _, known, err := b.Password(t.Context(), "nobody"); known || err != nil {
			t.Errorf("Password(nobody) = known %v, %v", known, err)
		}
	})
}

func TestUpdateUser(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		set := func(name, etag string) func(store.User) (store.User, error) {
			return func(u store.User) (store.User, error) {
				u.Username = name
				return u, page.CheckEtag(etag, u.Etag)
			}
		}
		p, err := b.UpdateUser(t.Context(), b.admin, b.ann.User, set("anna", "1"))
		if err != nil || p.Username != "anna" || p.Etag != 2 {
			t.Errorf("UpdateUser() = %v, %v, want anna with etag 2", p, err)
		}
		_, err = b.UpdateUser(t.Context(), b.admin, b.ann.User, set("annie", "1"))
		refused(t, "UpdateUser(stale)", err, codes.Aborted, "etag: somebody else changed it")
		_, err = b.UpdateUser(t.Context(), b.admin, b.ann.User, set("BOB", ""))
		refused(t, "UpdateUser(BOB)", err, codes.AlreadyExists, "taken")
		_, err = b.UpdateUser(t.Context(), b.admin, "nobody", set("x", ""))
		refused(t, "UpdateUser(nobody)", err, codes.NotFound, "users/nobody not found")
		no := errors.New("no")
		if _, err = b.UpdateUser(t.Context(), b.admin, b.ann.User, func(u store.User) (store.User, error) { return u, no }); !errors.Is(err, no) {
			t.Errorf("UpdateUser(edit refuses) = %v, want its error", err)
		}
		_, err = b.UpdateUser(t.Context(), b.bob, b.ann.User, set("x", ""))
		refused(t, "UpdateUser(of another)", err, codes.NotFound, "users/"+b.ann.User+" not found")
		_, err = b.User(t.Context(), b.bob, b.ann.User)
		refused(t, "User(of another)", err, codes.NotFound, "users/"+b.ann.User+" not found")
		got, err := b.User(t.Context(), b.ann, b.ann.User)
		if err != nil || got.Username != "anna" || got.Etag != 2 {
			t.Errorf("after the refusals: %v, %v, want anna with etag 2", got, err)
		}
	})
}

// TestLastAdministrator has 16 administrators give up the role, be removed or be
// suspended at once. Others that cannot sign in do not count.
func TestLastAdministrator(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		first, _, _, err := b.Password(t.Context(), "admin")
		ok(t, err)
		ids := []string{first.ID, b.admin.User}
		for i := range 14 {
			ids = append(ids, b.user(fmt.Sprintf("admin%d", i), "admin", "creator"))
		}
		_, _, err = b.CreateUser(t.Context(), requestid.Request{}, store.User{Username: "without a password", Roles: []string{"admin"}}, "")
		ok(t, err)
		_, err = b.SuspendUser(t.Context(), b.admin, b.user("suspended", "admin"), allow[store.User])
		ok(t, err)
		errs := race(func(i int) error {
			switch i % 3 {
			case 0:
				return b.DeleteUser(t.Context(), b.admin, ids[i], allow[store.User])
			case 1:
				_, err := b.SuspendUser(t.Context(), b.admin, ids[i], allow[store.User])
				return err
			}
			_, err := b.UpdateUser(t.Context(), b.admin, ids[i], func(u store.User) (store.User, error) {
				u.Roles = []string{"creator"}
				return u, nil
			})
			return err
		})
		failed := 0
		for i, err := range errs {
			if err == nil {
				continue
			}
			failed++
			refused(t, "the last one", err, codes.FailedPrecondition, "this is the last administrator who can sign in")
			if fault.Reason(err) != "LAST_ADMINISTRATOR" {
				t.Errorf("reason = %q, want LAST_ADMINISTRATOR", fault.Reason(err))
			}
			if p, err := b.User(t.Context(), b.admin, ids[i]); err != nil || !slices.Contains(p.Roles, "admin") || p.State != store.UserActive {
				t.Errorf("the last one is %v, %v, want an administrator", p, err)
			}
		}
		if failed != 1 {
			t.Errorf("%d of 16 were refused, want 1", failed)
		}
	})
}

func TestDeleteUserTakesAllWithThem(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.publish("owner", "apis/a/versions/v")
		app := b.application(b.ann, "one")
		b.oauthClient(b.ann, app.ID, store.Production)
		b.subscribe(b.ann, app.ID, "apis/a/versions/v")
		b.signIn(b.ann, "hash of ann")
		before := b.head()
		refused(t, "DeleteUser(stale)", b.DeleteUser(t.Context(), b.admin, b.ann.User, func(u store.User) error {
			return page.CheckEtag("9", u.Etag)
		}), codes.Aborted, "etag")
		ok(t, b.DeleteUser(t.Context(), b.admin, b.ann.User, allow[store.User]))
		want := []string{"USER_DELETED users/" + b.ann.User}
		if diff := cmp.Diff(want, b.events(before)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		for _, table := range []string{"application", "oauth_client", "subscription", "sign_in"} {
			if n := b.count(table); n != 0 {
				t.Errorf("%d rows left in %s", n, table)
			}
		}
		_, err := b.CreateApplication(t.Context(), requestid.Request{}, store.Application{Owner: b.ann.User, DisplayName: "late"})
		refused(t, "CreateApplication of one who is gone", err, codes.Unauthenticated, "has been removed")
	})
}

func TestUsersPages(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		var want, got []string
		for i := range 5 {
			want = append(want, b.user(fmt.Sprintf("p%d", i), "creator"))
			if i%2 == 0 { // two at the same time
				b.add(1000)
			}
		}
		rows := list(t, b.Users(t.Context(), store.UserFilter{}, false, sqldb.TimeKey{}))
		for i, u := range rows {
			got = append(got, u.ID)
			rest := list(t, b.Users(t.Context(), store.UserFilter{}, false, u.ListKey()))
			if diff := cmp.Diff(rows[i+1:], rest); len(rest) > 0 && diff != "" || len(rest) != len(rows)-i-1 {
				t.Errorf("Users() after row %d (-want +got):\n%s", i, diff)
			}
		}
		if diff := cmp.Diff(want, got[4:]); diff != "" { // the bench has made four
			t.Errorf("pages (-want +got):\n%s", diff)
		}
		rows = list(t, b.Users(t.Context(), store.UserFilter{Username: new("P3")}, false, sqldb.TimeKey{}))
		if len(rows) != 1 || rows[0].ID != want[3] {
			t.Errorf("Users(P3) = %v, want p3", rows)
		}
	})
}
