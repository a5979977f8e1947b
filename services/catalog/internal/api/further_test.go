package api

import (
	"slices"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/catalog/internal/store"
)

// TestFurtherAddresses: administrators give addresses on the shared host and publishers on
// virtual hosts; whoever may change the version keeps what it has.
func TestFurtherAddresses(t *testing.T) {
	f, ctx := onSQLite(t), t.Context()
	virtual := []store.VirtualHost{{Name: "chat.example.com", Scheme: "wss"}, {Name: "*.apps.example.com", Scheme: "wss", Port: ":8443"}}
	if err := f.store.AdvertiseFurther(ctx, []string{"ws://gw:9099", "wss://gw:8099"}, virtual); err != nil {
		t.Fatal(err)
	}
	api := f.api("Echo")
	v := f.version(api, "1.0.0")
	bobs := f.apiOf(f.bob, "Bobs")
	create := func(who grpc.CallOption, more func(*catalogv1.Version)) (*catalogv1.Version, error) {
		made := &catalogv1.Version{Version: "1", Endpoints: &catalogv1.Endpoints{Production: endpoint("ws://b")}}
		more(made)
		return f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{Parent: bobs.GetName(), Version: made}, who)
	}
	update := func(who grpc.CallOption, name string, list ...string) (*catalogv1.Version, error) {
		next := &catalogv1.Version{Name: name}
		furtherAt(list...)(next)
		return f.UpdateVersion(ctx, &catalogv1.UpdateVersionRequest{Version: next, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"further_addresses"}}}, who)
	}
	const shared = "only administrators give addresses on the shared host; on a virtual host publishers do"
	_, err := create(f.bob, furtherAt("chat.example.com", "/bob"))
	wantError(t, "a creator's virtual host", err, codes.PermissionDenied, "this needs the role publisher: without it, further_addresses cannot be changed")
	_, err = create(f.bob, furtherAt("", "/bob"))
	wantError(t, "a creator's shared address", err, codes.PermissionDenied, "version.further_addresses[0]: "+shared)
	bob, err := create(f.bob, furtherAt())
	if err != nil {
		t.Fatal(err)
	}
	_, err = update(f.bob, bob.GetName(), "chat.example.com", "/bob")
	wantError(t, "a creator's change", err, codes.PermissionDenied, "this needs the role publisher: without it, further_addresses cannot be changed")

	_, err = update(f.ann, v.GetName(), "chat.example.com", "/a", "", "/cable")
	wantError(t, "a publisher's shared address", err, codes.PermissionDenied, "version.further_addresses[1]: "+shared)
	_, err = update(f.root, v.GetName(), "", "")
	wantError(t, "an address that is nowhere", err, codes.InvalidArgument, "version.further_addresses[0]: needs a prefix, a host, or both")
	if _, err = update(f.root, v.GetName(), "", "/cable"); err != nil {
		t.Fatal(err)
	}
	got, err := update(f.ann, v.GetName(), "", "/cable", "chat.example.com", "", "one.apps.example.com", "/x", "*.apps.example.com", "/any")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"ws://gw:9099/echo/1.0.0", "wss://gw:8099/echo/1.0.0", "ws://gw:9099/cable", "wss://gw:8099/cable",
		"wss://chat.example.com/", "wss://one.apps.example.com:8443/x",
	}
	if !slices.Equal(got.GetAddresses(), want) {
		t.Errorf("addresses = %q, want %q", got.GetAddresses(), want)
	}
	if wildcard := got.GetFurtherAddresses()[3].GetAddresses(); !slices.Equal(wildcard, []string{"wss://*.apps.example.com:8443/any"}) {
		t.Errorf("the wildcard is advertised as %q", wildcard)
	}
	route, err := f.routes.GetRoute(ctx, &backplanev1.GetRouteRequest{Name: v.GetName()})
	if err != nil || len(route.GetFurtherAddresses()) != 4 {
		t.Errorf("GetRoute = %v, %v, want four further addresses", route.GetFurtherAddresses(), err)
	}

	copied, err := f.CreateVersion(ctx, &catalogv1.CreateVersionRequest{
		Parent: api.GetName(), SourceVersion: v.GetName(), Version: &catalogv1.Version{Version: "2.0.0"},
	}, f.ann)
	if err != nil || len(copied.GetFurtherAddresses()) != 0 {
		t.Errorf("a copy has the addresses %v, %v, want none", copied.GetFurtherAddresses(), err)
	}
	if err := f.store.AdvertiseFurther(ctx, nil, virtual[1:]); err != nil {
		t.Fatal(err)
	}
	got, err = f.GetVersion(ctx, &catalogv1.GetVersionRequest{Name: v.GetName()}, f.ann)
	gone := "further_addresses[1]: the installation has no virtual host chat.example.com any more, so gateways do not serve it"
	if err != nil || !slices.Equal(got.GetWarnings(), []string{gone}) {
		t.Errorf("warnings = %q, %v, want %q", got.GetWarnings(), err, gone)
	}
	if got, err = update(f.ann, v.GetName()); err != nil || len(got.GetFurtherAddresses()) != 0 {
		t.Errorf("the owner's removal of all = %v, %v", got.GetFurtherAddresses(), err)
	}
}
