package routes

import (
	"strings"
	"testing"
)

func TestTableLeavesOutWhatCannotBeServed(t *testing.T) {
	bad := []*Route{
		route("echo", "1"), route("/-", "1"), route("/-/x", "1"), route("/", "1"), route("", "1"), route("/a//b", "1"),
		route("/a/", "1"), route("/a/..", "1"), route("/a b", "1"), route("/a", ""), route("/a", "1/2"), route("/a", ".."),
		route("/a", "%31"), {Context: "/a", Segment: "1"},
	}
	tab, err := newTable(append(bad, route("/good", "1")))
	if len(tab.routes) != 1 || tab.Get("apis//good/versions/1") == nil {
		t.Errorf("With kept %d routes, want the good one alone", len(tab.routes))
	}
	if err == nil || strings.Count(err.Error(), "\n") != len(bad)-1 {
		t.Errorf("With: %v, want a line for each of %d routes", err, len(bad))
	}
}

func TestTableReplacesARouteByName(t *testing.T) {
	first := route("/echo", "1", standard)
	tab := table(t, first)
	moved := route("/other", "1", standard)
	moved.Name = first.Name
	next, err := tab.With(Changes{Put: []*Route{moved}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := next.Match("", "/echo"); err == nil {
		t.Errorf("Match of the old context = nil, want an error")
	}
	if m, err := next.Match("", "/other/1"); err != nil || m.Route != moved {
		t.Errorf("Match of the new context = %v, %v, want %v", m, err, moved)
	}
	if m, err := tab.Match("", "/echo"); err != nil || m.Route != first {
		t.Errorf("Match in the old table = %v, %v, want %v", m, err, first)
	}
}

func TestDefaultWhileItChanges(t *testing.T) {
	v1, v2, v3 := route("/echo", "1", standard), route("/echo", "2", standard), route("/echo", "3", standard, hidden)
	v1.ChangeNumber, v2.ChangeNumber, v3.ChangeNumber = 1, 2, 3
	for _, order := range [][]*Route{{v1, v2, v3}, {v3, v2, v1}, {v2, v1, v3}} {
		if m, err := table(t, order...).Match("", "/echo"); err != nil || m.Route != v2 {
			t.Errorf("Match = %v, %v, want the newest published one", m, err)
		}
	}
}

func TestCurrent(t *testing.T) {
	var s Current
	if s.Loaded() || len(s.Load().routes) != 0 {
		t.Errorf("a new Current is loaded or not empty")
	}
	if _, err := s.Load().Match("", "/echo"); err == nil {
		t.Errorf("Match in an empty table = nil, want an error")
	}
	tab := table(t, route("/echo", "1"))
	s.Swap(tab)
	if !s.Loaded() || s.Load() != tab {
		t.Errorf("it does not hold what it was given")
	}
	if got := tab.Get("apis//echo/versions/1").Shared(); got.Version != "apis//echo/versions/1" || got.API != "apis//echo" {
		t.Errorf("Shared() = %+v, want the route's names", got)
	}
}

// What a publisher put into the endpoint's query reaches the backend as it is, and
// nothing of the client's beside it that a backend could read for it.
func TestClientsDoNotOverrideTheEndpointsQuery(t *testing.T) {
	for _, tt := range []struct{ name, own, client, want string }{
		{"another name", "key=s", "a=1&b", "key=s&a=1&b"},
		{"the same name", "key=s", "key=mine", "key=s"},
		{"among others", "key=s", "a=%2B+%zz&key=mine&&b=&key", "key=s&a=%2B+%zz&&b="},
		{"in another case", "Key=s", "kEY=mine&a", "Key=s&a"},
		{"escaped by the client", "key=s", "%6b%65%79=mine&a", "key=s&a"},
		{"escaped by the publisher", "%6Bey=s", "key=mine&a", "%6Bey=s&a"},
		{"a space in both forms", "my+key=s", "my%20key=mine&my+key=mine&my%2Bkey=1", "my+key=s&my%2Bkey=1"},
		{"outside ASCII", "schl%C3%BCssel=s", "SCHL%C3%9CSSEL=mine&a", "schl%C3%BCssel=s&a"},
		{"as an array", "key=s", "key[]=mine&key%5Ba%5D=mine&a", "key=s&a"},
		{"behind a semicolon", "key=s", "a=1;key=mine&b", "key=s&a=1&b"},
		{"without a value", "key", "key=mine&a", "key&a"},
		{"several", "v=1&key=s&", "key=a&v=2&w=3", "v=1&key=s&&w=3"},
		{"longer and shorter names", "key=s", "keys=1&ke=2&=3", "key=s&keys=1&ke=2&=3"},
		{"escapes that are none", "100%=s", "100%=mine&10%=1", "100%=s&10%=1"},
		{"no query of the endpoint's", "", "key=mine", "key=mine"},
	} {
		e, err := ParseEndpoint("ws://h/p?" + tt.own)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := string(e.AppendTarget(nil, "", tt.client)); got != "/p?"+tt.want {
			t.Errorf("%s: of %q the backend is asked for %q, want /p?%s", tt.name, tt.client, got, tt.want)
		}
	}
}

// What is wrong with an endpoint is logged, and its secrets are not.
func TestWrongEndpointsAreNotQuoted(t *testing.T) {
	for _, bad := range []string{
		"ws://h/s3cret%zz", "ftp://h/s3cret", "ws:///s3cret", "ws://u:s3cret@h/", "ws://h/?key=s3cret#f", "ws://h/s3cret?a b", "ws://h:s3cret/",
	} {
		if _, err := ParseEndpoint(bad); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("ParseEndpoint(%q) = %v, want an error without the secret", bad, err)
		}
	}
}

func TestParseEndpoint(t *testing.T) {
	tests := []struct {
		url, addr, host string
		tls             bool
		suffix, query   string
		target          string
	}{
		{"ws://127.0.0.1:9098", "127.0.0.1:9098", "127.0.0.1:9098", false, "", "", "/"},
		{"ws://h", "h:80", "h", false, "/a/b", "", "/a/b"},
		{"wss://h/", "h:443", "h", true, "", "", "/"},
		{"https://h:8443/x", "h:8443", "h:8443", true, "", "a=1", "/x?a=1"},
		{"HTTP://h/x/", "h:80", "h", false, "/y", "", "/x/y"},
		{"http://[::1]:80/x/", "[::1]:80", "[::1]:80", false, "", "", "/x/"},
		{"ws://h/x?k=%2B+v", "h:80", "h", false, "/y", "a&b", "/x/y?k=%2B+v&a&b"},
		{"ws://h?k", "h:80", "h", false, "", "", "/?k"},
		{"ws://h/a%2Fb", "h:80", "h", false, "/c%20d", "", "/a%2Fb/c%20d"},
	}
	for _, tt := range tests {
		e, err := ParseEndpoint(tt.url)
		if err != nil {
			t.Errorf("ParseEndpoint(%q) = %v", tt.url, err)
			continue
		}
		if e.Addr != tt.addr || e.Host != tt.host || e.TLS != tt.tls {
			t.Errorf("ParseEndpoint(%q) = %+v, want %s %s %t", tt.url, e, tt.addr, tt.host, tt.tls)
		}
		if got := string(e.AppendTarget(nil, tt.suffix, tt.query)); got != tt.target {
			t.Errorf("AppendTarget(%q, %q, %q) = %q, want %q", tt.url, tt.suffix, tt.query, got, tt.target)
		}
	}
	for _, bad := range []string{
		"", "h:80", "/x", "ftp://h", "ws://", "ws:///x", "ws://u:p@h", "ws://h#f", "ws://h:x", "ws://hä", "ws://h/?a b", "ws://h/%zz", "ws://h?ä",
	} {
		if e, err := ParseEndpoint(bad); err == nil {
			t.Errorf("ParseEndpoint(%q) = %+v, want an error", bad, e)
		}
	}
}

func TestOrigins(t *testing.T) {
	o, err := ParseOrigins([]string{"https://Example.com", "http://localhost:3000", "https://*.example.org:8443", "https://*.app.dev"})
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[string]bool{
		"https://example.com":            true,
		"HTTPS://EXAMPLE.COM":            true,
		"https://example.com:443":        true,
		"http://localhost:3000":          true,
		"https://a.example.org:8443":     true,
		"https://a.b.example.org:8443":   true,
		"https://x.app.dev":              true,
		"https://example.com:8443":       false,
		"http://example.com":             false,
		"http://localhost":               false,
		"https://example.org:8443":       false,
		"https://a.example.org":          false,
		"https://.app.dev":               false,
		"https://xapp.dev":               false,
		"http://x.app.dev":               false,
		"https://example.com.evil.org":   false,
		"https://example.com/":           false,
		"https://example.com?":           false,
		"https://u@example.com":          false,
		"https://evil.org/x.app.dev":     false,
		"https://evil.org:1#x.app.dev":   false,
		"null":                           false,
		"":                               false,
		"https://":                       false,
		"https://example.com, https://b": false,
	} {
		if got := o.Allow(origin); got != want {
			t.Errorf("Allow(%q) = %t, want %t", origin, got, want)
		}
	}
	if !(Origins{}).Allow("https://anything") {
		t.Errorf("Allow of an empty list = false, want true")
	}
	for _, bad := range []string{"example.com", "https://", "https://a/b", "https://*.", "https://a?b"} {
		if _, err := ParseOrigins([]string{bad}); err == nil {
			t.Errorf("ParseOrigins(%q) = nil, want an error", bad)
		}
	}
}

// TestOriginsOfAllKindsOfClients: pages without an origin and from files, applications
// with schemes of their own, and addresses.
func TestOriginsOfAllKindsOfClients(t *testing.T) {
	listed := []string{"null", "file://", "app://.", "app://Obsidian.md", "chrome-extension://abcd", "capacitor://localhost:8080", "http://[::1]:3000", "https://[2001:DB8:0::1]"}
	o, err := ParseOrigins(listed)
	if err != nil {
		t.Fatal(err)
	}
	for origin, want := range map[string]bool{
		"null":                              true,
		"file://":                           true,
		"app://.":                           true,
		"app://obsidian.md":                 true,
		"chrome-extension://abcd":           true,
		"capacitor://localhost:8080":        true,
		"http://[::1]:3000":                 true,
		"http://[0:0:0:0:0:0:0:1]:3000":     true,
		"https://[2001:db8::1]":             true,
		"https://[2001:db8::1]:443":         true,
		"NULL":                              false,
		"file:///x":                         false,
		"app://":                            false,
		"app://other":                       false,
		"https://obsidian.md":               false,
		"chrome-extension://abcd:1":         false,
		"chrome-extension://abcde":          false,
		"capacitor://localhost":             false,
		"http://[::1]":                      false,
		"http://[::2]:3000":                 false,
		"http://::1:3000":                   false,
		"http://[2001:db8::1]":              false,
		"http://[::1%25lo]:3000":            false,
		"https://[::ffff:2001:db8:0:1]":     false,
		"https://null":                      false,
		"null, https://example.com":         false,
		"file://, null":                     false,
		"chrome-extension://abcd/page.html": false,
	} {
		if got := o.Allow(origin); got != want {
			t.Errorf("Allow(%q) = %t, want %t", origin, got, want)
		}
	}
	for _, s := range listed {
		o, err := ParseOrigins([]string{"https://example.com"})
		if err != nil || o.Allow(s) {
			t.Errorf("Allow(%q) where another origin is listed = true, %v, want false", s, err)
		}
	}
}

// newTable returns a table of these routes.
func newTable(list []*Route) (*Table, error) { return new(Table).With(Changes{Put: list}) }
