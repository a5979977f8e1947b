package publisher_test

import (
	"net/http"
	"net/url"
	"testing"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
)

// addressesPage adds addresses as an owner and as an administrator, is told what is wrong at
// the entry, and removes one.
func addressesPage(t *testing.T, s *webtest.Tidegate) {
	b := publish(t, s, "adele", nil)
	b.Open(b.base)
	want(t, b.Click("Further ones"), http.StatusOK, "No further address", "Add an address")
	for _, tt := range []struct {
		entries []string
		at      string
	}{
		{[]string{"prefix", "/shared"}, "host"}, // takes an administrator
		{[]string{"host", "nowhere.example.com", "prefix", "/a"}, "host"},
		{[]string{"host", "Chat.example.com", "prefix", "/a"}, "host"},
		{[]string{"host", "chat.example.com", "prefix", "/a/"}, "prefix"},
		{[]string{"host", "chat.example.com", "prefix", "/a", "serves", "HTTP"}, "serves"},
	} {
		form := b.Tab()
		form.Open(b.base + "/addresses")
		if p := form.Submit("Add", tt.entries...); p.Status != http.StatusUnprocessableEntity || p.Error(tt.at) == "" {
			t.Errorf("%q: %d, %q\n%s", tt.entries, p.Status, p.Error(tt.at), p.Text())
		}
	}
	late := b.Tab()
	late.Open(b.base + "/addresses")
	want(t, b.Submit("Add", "host", "chat.example.com", "prefix", "/nandbox/api", "serves", "SOCKET", "keep", "on"), http.StatusOK,
		"The address is added", "wss://chat.example.com/nandbox/api", "sockets", "the whole path")
	if p := late.Submit("Add", "host", "chat.example.com", "prefix", "/late"); p.Status != http.StatusConflict {
		t.Errorf("an address on top of what somebody else added: %d\n%s", p.Status, p.Text())
	}
	want(t, late.Submit("Add"), http.StatusOK, "The address is added", "wss://chat.example.com/late", "what follows it")
	if p := b.Open(b.base); p.Copied("the wss address") == "" {
		t.Errorf("the overview does not have the addresses:\n%s", p.Text())
	}

	root := s.Browser(t)
	root.SignIn("admin", s.Password)
	root.Open(b.base + "/addresses")
	want(t, root.Submit("Add", "prefix", "/cable-of-adele"), http.StatusOK, "The address is added", "/cable-of-adele")
	want(t, root.Submit("Add", "prefix", "/Cable-of-adele"), http.StatusUnprocessableEntity, "same as further_addresses")

	b.Open(b.base + "/addresses")
	for _, prefix := range []string{"/cable-of-adele", "/nandbox/api"} {
		host := ""
		if prefix == "/nandbox/api" {
			host = "chat.example.com"
		}
		entries := url.Values{"etag": {b.Page.Value("etag")}, "host": {host}, "prefix": {prefix}}
		b.Do(http.MethodPost, b.base+"/addresses/remove", entries)
		b.Open(b.base + "/addresses")
	}
	v, err := catalogv1.NewCatalogServiceClient(s.Conn).GetVersion(s.As(t, "adele", webtest.UserPassword), &catalogv1.GetVersionRequest{Name: b.name})
	if err != nil || len(v.GetFurtherAddresses()) != 1 || v.GetFurtherAddresses()[0].GetPrefix() != "/late" {
		t.Errorf("left are %v, %v, want /late", v.GetFurtherAddresses(), err)
	}
}
