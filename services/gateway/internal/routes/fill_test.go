package routes

import (
	"errors"
	"testing"
)

// TestFill: what a backend is asked for, of the URL of its endpoint and of what a client asks
// for.
func TestFill(t *testing.T) {
	for _, tt := range []struct{ url, suffix, query, want string }{
		{"ws://h/a?b=1", "/c/d", "e=2", "/a/c/d?b=1&e=2"},
		{"ws://h/rooms/{uri.path.1}", "/blue", "", "/rooms/blue"},
		{"ws://h/rooms/{uri.path.1}/socket", "/blue/a/b/", "x=1", "/rooms/blue/socket/a/b/?x=1"},
		{"ws://h/rooms/{uri.path.1}", "/blue/", "", "/rooms/blue/"},
		{"ws://h/{uri.path.2}/{uri.path.1}", "/a/b/c", "", "/b/a/c"},
		{"ws://h/{uri.path.2}", "/a/b/c", "", "/b/c"},
		{"ws://h/x-{uri.path.1}-{uri.path.1}.y", "/a%20%3Fb", "", "/x-a%20%3Fb-a%20%3Fb.y"},
		{"ws://h/{uri.path.1}", "/a;b=1&c+d!", "", "/a%3Bb%3D1%26c%2Bd%21"},
		{"ws://h/{uri.path.1}", "/%C3%A9", "", "/%C3%A9"},
		{"ws://h/{uri.path.1}", "/...", "", "/..."},
		{"ws://h/v{uri.path.1}", "/..", "", "/v.."},
		{"ws://h?room={uri.path.1}", "/blue", "x=1", "/?room=blue&x=1"},
		{"ws://h/{uri.query.room}", "", "a=1&room=blue&b=2", "/blue?a=1&b=2"},
		{"ws://h/{uri.query.room}", "/rest", "room=blue", "/blue/rest"},
		{"ws://h/?r=x{uri.query.room}&k=1", "", "room=a%26k%3D2%23%3B+%2B&k=3&z", "/?r=xa%26k%3D2%23%3B%20%2B&k=1&z"},
		{"ws://h/?r={uri.query.room}", "", "ro%6Fm=a/../b&room2=c", "/?r=a%2F..%2Fb&room2=c"},
		{"ws://h/?r={uri.query.room}&s={uri.query.room}", "", "room=1", "/?r=1&s=1"},
		{"ws://h/%7Ba%7D/{x}", "/a", "", "/%7Ba%7D/%7Bx%7D/a"}, // saved before braces had a meaning
	} {
		e, err := ParseEndpoint(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		filled, suffix, query, err := e.Fill(tt.suffix, tt.query)
		if err != nil {
			t.Errorf("%s with %q, %q: %v", tt.url, tt.suffix, tt.query, err)
			continue
		}
		if got := string(filled.AppendTarget(nil, suffix, query)); got != tt.want {
			t.Errorf("%s with %q, %q becomes %q, want %q", tt.url, tt.suffix, tt.query, got, tt.want)
		}
		if filled.URL() != tt.url || filled.Addr != e.Addr || filled.Templated() {
			t.Errorf("%s is filled in as %+v", tt.url, filled)
		}
	}
	for _, tt := range []struct {
		url, suffix, query string
		missing            bool
	}{
		{"ws://h/{uri.path.1}", "", "", true},
		{"ws://h/{uri.path.1}", "/", "", true},
		{"ws://h/{uri.path.2}", "/a", "", true},
		{"ws://h/{uri.path.2}", "/a/", "", true},
		{"ws://h/{uri.query.a}", "", "b=1", true},
		{"ws://h/{uri.query.a}", "", "a=", true},
		{"ws://h/{uri.query.a}", "", "a", true},
		{"ws://h/{uri.query.a}", "", "a=1&a=2", true},
		{"ws://h/{uri.query.a}", "", "a=1;a=2", true},
		{"ws://h/?x={uri.query.a}", "", "A=1", true},
		{"ws://h/x/{uri.query.a}/y", "", "a=..", false},
		{"ws://h/x/{uri.query.a}/y", "", "a=%2E", false},
		{"ws://h/x/{uri.query.a}{uri.query.b}/y", "", "a=.&b=.", false},
		{"ws://h/x/{uri.query.a};v=1/y", "", "a=..", false},
		{"ws://h/x/%2e{uri.query.a}/y", "", "a=.", false},
		{"ws://h/{uri.query.a}", "", "a=b/c", false},
		{"ws://h/{uri.query.a}", "", "a=b%2fc", false},
		{"ws://h/{uri.query.a}", "", "a=b%5Cc", false},
		{"ws://h/{uri.query.a}", "", "a=%00", false},
		{"ws://h/{uri.path.1}", "/b%2Fc", "", false},
		{"ws://h/{uri.path.1}", "/%zz", "", false},
		{"ws://h/?x={uri.query.a}", "", "a=%z", false},
	} {
		e, err := ParseEndpoint(tt.url)
		if err != nil {
			t.Fatal(err)
		}
		var wrong *FillError
		if _, _, _, err := e.Fill(tt.suffix, tt.query); !errors.As(err, &wrong) || wrong.Missing != tt.missing {
			t.Errorf("%s with %q, %q: %v, want a *FillError, missing: %t", tt.url, tt.suffix, tt.query, err, tt.missing)
		}
	}
}

// TestFillAllocates: an endpoint without variables costs nothing.
func TestFillAllocates(t *testing.T) {
	e, err := ParseEndpoint("ws://h/a?b=1")
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() {
		if _, _, _, err := e.Fill("/x/y", "a=1&b=2"); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}
