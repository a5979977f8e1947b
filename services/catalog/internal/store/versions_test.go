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

func TestVersion(t *testing.T) {
	testdb.Each(t, Schema(), func(t *testing.T, db *sqldb.DB) {
		ctx, s := t.Context(), New(db)
		a := echo()
		v := one(a)
		must(t, db, func(s *Store) error { return s.CreateAPI(ctx, a) })
		must(t, db, func(s *Store) error { return s.CreateVersion(ctx, v) })
		check := func(when string) {
			t.Helper()
			got, err := s.Version(ctx, a.ID, v.ID)
			if diff := cmp.Diff(v, got); err != nil || diff != "" {
				t.Errorf("Version %s: %v (-want +got):\n%s", when, err, diff)
			}
		}
		check("when made")
		if _, err := s.Version(ctx, "other", v.ID); !fault.Is(err, codes.NotFound) {
			t.Errorf("Version of another API = %v, want NotFound", err)
		}
		v.Description, v.Tags, v.Sandbox, v.Security, v.Plans, v.Origins = "", []string{"c"}, nil, []SecurityScheme{{Type: SchemeNone}}, nil, nil
		v.MaxSessionAge, v.State, v.UpdatedAt = 0, Published, instant(8)
		must(t, db, func(s *Store) error { return s.UpdateVersion(ctx, v) })
		refused(t, db, codes.Aborted, "etag", func(s *Store) error { return s.UpdateVersion(ctx, v) })
		v.Etag = 2
		check("after its update")
		must(t, db, func(s *Store) error { return s.SetRevision(ctx, v.ID, 12) })
		v.Revision = 12
		check("after its revision was set")
		a.DefaultVersion = v.ID
		must(t, db, func(s *Store) error { return s.UpdateAPI(ctx, a) })
		v.Default = true
		check("as the default")
		refused(t, db, codes.Aborted, "etag", func(s *Store) error {
			old := v
			old.Etag = 1
			return s.DeleteVersion(ctx, old, instant(9))
		})
		if got, err := s.API(ctx, a.ID); err != nil || got.DefaultVersion != v.ID || got.Etag != 2 {
			t.Errorf("API after a refused deletion = %+v, %v", got, err)
		}
		must(t, db, func(s *Store) error { return s.DeleteVersion(ctx, v, instant(9)) })
		if got, err := s.API(ctx, a.ID); err != nil || got.DefaultVersion != "" || got.Etag != 3 || !got.UpdatedAt.Equal(instant(9)) {
			t.Errorf("API after the deletion of its default version = %+v, %v", got, err)
		}
	})
}

func TestVersionRefusals(t *testing.T) {
	testdb.Each(t, Schema(), func(t *testing.T, db *sqldb.DB) {
		ctx := t.Context()
		a := echo()
		must(t, db, func(s *Store) error { return s.CreateAPI(ctx, a) })
		v := one(a)
		must(t, db, func(s *Store) error { return s.CreateVersion(ctx, v) })
		refused(t, db, codes.AlreadyExists, `the API has a version "1.0.0"`, func(s *Store) error {
			again := v
			again.ID = "again"
			return s.CreateVersion(ctx, again)
		})
		bad := v
		bad.ID, bad.Version, bad.Plans = "bad", "2", []string{"nonesuch"}
		if err := in(ctx, db, func(s *Store) error { return s.CreateVersion(ctx, bad) }); !sqldb.IsForeignKey(err) {
			t.Errorf("CreateVersion with an unknown plan = %v, want a foreign key's violation", err)
		}
		refused(t, db, codes.FailedPrecondition, "a version offers plans/gold", func(s *Store) error { return s.DeletePlan(ctx, "gold", 1) })
		must(t, db, func(s *Store) error { return s.DeletePlan(ctx, "bronze", 1) })
		must(t, db, func(s *Store) error {
			for i := 1; i < MaxVersions; i++ {
				next := v
				next.ID, next.Version = fmt.Sprintf("v%d", i), fmt.Sprintf("2.%d", i)
				if err := s.CreateVersion(ctx, next); err != nil {
					return err
				}
			}
			return nil
		})
		refused(t, db, codes.FailedPrecondition, "has 200 versions", func(s *Store) error {
			next := v
			next.ID, next.Version = "more", "3"
			return s.CreateVersion(ctx, next)
		})
	})
}

func TestListVersions(t *testing.T) {
	testdb.Each(t, Schema(), func(t *testing.T, db *sqldb.DB) {
		ctx, s := t.Context(), New(db)
		ann := echo()
		bob := API{ID: "bob", DisplayName: "Bob's", Context: "/bob", Owner: "users/bob", CreatedAt: instant(0), Etag: 1}
		must(t, db, func(s *Store) error {
			for _, a := range []API{ann, bob} {
				if err := s.CreateAPI(ctx, a); err != nil {
					return err
				}
				for i := range 4 {
					v := one(a)
					v.ID, v.Version, v.CreatedAt = fmt.Sprintf("%s-%d", a.ID, i), fmt.Sprintf("%d", i), instant(int64(i/2))
					v.Tags = []string{[]string{"even", "odd"}[i%2]}
					if i == 0 {
						v.State = Published
					}
					if err := s.CreateVersion(ctx, v); err != nil {
						return err
					}
				}
			}
			return nil
		})
		api, tag, state, version := "bob", "odd", Published, "2"
		for _, c := range []struct {
			who    Viewer
			filter VersionFilter
			want   []string
		}{
			{Viewer{All: true}, VersionFilter{}, []string{"bob-0", "bob-1", "echo-0", "echo-1", "bob-2", "bob-3", "echo-2", "echo-3"}},
			{Viewer{User: "users/ann"}, VersionFilter{}, []string{"bob-0", "echo-0", "echo-1", "echo-2", "echo-3"}},
			{Viewer{User: "users/ann"}, VersionFilter{APIID: &api}, []string{"bob-0"}},
			{Viewer{All: true}, VersionFilter{APIID: &api, Tag: &tag}, []string{"bob-1", "bob-3"}},
			{Viewer{All: true}, VersionFilter{State: &state}, []string{"bob-0", "echo-0"}},
			{Viewer{User: "users/bob"}, VersionFilter{Version: &version}, []string{"bob-2"}},
		} {
			for _, size := range []int{1, 3, 100} {
				var got []string
				var after After
				for {
					rows, err := s.ListVersions(ctx, c.who, c.filter, after, size)
					if err != nil {
						t.Fatal(err)
					}
					if len(rows) == 0 {
						break
					}
					for _, row := range rows {
						got = append(got, row.ID)
						after = After{Micros: row.CreatedAt.UnixMicro(), ID: row.ID}
					}
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("ListVersions(%+v, %+v) in pages of %d = %v, want %v", c.who, c.filter, size, got, c.want)
				}
			}
		}
	})
}
