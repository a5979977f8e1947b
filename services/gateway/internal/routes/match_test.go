package routes

import (
	"errors"
	"fmt"
	"github.com/tidegatehq/tidegate/services/gateway/internal/balance"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/gateway/internal/session"

	"pgregory.net/rapid"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
)

func route(context, version string, more ...func(*Route)) *Route {
	r := &Route{
		Name: "apis/" + context + "/versions/" + version, API: "apis/" + context,
		Context: context, Segment: version, Published: true,
	}
	for _, f := range more {
		f(r)
	}
	return r
}

func standard(r *Route) { r.Default = true }
func hidden(r *Route)   { r.Published = false }

func table(t testing.TB, list ...*Route) *Table {
	t.Helper()
	tab, err := newTable(list)
	if err != nil {
		t.Fatalf("NewTable: %v", err)
	}
	return tab
}

func TestMatch(t *testing.T) {
	tab := table(t,
		route("/echo", "1.0.0", standard), route("/echo", "2.0.0"), route("/echo", "3.0.0", hidden),
		route("/team", "v1"), route("/team/echo", "v1", standard), route("/team/echo", "v2"),
		route("/draft", "1", standard, hidden),
	)
	tests := []struct{ path, want, suffix string }{
		{"/echo/1.0.0", "/echo 1.0.0", ""},
		{"/echo/2.0.0", "/echo 2.0.0", ""},
		{"/echo", "/echo 1.0.0", ""},
		{"/echo/", "/echo 1.0.0", "/"},
		{"/echo/1.0.0/", "/echo 1.0.0", "/"},
		{"/echo/1.0.0/rooms/7/", "/echo 1.0.0", "/rooms/7/"},
		{"/echo/1.0.0/rooms/7", "/echo 1.0.0", "/rooms/7"},
		{"/echo/1.0.0/a%20b/%2e%2e%2e/..a/a..", "/echo 1.0.0", "/a%20b/%2e%2e%2e/..a/a.."},
		{"/echo/1.0.0/ä/~;v=1", "/echo 1.0.0", "/ä/~;v=1"},
		{"/team/v1", "/team v1", ""},
		{"/team/v1/echo", "/team v1", "/echo"},
		{"/team/echo", "/team/echo v1", ""},
		{"/team/echo/v2/x", "/team/echo v2", "/x"},

		{"/echo/3.0.0", "", ""},      // not published
		{"/draft", "", ""},           // its default version is not published
		{"/echo/9.9.9", "", ""},      // no such version
		{"/echo/rooms", "", ""},      // a version is needed before anything else
		{"/team", "", ""},            // no default version
		{"/team/", "", ""},           // no default version
		{"/team/echo/v3", "", ""},    // no falling back to /team
		{"/ECHO/1.0.0", "", ""},      // case counts
		{"/ech%6f/1.0.0", "", ""},    // as it came
		{"/echo2/1.0.0", "", ""},     // whole segments
		{"/", "", ""},                // no API
		{"/-/unknown", "", ""},       // ours
		{"/echo/1.0.0;x=1", "", ""},  // a version has no parameters
		{"/nothing/at/all", "", ""},  // no API
		{"/echo/1.0.0%20", "", ""},   // another version
		{"/teams/echo/v1", "", ""},   // another context
		{"/team%2decho/v1", "", ""},  // as it came
		{"/echo/%31.0.0/x", "", ""},  // as it came
		{"/team/echo2/v1", "", ""},   // version echo2 of /team
		{"/team/ech/v1/x/y", "", ""}, // version ech of /team
	}
	for _, tt := range tests {
		m, err := tab.Match("", tt.path)
		if tt.want == "" {
			if !isNoRoute(err) || m.Route != nil {
				t.Errorf("Match(%q) = %v, %v, want %v", tt.path, m, err, errNoRoute)
			}
			continue
		}
		if err != nil || m.Route.Context+" "+m.Route.Segment != tt.want || m.Suffix != tt.suffix {
			t.Errorf("Match(%q) = %v, %v, want %s and %q", tt.path, m, err, tt.want, tt.suffix)
		}
	}
}

func TestMatchBadPath(t *testing.T) {
	tab := table(t, route("/echo", "1.0.0", standard))
	for _, rest := range []string{
		"/.", "/..", "/./x", "/../x", "/%2e", "/%2E%2e", "/.%2e/x", "/..;x", "/.;", "/%2e%2e;a=b/x",
		"//", "//x", "/x//", "/x//y", "/x/%2e/", "/../",
		"/a%2fb", "/a%2Fb", "/a%5cb", "/a%5Cb", "/%00", `/a\b`,
		"/%", "/%2", "/%zz", "/%+1", "/a b", "/a\x00", "/a\x7f", "/a\tb", "/a?b", "/a#b",
	} {
		path := "/echo/1.0.0" + rest
		if _, err := tab.Match("", path); !errors.Is(err, ErrBadPath) {
			t.Errorf("Match(%q) = %v, want %v", path, err, ErrBadPath)
		}
	}
	for _, path := range []string{"", "echo", "*", "//", "/.", "/..", "//echo/1.0.0", "/echo//1.0.0", "/echo//", "http://x/echo"} {
		if _, err := tab.Match("", path); !errors.Is(err, ErrBadPath) {
			t.Errorf("Match(%q) = %v, want %v", path, err, ErrBadPath)
		}
	}
}

// TestPathsOfTheDefaultVersion: with default_version_paths, the default version gets
// what names no version. What names one, be it published or not, of today or of
// before, never gets to another.
func TestPathsOfTheDefaultVersion(t *testing.T) {
	paths := func(r *Route) {
		r.DefaultPaths, r.VersionStrings = true, map[string]struct{}{"1": {}, "2": {}, "3": {}, "0.9": {}, "beta": {}}
	}
	tab := table(t, route("/app", "1", standard, paths), route("/app", "2"), route("/app", "3", hidden),
		route("/app/rooms", "1", standard), route("/draft", "1", standard, hidden, paths))
	for _, tt := range []struct{ path, want, suffix string }{
		{"/app", "/app 1", ""},
		{"/app/", "/app 1", "/"},
		{"/app/socket.io/", "/app 1", "/socket.io/"},
		{"/app/hub", "/app 1", "/hub"},
		{"/app/hub/1", "/app 1", "/hub/1"},
		{"/app/%20/1", "/app 1", "/%20/1"},
		{"/app/1/x", "/app 1", "/x"},
		{"/app/2/x", "/app 2", "/x"},
		{"/app/4", "/app 1", "/4"},
		{"/app/3", "", ""},          // not published
		{"/app/3/x", "", ""},        // not published
		{"/app/0.9", "", ""},        // deleted
		{"/app/0%2e9/x", "", ""},    // deleted, and encoded
		{"/app/%31", "", ""},        // encoded
		{"/app/Beta/x", "", ""},     // a version string but for case
		{"/app/%42eta", "", ""},     // the same, and encoded
		{"/app/rooms/9", "", ""},    // another API's, which has no such paths
		{"/draft/anything", "", ""}, // its default version is not published
	} {
		m, err := tab.Match("", tt.path)
		if tt.want == "" {
			if !isNoRoute(err) {
				t.Errorf("Match(%q) = %v, %v, want %v", tt.path, m, err, errNoRoute)
			}
			continue
		}
		if err != nil || m.Route.Context+" "+m.Route.Segment != tt.want || m.Suffix != tt.suffix {
			t.Errorf("Match(%q) = %v, %v, want %s and %q", tt.path, m, err, tt.want, tt.suffix)
		}
	}
}

// naive matches a host and a path in the simplest way, without regard to speed.
func naive(list []*Route, host, path string) (*Route, string, error) {
	if path != "/" {
		segments := strings.Split(path, "/")
		if segments[0] != "" || len(segments) < 2 {
			return nil, "", ErrBadPath
		}
		for i, s := range segments[1:] {
			if s == "" && i > 0 && i == len(segments)-2 {
				continue
			}
			name, _, _ := strings.Cut(strings.ReplaceAll(strings.ToLower(s), "%2e", "."), ";")
			if s == "" || name == "." || name == ".." || !naiveEncoding(s) {
				return nil, "", ErrBadPath
			}
		}
	}
	below := func(prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }
	on := naiveHost(list, host)
	best, found := "", false
	var address *Route
	var keep bool
	for _, r := range list {
		if on == "" && below(r.Context) && len(r.Context) > len(best) {
			best, found, address = r.Context, true, nil
		}
		for _, a := range r.Further {
			if a.Host == on && below(a.Prefix) && (len(a.Prefix) > len(best) || !found) {
				best, found, address, keep = a.Prefix, true, r, a.Keep
			}
		}
	}
	if address != nil {
		switch {
		case !address.Published:
			return nil, "", errNoRoute
		case path == "/":
			return address, "", nil
		case keep:
			return address, path, nil
		}
		return address, path[len(best):], nil
	}
	for _, r := range list {
		version := r.Context + "/" + r.Segment
		switch {
		case on != "" || r.Context != best || !r.Published:
		case r.Default && (path == best || path == best+"/"):
			return r, path[len(best):], nil
		case path == version || strings.HasPrefix(path, version+"/"):
			return r, path[len(version):], nil
		}
	}
	return nil, "", errNoRoute
}

// port is what may follow a name in Host.
var port = regexp.MustCompile(`:[0-9]*$`)

// naiveHost returns the host of the addresses that a request can lead to.
func naiveHost(list []*Route, host string) string {
	name := strings.ToLower(strings.TrimSuffix(port.ReplaceAllString(host, ""), "."))
	label, rest, _ := strings.Cut(name, ".")
	for _, want := range []string{name, "*." + rest} {
		for _, r := range list {
			for _, a := range r.Further {
				if a.Host == want && want != "" && label != "" {
					return want
				}
			}
		}
	}
	return ""
}

func naiveEncoding(s string) bool {
	for _, bad := range []string{"%2f", "%5c", "%00"} {
		if strings.Contains(strings.ToLower(s), bad) {
			return false
		}
	}
	for i, c := range []byte(s) {
		if c == '%' && (len(s) < i+3 || strings.Trim(s[i+1:i+3], "0123456789abcdefABCDEF") != "") {
			return false
		}
	}
	return !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune(`\?#`, c) })
}

func sameAsNaive(t interface {
	Fatalf(string, ...any)
	Helper()
}, tab *Table, list []*Route, host, path string) {
	t.Helper()
	m, err := tab.Match(host, path)
	want, rest, wantErr := naive(list, host, path)
	if m.Hidden != nil {
		m.Suffix = "" // that of the version that is not published
	}
	if m.Route != want || m.Suffix != rest || !errors.Is(err, wantErr) && (wantErr != errNoRoute || !isNoRoute(err)) { //nolint:errorlint // the matcher's own error
		t.Fatalf("Match(%q, %q) = %v, %v, want %v %q %v", host, path, m, err, want, rest, wantErr)
	}
}

func TestMatchAgainstModel(t *testing.T) {
	contexts := []string{"/a", "/b", "/a/b", "/a/1", "/a/b/a", "/b/a/1/2", "/1"}
	versions := []string{"1", "2", "a", "b"}
	var addresses []Address
	for _, host := range []string{"", "h.x", "*.x", "*.y"} {
		for _, prefix := range []string{"", "/c", "/c/a", "/a/c"} {
			if host != "" || prefix != "" {
				addresses = append(addresses, Address{Host: host, Prefix: prefix})
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		tab := new(Table)
		var list []*Route
		for range rapid.IntRange(1, 12).Draw(t, "edits") {
			var c Changes
			for range rapid.IntRange(1, 4).Draw(t, "changes") {
				r := route(rapid.SampledFrom(contexts).Draw(t, "context"), rapid.SampledFrom(versions).Draw(t, "version"))
				same := func(o *Route) bool { return o.Name == r.Name }
				removed := slices.ContainsFunc(c.Put, same) || slices.Contains(c.Remove, r.Name)
				if removed {
					continue
				}
				list = slices.DeleteFunc(list, same)
				if rapid.Bool().Draw(t, "remove") {
					c.Remove = append(c.Remove, r.Name)
					continue
				}
				r.Published = rapid.Bool().Draw(t, "published")
				r.Default = !slices.ContainsFunc(list, func(o *Route) bool { return o.Context == r.Context && o.Default })
				for range rapid.IntRange(0, 2).Draw(t, "addresses") {
					a := rapid.SampledFrom(addresses).Draw(t, "address")
					taken := func(o *Route) bool {
						return slices.ContainsFunc(o.Further, func(b Address) bool { return a.Host == b.Host && a.Prefix == b.Prefix })
					}
					if a.Keep = rapid.Bool().Draw(t, "keep"); !slices.ContainsFunc(append(list, r), taken) {
						r.Further = append(r.Further, a)
					}
				}
				list, c.Put = append(list, r), append(c.Put, r)
			}
			before, old := slices.Collect(maps.Values(tab.routes)), tab
			next, err := tab.With(c)
			if err != nil {
				t.Fatalf("With: %v", err)
			}
			if tab = next; len(tab.routes) != len(list) {
				t.Fatalf("Len() = %d, want %d", len(tab.routes), len(list))
			}
			if len(old.routes) != len(before) {
				t.Fatalf("With changed the table that it was called on: %d routes, had %d", len(old.routes), len(before))
			}
			for range 8 {
				n := rapid.IntRange(0, 5).Draw(t, "segments")
				path := "/" + strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "1", "2", "c", "%2e", "x;y", ""}), n, n).Draw(t, "path"), "/")
				host := rapid.SampledFrom([]string{"", "gw", "h.x", "H.X:1", "i.x.", "i.y", "j.i.y"}).Draw(t, "host")
				sameAsNaive(t, tab, list, host, path)
			}
		}
	})
}

func FuzzMatch(f *testing.F) {
	list := []*Route{
		route("/echo", "1.0.0", standard), route("/echo", "2.0.0"), route("/echo", "3", hidden),
		route("/team", "v1", at(Address{Host: "h.x"}, Address{Host: "*.y", Prefix: "/a"})),
		route("/team/echo", "v1", standard, at(Address{Prefix: "/app/socket", Keep: true}, Address{Host: "h.x", Prefix: "/a/b"})), route("/team/echo/v1", "v1"),
	}
	tab := table(f, list...)
	for _, host := range []string{"", "gw", "h.x", "H.X.:80", "i.y:", "[::1]:1", ".y"} {
		f.Add(host, "/a/b/c")
	}
	for _, path := range []string{
		"", "/", "/echo", "/echo/1.0.0/a/b", "/team/echo/v1/v1", "/team/echo/v1/x", "/echo/%2e%2E", "/echo//", "/echo/3",
		"/echo/a%2fb", "/echo/1.0.0/%zz", "/echo/1.0.0/..;/x",
	} {
		f.Add("", path)
	}
	f.Fuzz(func(t *testing.T, host, path string) { sameAsNaive(t, tab, list, host, path) })
}

func TestMatchAllocatesNothing(t *testing.T) {
	tab := table(t, route("/echo", "1.0.0", standard, at(Address{Host: "*.apps.example.com"})), route("/a/b/c/d", "1", at(Address{Host: "chat.example.com", Prefix: "/x"})))
	long := "/a/b/c/d/1" + strings.Repeat("/x%20", 1000)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = tab.Match("", "/echo/1.0.0/x")
		_, _ = tab.Match("", "/none/1")
		_, _ = tab.Match("chat.example.com:8099", "/x/y")
		_, _ = tab.Match("one.apps.example.com", "/x/y")
		_, _ = tab.Match("gw.example.com:8099", long)
	}); n != 0 {
		t.Errorf("Match allocates %v times, want 0", n)
	}
}

func manyRoutes(n int) []*Route {
	list := make([]*Route, n)
	for i := range list {
		list[i] = route(fmt.Sprintf("/team-x%d/api%d", i%100, i), "1.0.0", standard)
	}
	return list
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		tab := table(b, manyRoutes(n)...)
		b.Run(fmt.Sprintf("apis=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tab.Match("", "/team-x7/api7/1.0.0/rooms/42"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkWith(b *testing.B) {
	tab := table(b, manyRoutes(10_000)...)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tab.With(Changes{Put: []*Route{route("/team-x7/api7", "1.0.0", standard)}}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestVersionStringsOfARouteHaveNoCase: a version Beta keeps /beta from the default
// version.
func TestVersionStringsOfARouteHaveNoCase(t *testing.T) {
	r, err := fromProto(&backplanev1.Route{
		Name: "apis/a/versions/v", Context: "/app", Version: "1", DefaultVersionPaths: true, VersionStrings: []string{"1", "Beta"},
		Endpoints: &catalogv1.Endpoints{Production: []*catalogv1.Endpoint{{Endpoint: &catalogv1.Endpoint_Url{Url: "ws://b"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, segment := range []string{"beta", "Beta", "%42ETA"} {
		if r.takes(segment) {
			t.Errorf("the default version takes /app/%s", segment)
		}
	}
}

// errNoRoute is what the naive matcher says where Match says why there is no route.
var errNoRoute = errors.New("no route")

// isNoRoute reports whether Match found no route.
func isNoRoute(err error) bool {
	return errors.Is(err, errNoAPI) || errors.Is(err, errNoVersion) || errors.Is(err, errNotPublished)
}

// TestNear: where there is no route, it is said what the path came near to, and why it is
// not that.
func TestNear(t *testing.T) {
	version := func(name, segment string, published bool) *Route {
		return &Route{Name: name, API: "apis/a", Context: "/a", Segment: segment, Published: published, Endpoints: Endpoints{Production: NewStage(balance.Default(), &Endpoint{})}}
	}
	tab, err := new(Table).With(Changes{Put: []*Route{version("apis/a/versions/1", "1", true), version("apis/a/versions/2", "2", false)}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]struct {
		near *session.Route
		err  error
	}{
		"/a/1": {nil, nil},
		"/a/2": {&session.Route{API: "apis/a", Version: "apis/a/versions/2"}, errNotPublished},
		"/a/3": {&session.Route{API: "apis/a"}, errNoVersion},
		"/a":   {&session.Route{API: "apis/a"}, errNoVersion},
		"/b/1": {nil, errNoAPI},
		"/":    {nil, errNoAPI},
		"/a//": {nil, ErrBadPath},
	} {
		m, err := tab.Match("", path)
		if !errors.Is(err, want.err) || (m.Near == nil) != (want.near == nil) || m.Near != nil && !reflect.DeepEqual(m.Near, want.near) {
			t.Errorf("Match(%q) is near to %v, %v, want %v, %v", path, m.Near, err, want.near, want.err)
		}
	}
}
