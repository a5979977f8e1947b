package store

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// TestVersionStrings: the route of a default version that gets paths has every version
// string that the API ever had, as soon as there is one more; no other route has them.
func TestVersionStrings(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		a := b.api("ann", "Echo", "/echo")
		old, first := b.version(a, "0.9"), b.version(a, "1.0.0")
		must(t, b.DeleteVersion(ctx, ann, old.Name(), allow[Version]))
		want := func(when string, routes map[string][]string) {
			t.Helper()
			e, _ := b.event()
			got := map[string][]string{}
			for _, r := range e.GetRoutes() {
				got[r.GetVersion()] = r.GetVersionStrings()
				if r.GetDefaultVersionPaths() != (len(r.GetVersionStrings()) > 0) {
					t.Errorf("%s: the route of %s has paths: %t, and the strings %q", when, r.GetVersion(), r.GetDefaultVersionPaths(), r.GetVersionStrings())
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(routes) {
				t.Errorf("%s: routes with strings %q, want %q", when, got, routes)
			}
		}
		update := func(edit func(*API)) {
			t.Helper()
			_, err := b.UpdateAPI(ctx, ann, a.ID, func(old API) (API, error) {
				edit(&old)
				return old, nil
			})
			must(t, err)
		}
		update(func(a *API) { a.DefaultVersionPaths = true })
		want("paths without a default version", map[string][]string{})
		update(func(a *API) { a.DefaultVersion = first.ID })
		want("a default version", map[string][]string{"1.0.0": {"0.9", "1.0.0"}})

		second := b.version(a, "2.0.0")
		want("one more version", map[string][]string{"1.0.0": {"0.9", "1.0.0", "2.0.0"}, "2.0.0": nil})
		must(t, b.DeleteVersion(ctx, ann, second.Name(), allow[Version]))
		want("one version less", map[string][]string{})
		second = b.version(a, "2.0.0")
		want("the same again", map[string][]string{"2.0.0": nil})
		got, err := b.Version(ctx, ann, first.Name())
		if err != nil || !slices.Equal(got.Strings, []string{"0.9", "1.0.0", "2.0.0"}) {
			t.Errorf("Version = %q, %v, want every string", got.Strings, err)
		}

		update(func(a *API) { a.DefaultVersion = second.ID })
		want("another default version", map[string][]string{"1.0.0": nil, "2.0.0": {"0.9", "1.0.0", "2.0.0"}})
		update(func(a *API) { a.DefaultVersionPaths = false })
		want("no paths any more", map[string][]string{"2.0.0": nil})
		b.version(a, "3.0.0")
		b.wantRoutes("one more version without paths", "3.0.0")
		must(t, b.DeleteAPI(ctx, ann, a.ID, true, allow[API]))
		b.api("ann", "Echo", "/echo")
	})
}

// wantRoutes checks whose routes the newest change has.
func (b *bench) wantRoutes(when string, versions ...string) {
	b.t.Helper()
	e, _ := b.event()
	var got []string
	for _, r := range e.GetRoutes() {
		got = append(got, r.GetVersion())
	}
	if !slices.Equal(got, versions) {
		b.t.Errorf("%s: routes of %q, want %q", when, got, versions)
	}
}

// TestVersionStringsAreBounded: those that are known may be used again.
func TestVersionStringsAreBounded(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		a := b.api("ann", "Echo", "/echo")
		b.version(a, "1")
		must(t, b.db.InTx(ctx, func(tx *sqldb.Tx) error {
			for i := 1; i < MaxVersionStrings; i++ {
				_, err := tx.ExecContext(ctx, `INSERT INTO version_string (api_id, version) VALUES ($1, $2)`, a.ID, fmt.Sprintf("0.%d", i))
				if err != nil {
					return err
				}
			}
			return nil
		}))
		_, err := b.CreateVersion(ctx, anew, ann, sample(a, "2"), allow[API])
		refused(t, "CreateVersion with one more string", err, codes.FailedPrecondition, "has had 1000 version strings")
		b.version(a, "0.7")
		b.wantRoutes("a string that is known", "0.7")
	})
}
