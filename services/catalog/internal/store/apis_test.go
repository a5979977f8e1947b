package store

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

func TestAPI(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		a, err := b.CreateAPI(ctx, anew, root, API{DisplayName: "EchoWebSocket", Context: "/echo", Description: "Echoes.", Owner: "ann"})
		must(t, err)
		if a.ID == "" || a.Etag != 1 || !a.CreatedAt.Equal(b.now()) || !a.UpdatedAt.Equal(b.now()) {
			t.Errorf("CreateAPI = %+v, want an id, the etag 1 and the time", a)
		}
		check := func(when string) {
			t.Helper()
			if got, err := b.API(ctx, ann, a.ID); err != nil || got != a {
				t.Errorf("API %s = %+v, %v, want %+v", when, got, err, a)
			}
		}
		check("when made")
		b.wantEvent("a new API", &backplanev1.RouteEvent{})
		v := b.version(a, "1.0.0")
		a.Created = true
		b.tick()
		got, err := b.UpdateAPI(ctx, ann, a.ID, func(old API) (API, error) {
			if old != a {
				t.Errorf("UpdateAPI gives %+v to its function, want %+v", old, a)
			}
			old.DisplayName, old.Context, old.Description, old.DefaultVersion = "ECHO", "/team/echo", "", v.ID
			return old, nil
		})
		a.DisplayName, a.Context, a.Description, a.DefaultVersion, a.Etag, a.UpdatedAt = "ECHO", "/team/echo", "", v.ID, 2, b.now()
		if err != nil || got != a {
			t.Errorf("UpdateAPI = %+v, %v, want %+v", got, err, a)
		}
		check("after its update")
		if v, err = b.Version(ctx, ann, v.Name()); err != nil || v.Context != "/team/echo" || !v.Default {
			t.Errorf("Version after the update of its API = %+v, %v", v, err)
		}
		b.wantEvent("an update", &backplanev1.RouteEvent{Routes: []*backplanev1.Route{v.Route()}})
		if _, n := b.event(); v.ChangeNumber != int64(n) {
			t.Errorf("the route was made by change %d, want %d", v.ChangeNumber, n)
		}
		v = b.publish(v)
		a.Published, a.DefaultPublished, a.Created = true, true, false
		check("with a published version")
		refused(t, "DeleteAPI of one that is published", b.DeleteAPI(ctx, ann, a.ID, true, allow[API]), codes.FailedPrecondition, "demote it first")
		_, err = b.UpdateVersion(ctx, ann, v.Name(), func(old Version) (Version, error) {
			old.State = Created
			return old, nil
		})
		must(t, err)
		a.Published, a.DefaultPublished, a.Created = false, false, true
		stop := fault.Aborted("stop")
		refused(t, "DeleteAPI of one with versions", b.DeleteAPI(ctx, ann, a.ID, false, allow[API]), codes.FailedPrecondition, "set it")
		refused(t, "DeleteAPI that check refuses", b.DeleteAPI(ctx, ann, a.ID, true, func(API) error { return stop }), codes.Aborted, "stop")
		check("after refused deletions")
		must(t, b.DeleteAPI(ctx, ann, a.ID, true, allow[API]))
		b.wantEvent("the end", &backplanev1.RouteEvent{RemovedRoutes: []string{v.Name().String()}})
		_, err = b.API(ctx, root, a.ID)
		refused(t, "API after the end", err, codes.NotFound, a.Name().String())
		_, err = b.Version(ctx, root, v.Name())
		refused(t, "Version after the end", err, codes.NotFound, v.Name().String())
	})
}

// What is not published is seen by its owner and by those who see everything, in
// reads and in writes.
func TestAPIOfSomebodyElse(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		a := b.api("ann", "Echo", "/echo")
		calls := map[string]func() error{
			"API": func() error { _, err := b.API(ctx, bob, a.ID); return err },
			"UpdateAPI": func() error {
				_, err := b.UpdateAPI(ctx, bob, a.ID, func(old API) (API, error) { return old, nil })
				return err
			},
			"CreateVersion": func() error { _, err := b.CreateVersion(ctx, anew, bob, sample(a, "1"), allow[API]); return err },
			"DeleteAPI":     func() error { return b.DeleteAPI(ctx, bob, a.ID, true, allow[API]) },
		}
		for what, call := range calls {
			refused(t, what, call(), codes.NotFound, a.Name().String())
		}
		b.publish(b.version(a, "1.0.0"))
		stop := fault.Denied("stop")
		_, err := b.API(ctx, bob, a.ID)
		must(t, err)
		_, err = b.UpdateAPI(ctx, bob, a.ID, func(old API) (API, error) { return old, stop })
		refused(t, "UpdateAPI of a published one", err, codes.PermissionDenied, "stop")
		_, err = b.CreateVersion(ctx, anew, bob, sample(a, "2"), func(API) error { return stop })
		refused(t, "CreateVersion in a published one", err, codes.PermissionDenied, "stop")
	})
}

func TestAPINamesAreUnique(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		b.api("ann", "EchoWebSocket", "/echo")
		other := b.api("bob", "Other", "/other")
		create := func(name, context string) error {
			_, err := b.CreateAPI(ctx, anew, root, API{DisplayName: name, Context: context})
			return err
		}
		update := func(change func(*API)) error {
			_, err := b.UpdateAPI(ctx, root, other.ID, func(old API) (API, error) {
				change(&old)
				return old, nil
			})
			return err
		}
		refused(t, "CreateAPI", create("echowebSOCKET", "/x"), codes.AlreadyExists, `api.display_name: "echowebSOCKET" is taken`)
		refused(t, "CreateAPI", create("x", "/echo"), codes.AlreadyExists, `api.context: "/echo" is taken`)
		b.api("bob", "cocoa", "/cocoa")
		b.api("bob", "Погода", "/weather")
		refused(t, "CreateAPI", create("СОСОА", "/x"), codes.AlreadyExists, `api.display_name: "СОСОА" looks like a name that is taken`)
		refused(t, "CreateAPI", create("ПОГОДА", "/x"), codes.AlreadyExists, `api.display_name: "ПОГОДА" is taken`)
		refused(t, "CreateAPI", create("cocоa", "/x"), codes.InvalidArgument, "api.display_name: must be in one script")
		refused(t, "UpdateAPI", update(func(a *API) { a.DisplayName = "сосоа" }), codes.AlreadyExists, `api.display_name: "сосоа" looks like a name that is taken`)
		must(t, create("1", "/one"))
		must(t, create("l", "/ell"))
		refused(t, "UpdateAPI", update(func(a *API) { a.DisplayName = "ECHOwebsocket" }), codes.AlreadyExists, `api.display_name: "ECHOwebsocket" is taken`)
		refused(t, "UpdateAPI", update(func(a *API) { a.Context = "/echo" }), codes.AlreadyExists, `api.context: "/echo" is taken`)
		refused(t, "CreateAPI", create("case", "/Echo"), codes.AlreadyExists, `api.context: "/Echo" is taken`)
		refused(t, "CreateAPI", create("x", "/OTHER"), codes.AlreadyExists, `api.context: "/OTHER" is taken`)
	})
}

func TestDefaultVersionIsOneOfTheAPI(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		a, other := b.api("ann", "Echo", "/echo"), b.api("ann", "Other", "/other")
		for _, id := range []string{"none", b.version(other, "1").ID} {
			_, err := b.UpdateAPI(t.Context(), ann, a.ID, func(old API) (API, error) {
				old.DefaultVersion = id
				return old, nil
			})
			refused(t, "UpdateAPI", err, codes.InvalidArgument, "api.default_version: must be a version of this API, or empty")
		}
	})
}

func TestAddressesDoNotMeet(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		a := b.api("ann", "Echo", "/echo")
		b.version(a, "1.0.0")
		create := func(context string) error {
			_, err := b.CreateAPI(ctx, anew, root, API{DisplayName: context, Context: context})
			return err
		}
		for _, context := range []string{"/echo/1.0.0", "/echo/1.0.0/rooms"} {
			refused(t, "CreateAPI "+context, create(context), codes.AlreadyExists, "lies under the address of another API's version")
		}
		b.version(a, "rc")
		refused(t, "CreateAPI in another case", create("/ECHO/RC/x"), codes.AlreadyExists, "lies under the address of another API's version")
		for _, context := range []string{"/echo/1.0.00", "/echo/1.0", "/echo/2.0.0/x", "/echo/beta"} {
			must(t, create(context))
		}
		echo2 := b.api("ann", "Echo 2", "/echo2")
		for _, taken := range []string{"1.0.00", "1.0", "2.0.0", "Beta"} {
			_, err := b.CreateVersion(ctx, anew, root, sample(a, taken), allow[API])
			refused(t, "CreateVersion "+taken, err, codes.AlreadyExists, "is taken by another API's context")
		}
		b.version(a, "2")
		// A move of a context is checked both ways.
		must(t, create("/free/1.0.0"))
		move := func(id, context string) error {
			_, err := b.UpdateAPI(ctx, root, id, func(old API) (API, error) {
				old.Context = context
				return old, nil
			})
			return err
		}
		refused(t, "UpdateAPI", move(a.ID, "/free"), codes.AlreadyExists, "would be that of another API")
		refused(t, "UpdateAPI", move(echo2.ID, "/echo/2"), codes.AlreadyExists, "lies under the address")
	})
}

func TestAPIs(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		// Two owners, every third API has a published version; some are made in
		// the same microsecond.
		var all, seen []string
		for i := range 20 {
			a := b.api([]string{"ann", "bob"}[i%2], fmt.Sprintf("API %d", i), fmt.Sprintf("/c%d", i))
			if i%3 == 0 {
				b.publish(b.version(a, "1.0.0"))
			}
			if i%4 == 3 {
				b.tick()
			}
			all = append(all, a.ID)
			if i%2 == 0 || i%3 == 0 {
				seen = append(seen, a.ID)
			}
		}
		for who, want := range map[identity.Viewer][]string{root: all, ann: seen} {
			if got := ids(list(t, b.APIs(ctx, who, APIFilter{}, Order{}, ListPlace{}))); !sameSet(got, want) {
				t.Errorf("APIs(%+v) = %v, want %v", who, got, want)
			}
			// From any row on, a list goes on with the next.
			rows := list(t, b.APIs(ctx, who, APIFilter{}, Order{}, ListPlace{}))
			for i, row := range rows {
				if got := list(t, b.APIs(ctx, who, APIFilter{}, Order{}, row.ListPlace(Order{}))); !slices.Equal(got, rows[i+1:]) {
					t.Errorf("APIs(%+v) after row %d = %v, want %v", who, i, ids(got), ids(rows[i+1:]))
				}
			}
		}
		name, context, owner := "api 7", "/c7", "ann"
		for _, c := range []struct {
			filter APIFilter
			want   []string
		}{
			{APIFilter{DisplayName: &name}, []string{all[7]}},
			{APIFilter{Context: &context}, []string{all[7]}},
			{APIFilter{Owner: &owner, Context: &context}, nil},
		} {
			if diff := cmp.Diff(c.want, ids(list(t, b.APIs(ctx, root, c.filter, Order{}, ListPlace{})))); diff != "" {
				t.Errorf("APIs(%+v) (-want +got):\n%s", c.filter, diff)
			}
		}
		if rows := list(t, b.APIs(ctx, ann, APIFilter{Context: &context}, Order{}, ListPlace{})); len(rows) != 0 {
			t.Errorf("APIs finds what the viewer does not see: %v", ids(rows))
		}
	})
}

func ids(rows []API) []string {
	var all []string
	for _, row := range rows {
		all = append(all, row.ID)
	}
	return all
}

// sameSet reports whether two lists have the same elements.
func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}
