package store_test

import (
	"cmp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// Of one owner's names that look alike, the second is refused; names in two scripts are.
func TestApplicationNamesThatLookAlike(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		b.application(b.ann, "cocoa")
		other := b.application(b.ann, "Other")
		create := func(owner identity.Viewer, name string) error {
			_, err := b.CreateApplication(ctx, requestid.Request{}, store.Application{Owner: owner.User, DisplayName: name})
			return err
		}
		refused(t, "CreateApplication", create(b.ann, "СОСОА"), codes.AlreadyExists, `application.display_name: "СОСОА" looks like a name that is taken`)
		refused(t, "CreateApplication", create(b.ann, "cocоa"), codes.InvalidArgument, "application.display_name: must be in one script")
		refused(t, "CreateApplication", create(b.ann, "co\ufe0fcoa"), codes.InvalidArgument, "application.display_name: must have no invisible characters: it has U+FE0F")
		_, err := b.UpdateApplication(ctx, b.ann, other.ID, func(a store.Application) (store.Application, error) {
			a.DisplayName = "сосоа"
			return a, nil
		})
		refused(t, "UpdateApplication", err, codes.AlreadyExists, `application.display_name: "сосоа" looks like a name that is taken`)
		ok(t, create(b.bob, "сосоа")) // another user's may have the same name
	})
}

func TestApplication(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		made := b.application(b.ann, "My Übung")
		got, err := b.Application(t.Context(), b.ann, made.ID)
		if diff := gocmp.Diff(made, got); err != nil || diff != "" {
			t.Errorf("Application() = %v (-made +got):\n%s", err, diff)
		}
		_, err = b.Application(t.Context(), b.admin, made.ID)
		ok(t, err)
		_, err = b.Application(t.Context(), b.bob, made.ID)
		refused(t, "Application(of another)", err, codes.NotFound, "applications/"+made.ID+" not found")
		_, err = b.CreateApplication(t.Context(), requestid.Request{}, store.Application{Owner: b.ann.User, DisplayName: "MY ÜBUNG"})
		refused(t, "CreateApplication(same name)", err, codes.AlreadyExists, `application.display_name: "MY ÜBUNG" is taken`)
		b.application(b.bob, "My Übung") // another user's may have the same name

		rename := func(name, etag string) func(store.Application) (store.Application, error) {
			return func(a store.Application) (store.Application, error) {
				a.DisplayName = name
				return a, page.CheckEtag(etag, a.Etag)
			}
		}
		at := func(etag string) func(store.Application) error {
			return func(a store.Application) error { return page.CheckEtag(etag, a.Etag) }
		}
		_, err = b.UpdateApplication(t.Context(), b.bob, made.ID, rename("x", ""))
		refused(t, "UpdateApplication(of another)", err, codes.NotFound, "not found")
		_, err = b.UpdateApplication(t.Context(), b.ann, made.ID, rename("x", "7"))
		refused(t, "UpdateApplication(stale)", err, codes.Aborted, "etag: somebody else changed it")
		other := b.application(b.ann, "Other")
		_, err = b.UpdateApplication(t.Context(), b.ann, made.ID, rename("OTHER", ""))
		refused(t, "UpdateApplication(taken)", err, codes.AlreadyExists, "OTHER")
		renamed, err := b.UpdateApplication(t.Context(), b.ann, made.ID, rename("New", "1"))
		if err != nil || renamed.DisplayName != "New" || renamed.Etag != 2 {
			t.Errorf("UpdateApplication() = %v, %v", renamed, err)
		}
		refused(t, "DeleteApplication(of another)", b.DeleteApplication(t.Context(), b.bob, other.ID, at("")), codes.NotFound, "not found")
		refused(t, "DeleteApplication(stale)", b.DeleteApplication(t.Context(), b.ann, other.ID, at("2")), codes.Aborted, "etag")
		got, err = b.Application(t.Context(), b.ann, other.ID)
		if diff := gocmp.Diff(other, got); err != nil || diff != "" {
			t.Errorf("after the refusals: %v (-before +after):\n%s", err, diff)
		}
	})
}

func TestDeleteApplicationIsOneEvent(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.publish("owner", "apis/a/versions/v", "apis/a/versions/w")
		app := b.application(b.ann, "one")
		b.secret(b.ann, b.oauthClient(b.ann, app.ID, store.Production), "hash", time.Time{})
		b.oauthClient(b.ann, app.ID, store.Sandbox)
		b.subscribe(b.ann, app.ID, "apis/a/versions/v")
		b.subscribe(b.ann, app.ID, "apis/a/versions/w")
		before := b.head()
		ok(t, b.DeleteApplication(t.Context(), b.admin, app.ID, allow[store.Application]))
		if diff := gocmp.Diff([]string{"APPLICATION_DELETED applications/" + app.ID}, b.events(before)); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		if n := b.count("oauth_client") + b.count("oauth_client_secret") + b.count("subscription"); n != 0 {
			t.Errorf("%d OAuth clients, secrets and subscriptions are left", n)
		}
	})
}

func TestApplicationsList(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		a1, a2, b1 := b.application(b.ann, "One"), b.application(b.ann, "Two"), b.application(b.bob, "One")
		for _, tt := range []struct {
			viewer identity.Viewer
			filter store.ApplicationFilter
			want   []string
		}{
			{b.ann, store.ApplicationFilter{}, []string{a1.ID, a2.ID}},
			{b.bob, store.ApplicationFilter{}, []string{b1.ID}},
			{b.admin, store.ApplicationFilter{}, []string{a1.ID, a2.ID, b1.ID}},
			{b.admin, store.ApplicationFilter{DisplayName: new("ONE")}, []string{a1.ID, b1.ID}},
			{b.admin, store.ApplicationFilter{Owner: &b.ann.User, DisplayName: new("two")}, []string{a2.ID}},
			{b.ann, store.ApplicationFilter{Owner: &b.bob.User}, nil},
		} {
			var got []string
			for _, a := range list(t, b.Applications(t.Context(), tt.viewer, tt.filter, store.ApplicationOrder{}, store.ApplicationKey{})) {
				got = append(got, a.ID)
			}
			if diff := gocmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Applications(%v, %v) (-want +got):\n%s", tt.viewer, tt.filter, diff)
			}
		}
	})
}

// TestApplicationsInOrder lists applications of equal names and times in each order, whole
// and after each of them, and looks for parts of their names.
func TestApplicationsInOrder(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		var made []store.Application
		for i, name := range []string{"b", "Ü_1", "a%", "B", "ab", "Ü11", `a\c`} {
			if i%3 == 0 {
				b.add(time.Second)
			}
			made = append(made, b.application([]identity.Viewer{b.ann, b.bob}[i%2], name))
		}
		for _, order := range []store.ApplicationOrder{{}, {Descending: true}, {ByName: true}, {ByName: true, Descending: true}} {
			want := slices.SortedFunc(slices.Values(made), func(x, y store.Application) int {
				n := cmp.Or(x.CreatedAt.Compare(y.CreatedAt), cmp.Compare(x.ID, y.ID))
				if order.ByName {
					n = cmp.Or(cmp.Compare(strings.ToLower(x.DisplayName), strings.ToLower(y.DisplayName)), cmp.Compare(x.ID, y.ID))
				}
				if order.Descending {
					n = -n
				}
				return n
			})
			after := store.ApplicationKey{}
			for i := range len(want) + 1 {
				got := list(t, b.Applications(t.Context(), b.admin, store.ApplicationFilter{}, order, after))
				if diff := gocmp.Diff(want[i:], got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%+v after %+v (-want +got):\n%s", order, after, diff)
				}
				if i < len(want) {
					after = order.Key(want[i])
				}
			}
		}
		for part, want := range map[string]string{"B": "b B ab", "ü": "Ü_1 Ü11", "_": "Ü_1", "%": "a%", `\`: `a\c`, "1": "Ü_1 Ü11", "x": ""} {
			var got []string
			for _, a := range list(t, b.Applications(t.Context(), b.admin, store.ApplicationFilter{Part: &part}, store.ApplicationOrder{}, store.ApplicationKey{})) {
				got = append(got, a.DisplayName)
			}
			slices.Sort(got)
			if diff := gocmp.Diff(slices.Sorted(slices.Values(strings.Fields(want))), got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("names with %q (-want +got):\n%s", part, diff)
			}
		}
	})
}

// TestRaces creates the same thing 16 times at once: only one is created.
func TestRaces(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		b.publish("owner", "apis/a/versions/v")
		one(t, "CreateApplication", race(func(int) error {
			_, err := b.CreateApplication(t.Context(), requestid.Request{}, store.Application{Owner: b.ann.User, DisplayName: "same"})
			return err
		}), codes.AlreadyExists)
		app := list(t, b.Applications(t.Context(), b.ann, store.ApplicationFilter{}, store.ApplicationOrder{}, store.ApplicationKey{}))[0].ID
		one(t, "CreateOAuthClient", race(func(i int) error {
			_, err := b.CreateOAuthClient(t.Context(), requestid.Request{}, b.ann, store.OAuthClient{Name: resourcename.OAuthClient{Application: app}, Stage: store.Sandbox, ClientID: string(rune('a' + i))}, allow[store.Application])
			return err
		}), codes.AlreadyExists)
		one(t, "CreateSubscription", race(func(int) error {
			_, err := b.CreateSubscription(t.Context(), requestid.Request{}, b.ann, store.Subscription{Application: app, Version: "apis/a/versions/v", Plan: gold}, allow[store.Application])
			return err
		}), codes.AlreadyExists)
		one(t, "UpdateApplication", race(func(int) error {
			_, err := b.UpdateApplication(t.Context(), b.ann, app, func(a store.Application) (store.Application, error) {
				a.Description = "x"
				return a, page.CheckEtag("1", a.Etag)
			})
			return err
		}), codes.Aborted)
		one(t, "DeleteApplication", race(func(int) error {
			return b.DeleteApplication(t.Context(), b.ann, app, allow[store.Application])
		}), codes.NotFound)
		if head, n := b.head(), b.count("change"); uint64(n) != head {
			t.Errorf("%d changes and head %d, want as many", n, head)
		}
	})
}
