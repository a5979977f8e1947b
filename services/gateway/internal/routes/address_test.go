package routes

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

// at gives a route further addresses.
func at(list ...Address) func(*Route) { return func(r *Route) { r.Further = list } }

// TestMatchFurther: the host decides first, then the longest prefix; neither is taken back.
func TestMatchFurther(t *testing.T) {
	paths := func(r *Route) { r.DefaultPaths = true }
	tab := table(t,
		route("/echo", "1", standard, paths, at(
			Address{Prefix: "/app/socket"}, Address{Prefix: "/cable", Keep: true}, Address{Prefix: "/public/api/v1", Serves: Serves{NoSocket: true}},
			Address{Host: "chat.example.com"}, Address{Host: "*.apps.example.com", Prefix: "/any"},
		)),
		route("/echo", "2", at(Address{Prefix: "/app/socket/v3"}, Address{Prefix: "/echo/legacy"}, Address{Host: "chat.example.com", Prefix: "/nandbox/api", Keep: true})),
		route("/team", "1", at(Address{Host: "one.apps.example.com", Prefix: "/x"}, Address{Host: "chat.example.com", Prefix: "/nandbox/upload", Serves: Serves{NoHTTP: true}})),
		route("/draft", "1", hidden, at(Address{Prefix: "/draft/address"}, Address{Host: "hidden.example.com"})),
	)
	for _, tt := range []struct{ host, path, want, suffix string }{
		{"gw.example", "/app/socket", "/echo 1", ""},
		{"gw.example", "/app/socket/", "/echo 1", "/"},
		{"gw.example", "/app/socket/websocket/a%20b", "/echo 1", "/websocket/a%20b"},
		{"gw.example", "/app/socket/v3", "/echo 2", ""},
		{"gw.example", "/app/socket/v3/x", "/echo 2", "/x"},
		{"gw.example", "/app/socket/v31", "/echo 1", "/v31"},
		{"gw.example", "/cable", "/echo 1", "/cable"},
		{"gw.example", "/cable/x/", "/echo 1", "/cable/x/"},
		{"gw.example", "/public/api/v1/x", "/echo 1", "/x"},
		{"gw.example", "/echo/2/x", "/echo 2", "/x"}, // its normal address goes on
		{"gw.example", "/echo/legacy/x", "/echo 2", "/x"},
		{"gw.example", "/echo/other", "/echo 1", "/other"},
		{"gw.example", "/app", "", ""},           // above an address
		{"gw.example", "/App/socket", "", ""},    // case counts in paths
		{"gw.example", "/app/sock%65t", "", ""},  // as it came
		{"gw.example", "/draft/address", "", ""}, // not published
		{"gw.example", "/nandbox/api/x", "", ""}, // on its host only
		{"", "/cable", "/echo 1", "/cable"},      // HTTP/1.0 has no Host
		{"[2001:db8::1]:8099", "/cable", "/echo 1", "/cable"},

		{"chat.example.com", "/", "/echo 1", ""},
		{"chat.example.com", "/x/y", "/echo 1", "/x/y"},
		{"Chat.Example.COM:8443", "/x", "/echo 1", "/x"},
		{"chat.example.com.", "/x", "/echo 1", "/x"},
		{"chat.example.com.:443", "/x", "/echo 1", "/x"},
		{"chat.example.com:", "/x", "/echo 1", "/x"},
		{"chat.example.com", "/nandbox/api/x", "/echo 2", "/nandbox/api/x"},
		{"chat.example.com", "/nandbox/upload/x", "/team 1", "/x"},
		{"chat.example.com", "/nandbox/uploads", "/echo 1", "/nandbox/uploads"},
		{"chat.example.com", "/echo/2", "/echo 1", "/echo/2"}, // a virtual host has nothing of the shared one
		{"chat.example.com", "/cable", "/echo 1", "/cable"},
		{"chat.example.com", "/-/other", "/echo 1", "/-/other"}, // the listener has taken what is ours before

		{"a.apps.example.com", "/any", "/echo 1", ""},
		{"a.apps.example.com:1", "/any/x", "/echo 1", "/x"},
		{"a.apps.example.com", "/echo/2", "", ""},     // not the shared host's
		{"a.apps.example.com", "/x", "", ""},          // another name's
		{"one.apps.example.com", "/x", "/team 1", ""}, // the exact name goes before the wildcard
		{"one.apps.example.com", "/any", "", ""},      // and does not fall back to it
		{"one.apps.example.com", "/echo/2", "", ""},   // nor to the shared host
		{"a.b.apps.example.com", "/any", "", ""},      // one label only: the shared host
		{"a.b.apps.example.com", "/echo/2", "/echo 2", ""},
		{"apps.example.com", "/echo/2", "/echo 2", ""},
		{".apps.example.com", "/echo/2", "/echo 2", ""},
		{"hidden.example.com", "/echo/2", "", ""},             // of a version that is not published
		{"chat.example.com..", "/cable", "/echo 1", "/cable"}, // no such name: the shared host
		{"chat.example.com:x", "/cable", "/echo 1", "/cable"},
		{"chat.example.com:80:80", "/cable", "/echo 1", "/cable"},
		{"%63hat.example.com", "/echo/2", "/echo 2", ""},
		{"xchat.example.com", "/echo/2", "/echo 2", ""},
	} {
		m, err := tab.Match(tt.host, tt.path)
		if tt.want == "" {
			if !isNoRoute(err) || m.Route != nil {
				t.Errorf("Match(%q, %q) = %v, %v, want %v", tt.host, tt.path, m, err, errNoRoute)
			}
			continue
		}
		if err != nil || m.Route.Context+" "+m.Route.Segment != tt.want || m.Suffix != tt.suffix {
			t.Errorf("Match(%q, %q) = %v, %v, want %s and %q", tt.host, tt.path, m, err, tt.want, tt.suffix)
		}
	}
	for path, want := range map[string]Serves{"/cable": {}, "/public/api/v1": {NoSocket: true}, "/echo/1": {}} {
		if m, err := tab.Match("", path); err != nil || m.Serves != want {
			t.Errorf("Match(%q) serves %+v, %v, want %+v", path, m.Serves, err, want)
		}
	}
	if m, err := tab.Match("hidden.example.com", "/x"); !errors.Is(err, errNotPublished) || m.Hidden == nil || m.Suffix != "/x" {
		t.Errorf("Match of a version that is not published = %+v, %v, want it hidden", m, err)
	}
	if _, err := tab.Match("chat.example.com", "/a//b"); !errors.Is(err, ErrBadPath) {
		t.Errorf("a bad path on a virtual host: %v, want %v", err, ErrBadPath)
	}
}

// TestAddressesMove: an address goes from one version to another in one change, whichever
// is changed first, and a host that has nothing any more is shared again.
func TestAddressesMove(t *testing.T) {
	a, b := Address{Host: "h.example", Prefix: "/a"}, Address{Host: "h.example", Prefix: "/b"}
	with := func(context string, list ...Address) *Route { return route(context, "1", at(list...)) }
	tab := table(t, with("/x", a), with("/y", b))
	lead := func(tab *Table, path, want string) {
		t.Helper()
		if m, err := tab.Match("h.example", path); err != nil || m.Route.Context != want {
			t.Errorf("Match(%q) = %v, %v, want %s", path, m.Route, err, want)
		}
	}
	for _, put := range [][]*Route{{with("/x", b), with("/y", a)}, {with("/y", a), with("/x", b)}} {
		next, err := tab.With(Changes{Put: put})
		if err != nil {
			t.Fatal(err)
		}
		lead(next, "/a", "/y")
		lead(next, "/b", "/x")
		lead(tab, "/a", "/x") // the table before is as it was
		next, err = next.With(Changes{Put: []*Route{with("/x")}, Remove: []string{"apis//y/versions/1"}})
		if err != nil || len(next.exact) != 0 {
			t.Errorf("%d virtual hosts, %v, want none", len(next.exact), err)
		}
		lead(next, "/x/1", "/x")
	}
	_, err := new(Table).With(Changes{Put: []*Route{with("/x", Address{Host: "No Host"}), with("/y", Address{}), with("/z", Address{Prefix: "/-/x"})}})
	if err == nil || len(errorsOf(err)) != 3 {
		t.Errorf("With = %v, want three routes that cannot be served", err)
	}
}

func errorsOf(err error) []error {
	var all interface{ Unwrap() []error }
	if errors.As(err, &all) {
		return all.Unwrap()
	}
	return nil
}

func TestFurtherAddressesOfRoutes(t *testing.T) {
	p := &backplanev1.Route{
		Name: "apis/a/versions/v", Context: "/app", Version: "1", AdvertisedHosts: []string{"gw.example"},
		Endpoints:      &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: "ws://b"}}}},
		BackendOptions: &catalogv1.BackendOptions{Host: catalogv1.BackendOptions_HOST_CLIENT},
		FurtherAddresses: []*catalogv1.FurtherAddress{
			{Prefix: "/a", Serves: catalogv1.FurtherAddress_SERVES_ALL, Addresses: []string{"wss://gw.example/a"}},
			{Host: "h.example", Serves: catalogv1.FurtherAddress_SERVES_HTTP, KeepPrefix: true, Addresses: []string{"https://h.example", "http://h.example:80", "http://h.example:443"}},
			{Host: "*.apps.example", Prefix: "/b", Serves: catalogv1.FurtherAddress_SERVES_SOCKET, Addresses: []string{"wss://*.apps.example:8443/b"}},
		},
	}
	r, err := fromProto(p)
	if err != nil {
		t.Fatal(err)
	}
	want := []Address{
		{Prefix: "/a"}, {Host: "h.example", Serves: Serves{NoSocket: true}, Keep: true}, {Host: "*.apps.example", Prefix: "/b", Serves: Serves{NoHTTP: true}},
	}
	if diff := cmp.Diff(want, r.Further); diff != "" {
		t.Errorf("further addresses (-want +got):\n%s", diff)
	}
	if want := []string{"gw.example", "h.example", "h.example:443", "*.apps.example:8443"}; !slices.Equal(r.Backends.ClientHosts, want) {
		t.Errorf("hosts for backends = %q, want %q", r.Backends.ClientHosts, want)
	}
	for asked, want := range map[string]string{
		"x.apps.example:8443": "x.apps.example:8443", "x.apps.example": "b", "x.y.apps.example:8443": "b", "H.example:443": "H.example:443", "other": "b",
	} {
		if got := r.Backends.HostFor(r.Production.Endpoints[0], asked, true); got != want {
			t.Errorf("the backend gets %q as Host where %q was asked for, want %q", got, asked, want)
		}
	}
	p.FurtherAddresses[0].Serves = 77
	if r, err = fromProto(p); err != nil || len(r.Missing()) == 0 {
		t.Errorf("an address of an unknown kind is served: %v", err)
	}
}
