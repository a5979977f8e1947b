package store

import (
	"fmt"
	"slices"
	"testing"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
)

// TestAdvertiseInSeveralChanges: more routes than one change may have.
func TestAdvertiseInSeveralChanges(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		a := b.api("ann", "Echo", "/echo")
		const versions = 2*advertiseBatch + 1
		for i := range versions {
			_, err := b.CreateVersion(ctx, anew, ann, Version{APIID: a.ID, Version: fmt.Sprint(i), BackendHost: HostClient}, allow[API])
			must(t, err)
		}
		_, before := b.event()
		must(t, b.Advertise(ctx, []string{"gw.example"}))
		last, after := b.event()
		if after != before+3 || len(last.GetRoutes()) != 1 {
			t.Errorf("%d changes, the last of %d routes, want 3 and 1", after-before, len(last.GetRoutes()))
		}
		for _, v := range list(t, b.Versions(ctx, root, VersionFilter{}, Order{}, ListPlace{})) {
			if !slices.Equal(v.AdvertisedHosts, []string{"gw.example"}) {
				t.Errorf("version %s has the hosts %q", v.Version, v.AdvertisedHosts)
			}
		}
	})
}

// TestAdvertise: routes whose backends may get the client's host have the hosts of the
// installation, and are changed with them.
func TestAdvertise(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		a := b.api("ann", "Echo", "/echo")
		b.version(a, "1")
		_, before := b.event()
		must(t, b.Advertise(ctx, []string{"old.example"}))
		if _, after := b.event(); after != before {
			t.Error("hosts that no route has are a change")
		}
		v := sample(a, "2")
		v.BackendHost, v.FixedHost = "CLIENT", ""
		v, err := b.CreateVersion(ctx, anew, ann, v, allow[API])
		must(t, err)
		if !slices.Equal(v.AdvertisedHosts, []string{"old.example"}) {
			t.Errorf("CreateVersion = %q, want the hosts of before", v.AdvertisedHosts)
		}
		advertise := func(hosts ...string) (uint64, *backplanev1.RouteEvent) {
			t.Helper()
			must(t, b.Advertise(ctx, hosts))
			e, number := b.event()
			return number, e
		}
		first, e := advertise("gw.example", "gw.example:9099", "gw.example")
		want := []string{"gw.example", "gw.example:9099"}
		if len(e.GetRoutes()) != 1 || !slices.Equal(e.GetRoutes()[0].GetAdvertisedHosts(), want) || e.GetRoutes()[0].GetChangeNumber() != first {
			t.Errorf("event = %v, want the route of the version 2 with %q", e, want)
		}
		if again, _ := advertise("gw.example:9099", "gw.example"); again != first {
			t.Error("the same hosts are a change")
		}
		if next, e := advertise(); next != first+1 || len(e.GetRoutes()) != 1 || len(e.GetRoutes()[0].GetAdvertisedHosts()) != 0 {
			t.Errorf("event = %v, want the route of the version 2 without hosts", e)
		}
		if got, err := b.Version(ctx, ann, v.Name()); err != nil || len(got.AdvertisedHosts) != 0 {
			t.Errorf("Version = %v, %v, want one without hosts", got.AdvertisedHosts, err)
		}
	})
}
