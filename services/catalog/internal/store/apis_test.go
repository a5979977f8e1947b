package store

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
)

func TestAPI(t *testing.T) {
	testdb.Each(t, Schema(), func(t *testing.T, db *sqldb.DB) {
		ctx, s := t.Context(), New(db)
		a := echo()
		must(t, db, func(s *Store) error { return s.CreateAPI(ctx, a) })
		if got, err := s.API(ctx, a.ID); err != nil || got != a {
			t.Errorf("API = %+v, %v, want %+v", got, err, a)
		}
		v := one(a)
		must(t, db, func(s *Store) error { return s.CreateVersion(ctx, v) })
		a.DisplayName, a.Context, a.Description, a.DefaultVersion, a.UpdatedAt = "ECHO", "/team/echo", "", v.ID, instant(9)
		must(t, db, func(s *Store) error { return s.UpdateAPI(ctx, a) })
		refused(t, db, codes.Aborted, "etag", func(s *Store) error { return s.UpdateAPI(ctx, a) })
		a.Etag = 2
		if got, err := s.API(ctx, a.ID); err != nil || got != a {
			t.Errorf("API after its update = %+v, %v, want %+v", got, err, a)
		}
		v.State = Published
		must(t, db, func(s *Store) error { return s.UpdateVersion(ctx, v) })
		a.Published, a.DefaultPublished = true, true
		if got, err := s.API(ctx, a.ID); err != nil || got != a {
			t.Errorf("API with a published version = %+v, %v, want %+v", got, err, a)
		}
		refused(t, db, codes.Aborted, "etag", func(s *Store) error { return s.DeleteAPI(ctx, a.ID, 1) })
		if _, err := s.Version(ctx, a.ID, v.ID); err != nil {
			t.Errorf("after a refused deletion of the API its version is gone: %v", err)
		}
		must(t, db, func(s *Store) error { return s.DeleteAPI(ctx, a.ID, 2) })
		for what, err := range map[string]error{
			"API":     second(s.API(ctx, a.ID)),
			"Version": second(s.Version(ctx, a.ID, v.ID)),
		} {
			if !fault.Is(err, codes.NotFound) {
				t.Errorf("%s after the end = %v, want NotFound", what, err)
			}
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestAPINamesAreUnique(t *testing.T) {
	testdb.Each(t, Schema(), func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		must(t, db, func(s *Store) error { return s.CreateAPI(ctx, echo()) })
		other := API{ID: "other", DisplayName: "Other", Context: "/other", CreatedAt: instant(1), Etag: 1}
		must(t, db, func(s *Store) error { return s.CreateAPI(ctx, other) })
		refused(t, db, codes.AlreadyExists, `api.display_name: "echowebSOCKET" is taken`, func(s *Store) error {
			return s.CreateAPI(ctx, API{ID: "x", DisplayName: "echowebSOCKET", Context: "/x"})
		})
		refused(t, db, codes.AlreadyExists, `api.context: "/echo" is taken`, func(s *Store) error {
			return s.CreateAPI(ctx, API{ID: "x", DisplayName: "x", Context: "/echo"})
		})
		refused(t, db, codes.AlreadyExists, `api.display_name: "ECHOwebsocket" is taken`, func(s *Store) error {
			next := other
			next.DisplayName = "ECHOwebsocket"
			return s.UpdateAPI(ctx, next)
		})
		refused(t, db, codes.AlreadyExists, `api.context: "/echo" is taken`, func(s *Store) error {
			next := other
			next.Context = "/echo"
			return s.UpdateAPI(ctx, next)
		})
		must(t, db, func(s *Store) error { return s.CreateAPI(ctx, API{ID: "case", DisplayName: "case", Context: "/Echo"}) })
	})
}

func TestAddressesDoNotMeet(t *testing.T) {
	testdb.Each(t, Schema(), func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		a := echo()
		must(t, db, func(s *Store) error { return s.CreateAPI(ctx, a) })
		must(t, db, func(s *Store) error { return s.CreateVersion(ctx, one(a)) })
		create := func(context string) func(*Store) error {
			return func(s *Store) error {
				return s.CreateAPI(ctx, API{ID: context, DisplayName: context, Context: context, CreatedAt: instant(2), Etag: 1})
			}
		}
		for _, context := range []string{"/echo/1.0.0", "/echo/1.0.0/rooms"} {
			refused(t, db, codes.AlreadyExists, "lies under the address of another API's version", create(context))
		}
		for _, context := range []string{"/echo/1.0.00", "/echo/1.0", "/echo/2.0.0/x", "/echo2"} {
			must(t, db, create(context))
		}
		version := func(id, version string) func(*Store) error {
			return func(s *Store) error {
				v := one(a)
				v.ID, v.Version = id, version
				return s.CreateVersion(ctx, v)
			}
		}
		for _, taken := range []string{"1.0.00", "1.0", "2.0.0"} {
			refused(t, db, codes.AlreadyExists, "is taken by another API's context", version(taken, taken))
		}
		must(t, db, version("2", "2"))
		// A move of a context is checked both ways.
		must(t, db, create("/free/1.0.0"))
		refused(t, db, codes.AlreadyExists, "would be that of another API", func(s *Store) error {
			next := a
			next.Context = "/free"
			return s.UpdateAPI(ctx, next)
		})
		refused(t, db, codes.AlreadyExists, "lies under the address", func(s *Store) error {
			return s.UpdateAPI(ctx, API{ID: "/echo2", DisplayName: "/echo2", Context: "/echo/2", Etag: 1})
		})
	})
}

func TestListAPIs(t *testing.T) {
	testdb.Each(t, Schema(), func(t *testing.T, db *sqldb.DB) {
		ctx, s := t.Context(), New(db)
		// Two owners, every third API has a published version; some are made in
		// the same microsecond.
		var all, seen []string
		for i := range 20 {
			a := API{ID: fmt.Sprintf("api-%02d", i), DisplayName: fmt.Sprintf("API %d", i), Context: fmt.Sprintf("/c%d", i),
				Owner: []string{"users/ann", "users/bob"}[i%2], CreatedAt: instant(int64(i / 4))}
			must(t, db, func(s *Store) error {
				if err := s.CreateAPI(ctx, a); err != nil || i%3 != 0 {
					return err
				}
				v := one(a)
				v.State = Published
				return s.CreateVersion(ctx, v)
			})
			all = append(all, a.ID)
			if i%2 == 0 || i%3 == 0 {
				seen = append(seen, a.ID)
			}
		}
		for who, want := range map[Viewer][]string{
			{All: true}:         all,
			{User: "users/ann"}: seen,
		} {
			for _, size := range []int{1, 3, 100} {
				if got := pages(t, s, who, size); !slices.Equal(got, want) {
					t.Errorf("ListAPIs(%+v) in pages of %d = %v, want %v", who, size, got, want)
				}
			}
		}
		name, context, owner := "api 7", "/c7", "users/ann"
		for _, c := range []struct {
			filter APIFilter
			want   []string
		}{
			{APIFilter{DisplayName: &name}, []string{"api-07"}},
			{APIFilter{Context: &context}, []string{"api-07"}},
			{APIFilter{Owner: &owner, Context: &context}, nil},
		} {
			rows, err := s.ListAPIs(ctx, Viewer{All: true}, c.filter, After{}, 100)
			if diff := cmp.Diff(c.want, ids(rows)); err != nil || diff != "" {
				t.Errorf("ListAPIs(%+v): %v (-want +got):\n%s", c.filter, err, diff)
			}
		}
		if rows, err := s.ListAPIs(ctx, Viewer{User: "users/ann"}, APIFilter{Context: &context}, After{}, 100); err != nil || len(rows) != 0 {
			t.Errorf("ListAPIs finds what the viewer does not see: %v, %v", ids(rows), err)
		}
	})
}

// pages reads a list in pages.
func pages(t *testing.T, s *Store, who Viewer, size int) []string {
	t.Helper()
	var all []string
	var after After
	for {
		rows, err := s.ListAPIs(t.Context(), who, APIFilter{}, after, size)
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) == 0 {
			return all
		}
		all = append(all, ids(rows)...)
		last := rows[len(rows)-1]
		after = After{Micros: last.CreatedAt.UnixMicro(), ID: last.ID}
	}
}

func ids(rows []API) []string {
	var all []string
	for _, row := range rows {
		all = append(all, row.ID)
	}
	return all
}
