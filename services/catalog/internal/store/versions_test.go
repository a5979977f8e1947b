package store

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

func TestVersion(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		a := b.api("ann", "Echo", "/echo")
		v := b.version(a, "1.0.0")
		want := sample(a, "1.0.0")
		want.ID, want.State, want.ChangeNumber, want.Etag = v.ID, Created, 2, 1
		want.CreatedAt, want.UpdatedAt = b.now(), b.now()
		want.DisplayName, want.Context, want.Owner = "Echo", "/echo", "ann"
		check := func(when string) {
			t.Helper()
			got, err := b.Version(ctx, ann, want.Name())
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("Version %s: %v (-want +got):\n%s", when, err, diff)
			}
		}
		if diff := cmp.Diff(want, v); diff != "" {
			t.Errorf("CreateVersion (-want +got):\n%s", diff)
		}
		check("when made")
		b.wantEvent("a new version", &backplanev1.RouteEvent{Routes: []*backplanev1.Route{v.Route()}})
		_, err := b.Version(ctx, ann, resourcename.Version{API: "other", Version: v.ID})
		refused(t, "Version of another API", err, codes.NotFound, "apis/other/versions/"+v.ID)
		update := func(edit func(*Version)) Version {
			t.Helper()
			got, err := b.UpdateVersion(ctx, ann, v.Name(), func(old Version) (Version, error) {
				edit(&old)
				return old, nil
			})
			must(t, err)
			return got
		}
		b.tick()
		got := update(func(v *Version) {
			v.Description, v.Tags, v.Sandbox, v.Plans, v.Origins = "", []string{"c"}, nil, nil, nil
			v.Security, v.MaxSessionAge, v.State = []SecurityScheme{{Type: SchemeNone}}, 0, Published
			v.TrafficPlan, v.Subscriptionless, v.MaxMessageBytes, v.ErrorTemplate, v.ErrorText = "", false, 0, "", ""
		})
		want.Description, want.Tags, want.Sandbox, want.Plans, want.Origins = "", []string{"c"}, nil, nil, nil
		want.Security, want.MaxSessionAge, want.State = []SecurityScheme{{Type: SchemeNone}}, 0, Published
		want.TrafficPlan, want.Subscriptionless, want.MaxMessageBytes, want.ErrorTemplate, want.ErrorText = "", false, 0, "", ""
		want.ChangeNumber, want.Etag, want.UpdatedAt = 3, 2, b.now()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("UpdateVersion (-want +got):\n%s", diff)
		}
		check("after its update")
		b.wantEvent("an update", &backplanev1.RouteEvent{Routes: []*backplanev1.Route{got.Route()}})
		// What routes do not have changes none.
		update(func(v *Version) { v.Description = "Changed." })
		want.Description, want.Etag = "Changed.", 3
		check("after an update of its description")
		b.wantEvent("an update of the description", &backplanev1.RouteEvent{})
		stop := fault.Aborted("stop")
		_, err = b.UpdateVersion(ctx, ann, v.Name(), func(old Version) (Version, error) { return old, stop })
		refused(t, "UpdateVersion that edit refuses", err, codes.Aborted, "stop")
		_, err = b.UpdateAPI(ctx, ann, a.ID, func(old API) (API, error) {
			old.DefaultVersion = v.ID
			return old, nil
		})
		must(t, err)
		refused(t, "DeleteVersion that check refuses", b.DeleteVersion(ctx, ann, v.Name(), func(Version) error { return stop }), codes.Aborted, "stop")
		if got, err := b.API(ctx, ann, a.ID); err != nil || got.DefaultVersion != v.ID || got.Etag != 2 {
			t.Errorf("API after a refused deletion = %+v, %v", got, err)
		}
		now := b.tick()
		must(t, b.DeleteVersion(ctx, ann, v.Name(), allow[Version]))
		b.wantEvent("the end", &backplanev1.RouteEvent{RemovedRoutes: []string{v.Name().String()}})
		if got, err := b.API(ctx, ann, a.ID); err != nil || got.DefaultVersion != "" || got.Etag != 3 || !got.UpdatedAt.Equal(now) {
			t.Errorf("API after the deletion of its default version = %+v, %v", got, err)
		}
		refused(t, "DeleteVersion after its end", b.DeleteVersion(ctx, ann, v.Name(), allow[Version]), codes.NotFound, v.ID)
	})
}

// What is not published is seen by its owner and by those who see everything, in
// reads and in writes.
func TestVersionOfSomebodyElse(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		v := b.version(b.api("ann", "Echo", "/echo"), "1.0.0")
		keep := func(old Version) (Version, error) { return old, nil }
		_, err := b.Version(ctx, bob, v.Name())
		refused(t, "Version", err, codes.NotFound, v.Name().String())
		_, err = b.UpdateVersion(ctx, bob, v.Name(), keep)
		refused(t, "UpdateVersion", err, codes.NotFound, v.Name().String())
		refused(t, "DeleteVersion", b.DeleteVersion(ctx, bob, v.Name(), allow[Version]), codes.NotFound, v.Name().String())
		b.publish(v)
		_, err = b.Version(ctx, bob, v.Name())
		must(t, err)
	})
}

func TestVersionRefusals(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		a := b.api("ann", "Echo", "/echo")
		v := b.version(a, "1.0.0")
		create := func(v Version) error {
			_, err := b.CreateVersion(ctx, anew, ann, v, allow[API])
			return err
		}
		refused(t, "CreateVersion", create(sample(a, "1.0.0")), codes.AlreadyExists, `the API has a version "1.0.0"`)
		beta := b.version(a, "Beta")
		refused(t, "CreateVersion that differs in case", create(sample(a, "beta")), codes.AlreadyExists, `the API has a version "Beta"`)
		must(t, b.DeleteVersion(ctx, ann, beta.Name(), allow[Version]))
		bad := sample(a, "2")
		bad.Plans = []string{"gold", "nonesuch"}
		refused(t, "CreateVersion", create(bad), codes.InvalidArgument, "version.plans[1]: there is no plans/nonesuch")
		_, err := b.UpdateVersion(ctx, ann, v.Name(), func(old Version) (Version, error) {
			old.Plans = bad.Plans
			return old, nil
		})
		refused(t, "UpdateVersion", err, codes.InvalidArgument, "version.plans[1]: there is no plans/nonesuch")
		bad = sample(a, "2")
		bad.TrafficPlan = "nonesuch"
		refused(t, "CreateVersion", create(bad), codes.InvalidArgument, "version.traffic_plan: there is no plans/nonesuch")
		bad = sample(a, "2")
		must(t, b.DeleteVersion(ctx, ann, v.Name(), allow[Version]))
		must(t, b.DeletePlan(ctx, DefaultSubscriptionless, unused))
		refused(t, "CreateVersion", create(bad), codes.InvalidArgument, "version.subscriptionless: there is no plans/async-default-subscriptionless")
		for i := range MaxVersions {
			must(t, create(Version{APIID: a.ID, Version: fmt.Sprintf("2.%d", i)}))
		}
		refused(t, "CreateVersion", create(Version{APIID: a.ID, Version: "3"}), codes.FailedPrecondition, "has 200 versions")
	})
}

func TestVersions(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		anns, bobs := b.api("ann", "Ann's", "/ann"), b.api("bob", "Bob's", "/bob")
		named := map[string]string{} // by id
		for i := range 4 {
			for _, a := range []API{bobs, anns} {
				v := sample(a, fmt.Sprint(i))
				v.Tags = []string{[]string{"even", "odd"}[i%2]}
				v, err := b.CreateVersion(ctx, anew, root, v, allow[API])
				must(t, err)
				if i == 0 {
					b.publish(v)
				}
				named[v.ID] = fmt.Sprintf("%s-%d", a.Owner, i)
				b.tick()
			}
		}
		api, tag, state, version := []string{bobs.ID}, "odd", Published, "2"
		for _, c := range []struct {
			who    identity.Viewer
			filter VersionFilter
			want   []string
		}{
			{root, VersionFilter{}, []string{"bob-0", "ann-0", "bob-1", "ann-1", "bob-2", "ann-2", "bob-3", "ann-3"}},
			{ann, VersionFilter{}, []string{"bob-0", "ann-0", "ann-1", "ann-2", "ann-3"}},
			{ann, VersionFilter{APIs: api}, []string{"bob-0"}},
			{ann, VersionFilter{APIs: []string{bobs.ID, anns.ID, "none"}, Tag: &tag}, []string{"ann-1", "ann-3"}},
			{root, VersionFilter{APIs: api, Tag: &tag}, []string{"bob-1", "bob-3"}},
			{root, VersionFilter{State: &state}, []string{"bob-0", "ann-0"}},
			{bob, VersionFilter{Version: &version}, []string{"bob-2"}},
		} {
			rows := list(t, b.Versions(ctx, c.who, c.filter, Order{}, ListPlace{}))
			var got []string
			for _, row := range rows {
				got = append(got, named[row.ID])
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("Versions(%+v, %+v) = %v, want %v", c.who, c.filter, got, c.want)
			}
			for i, row := range rows {
				next := list(t, b.Versions(ctx, c.who, c.filter, Order{}, row.ListPlace(Order{})))
				if diff := cmp.Diff(rows[i+1:], next); len(next) != len(rows)-i-1 || len(next) > 0 && diff != "" {
					t.Errorf("Versions(%+v, %+v) after row %d (-want +got):\n%s", c.who, c.filter, i, diff)
				}
			}
		}
	})
}

// Who publishes sees what is created too, and its API; nobody else but its owner does.
func TestWhoPublishesSeesWhatIsCreated(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx, pete := t.Context(), identity.Viewer{User: "pete", Publishes: true}
		empty, a := b.api("ann", "Empty", "/empty"), b.api("ann", "Echo", "/echo")
		v := b.version(a, "1")
		for viewer, sees := range map[identity.Viewer]bool{root: true, ann: true, pete: true, bob: false} {
			_, err := b.API(ctx, viewer, a.ID)
			_, err2 := b.Version(ctx, viewer, v.Name())
			apis, versions := list(t, b.APIs(ctx, viewer, APIFilter{Context: &a.Context}, Order{}, ListPlace{})), list(t, b.Versions(ctx, viewer, VersionFilter{}, Order{}, ListPlace{}))
			if (err == nil) != sees || (err2 == nil) != sees || (len(apis) == 1) != sees || (len(versions) == 1) != sees {
				t.Errorf("%+v reads %v, %v and lists %v, %v, want to see them: %v", viewer, err, err2, apis, versions, sees)
			}
		}
		_, err := b.API(ctx, pete, empty.ID)
		refused(t, "API without a version", err, codes.NotFound, empty.Name().String())
	})
}

func TestSnapshot(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		must(t, b.NameInstallation(t.Context()))
		name, err := readInstallation(t.Context(), b.db)
		must(t, err)
		want := &backplanev1.RouteSnapshot{Installation: name}
		for _, p := range list(t, b.Plans(t.Context(), PlanFilter{}, Order{}, ListPlace{})) {
			want.Plans = append(want.Plans, p.Message())
		}
		a := b.api("ann", "Echo", "/echo")
		for i := range 3 {
			want.Routes = append(want.Routes, b.version(a, fmt.Sprint(i)).Route())
			b.tick()
		}
		got := &backplanev1.RouteSnapshot{}
		must(t, b.db.InReadTx(t.Context(), func(tx *sqldb.Tx) error {
			return b.Snapshot(t.Context(), tx, func(piece proto.Message) { proto.Merge(got, piece) })
		}))
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("Snapshot (-want +got):\n%s", diff)
		}
	})
}
