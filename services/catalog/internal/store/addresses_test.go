package store

import (
	"fmt"
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// hosts are virtual hosts for tests.
func virtual() []VirtualHost {
	return []VirtualHost{
		{Name: "chat.example.com", Scheme: "wss"}, {Name: "chat.example.com", Scheme: "ws", Port: ":9099"},
		{Name: "*.apps.example.com", Scheme: "wss", Port: ":8443"}, {Name: "own.apps.example.com", Scheme: "wss"},
	}
}

// address adds an address to a version as a viewer.
func (b *bench) address(who identity.Viewer, v Version, host, prefix string) error {
	_, err := b.UpdateVersion(b.t.Context(), who, v.Name(), func(old Version) (Version, error) {
		old.Further = append(slices.Clone(old.Further), FurtherAddress{Host: host, Prefix: prefix})
		return old, nil
	})
	return err
}

// TestFurtherAddressesDoNotMeet: what one API has, no other gets a part of, and what one
// version has, no other of the API gets as a whole.
func TestFurtherAddressesDoNotMeet(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		must(t, b.AdvertiseFurther(t.Context(), []string{"wss://gw.example"}, virtual()))
		echo, other := b.api("ann", "Echo", "/team/echo"), b.api("bob", "Other", "/other")
		v1, v2, others := b.version(echo, "1.0.0"), b.version(echo, "2.0.0"), b.version(other, "1")
		for _, a := range [][2]string{
			{"", "/app/Socket"}, {"", "/team"}, {"", "/team/echo/legacy"},
			{"chat.example.com", "/nandbox/api"}, {"own.apps.example.com", ""}, {"*.apps.example.com", "/any"},
		} {
			must(t, b.address(root, v1, a[0], a[1]))
		}
		const around, version = "lies around or under ", "lies at or under the address that a version of the API has or had"
		for _, c := range []struct {
			who               identity.Viewer
			v                 Version
			host, prefix, why string
		}{
			{root, others, "", "/app/socket", `"/app/socket" is taken`},
			{root, v2, "", "/app/socket", `"/app/socket" is taken`},
			{root, others, "", "/app/socket/v3", around + "an address of another API"},
			{root, others, "", "/APP", around + "an address of another API"},
			{root, others, "", "/team", `"/team" is taken`},
			{root, others, "", "/team/echo", around + "an address of another API"},
			{root, v2, "", "/team/Echo", "is the context of the API"},
			{root, v2, "", "/other", around + "the context of another API"},
			{root, v2, "", "/other/1", around + "the context of another API"},
			{root, v2, "", "/team/echo/1.0.0", version},
			{root, v2, "", "/team/echo/2.0.0", version},
			{root, v2, "", "/team/echo/1.0.0/deep", version},
			{root, others, "chat.example.com", "/nandbox/api", `"chat.example.com/nandbox/api" is taken`},
			{root, v2, "chat.example.com", "/Nandbox/API", "is taken"},
			{root, others, "chat.example.com", "/nandbox", around + "an address of another API"},
			{root, others, "chat.example.com", "", around + "an address of another API"},
			{root, others, "own.apps.example.com", "/x", around + "an address of another API"},
			{bob, others, "two.apps.example.com", "/x", `"two.apps.example.com" is one of those that another owner's wildcard stands for`},
		} {
			err := b.address(c.who, c.v, c.host, c.prefix)
			refused(t, fmt.Sprintf("%s%s for %s", c.host, c.prefix, c.v.Label()), err, codes.AlreadyExists, c.why)
		}
		for _, c := range []struct {
			v            Version
			host, prefix string
		}{
			{v2, "", "/app/socket/v3"}, {v2, "", "/team/echo/3.0.0"}, {others, "", "/app2"}, {others, "", "/app-socket"},
			{v2, "chat.example.com", "/nandbox"}, {others, "chat.example.com", "/nandbox2"}, {others, "chat.example.com", "/team/echo/1.0.0"},
			{v2, "own.apps.example.com", "/x"}, {others, "two.apps.example.com", "/x"},
		} {
			if err := b.address(root, c.v, c.host, c.prefix); err != nil {
				t.Errorf("%s%s for %s: %v", c.host, c.prefix, c.v.Label(), err)
			}
		}

		// What comes later keeps away from them, too.
		context := func(context string) error {
			_, err := b.CreateAPI(t.Context(), anew, root, API{DisplayName: context, Context: context})
			return err
		}
		for _, c := range []string{"/app", "/app/socket", "/APP/SOCKET/x", "/team", "/team/echo/legacy"} {
			refused(t, "CreateAPI "+c, context(c), codes.AlreadyExists, "lies around or under a further address of another API")
		}
		must(t, context("/application"))
		_, err := b.CreateVersion(t.Context(), anew, root, sample(echo, "3.0.0"), allow[API])
		refused(t, "CreateVersion", err, codes.AlreadyExists, `version.version: a further address is at or under "/team/echo/3.0.0"`)
		move := func(context string) error {
			_, err := b.UpdateAPI(t.Context(), root, echo.ID, func(old API) (API, error) {
				old.Context = context
				return old, nil
			})
			return err
		}
		must(t, b.address(root, v1, "", "/moved/1.0.0/x"))
		refused(t, "UpdateAPI", move("/app/socket"), codes.AlreadyExists, "would be that of one of its versions")
		refused(t, "UpdateAPI", move("/moved"), codes.AlreadyExists, "would be that of one of its versions")
		refused(t, "UpdateAPI", move("/app2"), codes.AlreadyExists, "lies around or under a further address of another API")
		must(t, move("/app/socket/deep"))

		// A host below which another owner has one is not taken as a whole.
		guest := b.version(b.api("bob", "Guest", "/guest"), "1")
		must(t, b.AdvertiseFurther(t.Context(), nil, append(virtual(), VirtualHost{Name: "*.example.com", Scheme: "wss"})))
		refused(t, "a wildcard", b.address(bob, guest, "*.example.com", ""), codes.AlreadyExists, `"*.example.com" stands for a host of another owner's`)
		must(t, b.address(root, guest, "*.example.com", ""))

		// What a version no longer has is free.
		must(t, b.DeleteVersion(t.Context(), root, v1.Name(), allow[Version]))
		must(t, b.address(root, guest, "own.apps.example.com", "/y"))
	})
}

// TestOneGetsAFurtherAddress: of many versions that want an address at the same time, one
// gets it, and of an address and a context that meet one is made.
func TestOneGetsAFurtherAddress(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		must(t, b.AdvertiseFurther(t.Context(), nil, virtual()))
		const callers = 8
		for _, host := range []string{"", "chat.example.com"} {
			errs := make(chan error, callers)
			start := make(chan struct{})
			for i := range callers {
				v := b.version(b.api("ann", fmt.Sprint("API ", host, i), fmt.Sprint("/c", len(host), i)), "1")
				go func() {
					<-start
					if i%4 == 3 && host == "" {
						_, err := b.CreateAPI(t.Context(), anew, root, API{DisplayName: fmt.Sprint("Context ", i), Context: "/race"})
						errs <- err
						return
					}
					errs <- b.address(root, v, host, []string{"/race", "/Race", "/race/x"}[i%3])
				}()
			}
			close(start)
			won := 0
			for range callers {
				if err := <-errs; err == nil {
					won++
				} else if !fault.Is(err, codes.AlreadyExists) {
					t.Errorf("an address = %v, want ALREADY_EXISTS", err)
				}
			}
			if won != 1 {
				t.Errorf("%d got addresses on %q that meet, want 1", won, host)
			}
		}
	})
}

// TestAdvertiseFurther: addresses are as the installation advertises them, and follow what it
// says at its next start, as do routes; what it says again changes nothing.
func TestAdvertiseFurther(t *testing.T) {
	each(t, func(t *testing.T, b *bench) {
		ctx := t.Context()
		gateways := []string{"ws://gw:9099", "wss://gw/base"}
		must(t, b.AdvertiseFurther(ctx, gateways, virtual()))
		a := b.api("ann", "Echo", "/echo")
		v, err := b.CreateVersion(ctx, anew, root, Version{APIID: a.ID, Version: "1", Further: []FurtherAddress{
			{Prefix: "/cable"}, {Host: "chat.example.com"}, {Host: "chat.example.com", Prefix: "/api", Serves: ServesHTTP, KeepPrefix: true},
			{Host: "*.apps.example.com", Prefix: "/any"}, {Host: "x.apps.example.com"}, {Host: "own.apps.example.com", Prefix: "/o"},
		}}, allow[API])
		must(t, err)
		addresses := func() (all [][]string) {
			got, err := b.Version(ctx, ann, v.Name())
			must(t, err)
			for _, f := range got.Further {
				all = append(all, f.Addresses)
			}
			return all
		}
		same := func(what string, want [][]string) {
			t.Helper()
			if got := addresses(); !slices.EqualFunc(got, want, slices.Equal) {
				t.Errorf("%s: addresses = %q, want %q", what, got, want)
			}
		}
		want := [][]string{
			{"ws://gw:9099/cable", "wss://gw/base/cable"}, {"wss://chat.example.com/", "ws://chat.example.com:9099/"},
			{"https://chat.example.com/api", "http://chat.example.com:9099/api"}, {"wss://*.apps.example.com:8443/any"},
			{"wss://x.apps.example.com:8443/"}, {"wss://own.apps.example.com/o"},
		}
		same("made", want)
		if served := v.Route().GetFurtherAddresses(); len(served) != 6 || !served[2].GetKeepPrefix() {
			t.Errorf("the route has %v, want all six", served)
		}
		_, before := b.event()
		must(t, b.AdvertiseFurther(ctx, gateways, virtual()))
		if _, after := b.event(); after != before {
			t.Error("what is said again is a change")
		}
		must(t, b.AdvertiseFurther(ctx, nil, virtual()[:1]))
		want = [][]string{nil, {"wss://chat.example.com/"}, {"https://chat.example.com/api"}, nil, nil, nil}
		same("at the next start", want)
		event, after := b.event()
		if len(event.GetRoutes()) != 1 || len(event.GetRoutes()[0].GetFurtherAddresses()) != 3 || event.GetRoutes()[0].GetChangeNumber() != after {
			t.Errorf("the change has %v, want the route with what is left", event)
		}
		refused(t, "a host that is gone", b.address(root, v, "y.apps.example.com", ""), codes.InvalidArgument,
			`version.further_addresses[6].host: there is no virtual host "y.apps.example.com": there are chat.example.com`)
		_, err = b.UpdateVersion(ctx, ann, v.Name(), func(old Version) (Version, error) {
			old.Description = "what it had stays"
			return old, nil
		})
		must(t, err)
		must(t, b.AdvertiseFurther(ctx, nil, nil))
		refused(t, "without virtual hosts", b.address(root, v, "y.example.com", ""), codes.InvalidArgument, "the installation has none, only the shared host, which is an empty text")
	})
}
