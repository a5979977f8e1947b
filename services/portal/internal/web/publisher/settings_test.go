package publisher_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// version returns the version as its owner sees it.
func (o *own) version(t *testing.T, username string) *catalogv1.Version {
	t.Helper()
	v, err := catalogv1.NewCatalogServiceClient(o.Conn).GetVersion(o.As(t, username, webtest.UserPassword), &catalogv1.GetVersionRequest{Name: o.name})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// refused fails the test unless a form was not carried out because of exactly these
// entries, which are kept.
func refused(t *testing.T, p *webtest.Page, entries ...string) {
	t.Helper()
	if p.Status != http.StatusUnprocessableEntity {
		t.Errorf("%s = %d, want 422:\n%s", p.URL, p.Status, p.Text())
	}
	for i := 0; i+1 < len(entries); i += 2 {
		if p.Error(entries[i]) == "" || p.Value(entries[i]) != entries[i+1] {
			t.Errorf("%s has %q and the error %q, want %q and an error:\n%s", entries[i], p.Value(entries[i]), p.Error(entries[i]), entries[i+1], p.Text())
		}
	}
}

// settingsPage sets all that a version has for it, and back.
func settingsPage(t *testing.T, s *webtest.Tidegate) {
	b := publish(t, s, "sara", nil)
	before := b.version(t, "sara")
	b.Open(b.base)
	b.Click("Settings")
	want(t, b.Submit("Save"), http.StatusOK, "is saved")
	if diff := cmp.Diff(before, b.version(t, "sara"), protocmp.Transform()); diff != "" {
		t.Errorf("saving what is there changes it:\n%s", diff)
	}
	refused(t, b.Submit("Save", "max_message", "big", "max_age", "soon"), "max_message", "big", "max_age", "soon")
	refused(t, b.Submit("Save", "max_message", "2 GiB", "max_age", "31 d", "tags", "good\r\n"+strings.Repeat("x", 51)),
		"max_message", "2 GiB", "max_age", "31 d", "tags", "good\n"+strings.Repeat("x", 51))
	if got := b.Page.Error("tags"); !strings.HasPrefix(got, "Line 2: ") {
		t.Errorf("a tag that is too long: %q", got)
	}
	refused(t, b.Submit("Save", "max_message", "", "max_age", "", "tags", "", "host", "FIXED", "fixed_host", "a b"), "fixed_host", "a b")
	refused(t, b.Submit("Save", "host", "", "fixed_host", "app.example.com"), "fixed_host", "app.example.com")
	refused(t, b.Submit("Save", "fixed_host", "", "error_frames", "TEXT"), "error_text", "")
	refused(t, b.Submit("Save", "error_frames", "SHOUT"), "error_frames", "")

	refused(t, b.Submit("Save", "error_frames", "", "headers", "remove:Cookie\r\nset:X-A"), "headers", "remove:Cookie\nset:X-A")
	if got := b.Page.Error("headers"); !strings.HasPrefix(got, "Line 2: ") {
		t.Errorf("a rule that is none: %q", got)
	}
	refused(t, b.Submit("Save", "headers", "remove:Cookie\r\nset:X-Tidegate-A=1"), "headers", "remove:Cookie\nset:X-Tidegate-A=1")
	refused(t, b.Submit("Save", "headers", "secret:X-Key"), "headers", "secret:X-Key")
	refused(t, b.Submit("Save", "headers", "", "endings", "drain=4500\r\nsometimes=4500"), "endings", "drain=4500\nsometimes=4500")
	refused(t, b.Submit("Save", "endings", "drain=1006"), "endings", "drain=1006")
	b.Open(b.base + "/settings")

	late := b.Tab()
	late.Open(b.base + "/settings")
	all := []string{
		"description", "For the harbour.\r\nSince 2026.", "tags", "tides\r\n\r\n sea ", "max_message", "64kib", "max_age", "1d12h", "idle", "10 min", "pings", "CLIENTS", "deflate", "on",
		"host", "FIXED", "fixed_host", "app.example.com:8443", "origin", "ENDPOINT", "identity", "HEADERS", "endings", "drain=4500\r\nrevoked=:{word}", "error_frames", "TEXT", "error_text", "slow down",
	}
	want(t, b.Submit("Save", all...), http.StatusOK, "is saved", "For the harbour.")
	want1 := &catalogv1.Version{
		Description: "For the harbour.\nSince 2026.", Tags: []string{"tides", "sea"}, MaxMessageBytes: 64 << 10, MaxSessionAge: durationpb.New(36 * 3600e9), IdleTimeout: durationpb.New(600e9), Pings: catalogv1.Version_PINGS_CLIENTS, Deflate: true,
		BackendOptions: &catalogv1.BackendOptions{Host: catalogv1.BackendOptions_HOST_FIXED, FixedHost: "app.example.com:8443", Origin: catalogv1.BackendOptions_ORIGIN_ENDPOINT, Identity: catalogv1.BackendOptions_IDENTITY_HEADERS},
		ErrorFrames:    &catalogv1.ErrorFrames{Template: catalogv1.ErrorFrames_TEMPLATE_TEXT, Text: "slow down"},
		ClientEndings:  []*catalogv1.ClientEnding{{Cause: catalogv1.ClientEnding_CAUSE_DRAIN, Code: 4500}, {Cause: catalogv1.ClientEnding_CAUSE_REVOKED, Text: "{word}"}},
	}
	now := b.version(t, "sara")
	got := &catalogv1.Version{
		Description: now.GetDescription(), Tags: now.GetTags(), MaxMessageBytes: now.GetMaxMessageBytes(), MaxSessionAge: now.GetMaxSessionAge(), IdleTimeout: now.GetIdleTimeout(), Pings: now.GetPings(), Deflate: now.GetDeflate(),
		BackendOptions: now.GetBackendOptions(), ErrorFrames: now.GetErrorFrames(), ClientEndings: now.GetClientEndings(),
	}
	if diff := cmp.Diff(want1, got, protocmp.Transform()); diff != "" {
		t.Errorf("the version differs from what was set:\n%s", diff)
	}
	if p := b.Page; p.Value("max_message") != "64 KiB" || p.Value("max_age") != "36 h" || p.Value("host") != "FIXED" {
		t.Errorf("the form has %q, %q, %q", p.Value("max_message"), p.Value("max_age"), p.Value("host"))
	}
	want(t, late.Submit("Save", "pings", "OFF"), http.StatusConflict, "Somebody else has changed this meanwhile", "Stored now: To clients", "Stored now: 64 KiB", "Stored now: A fixed one")
	// What belonged to the other choice goes with it.
	b.Open(b.base + "/settings")
	want(t, b.Submit("Save", "host", "", "error_frames", "NONE"), http.StatusOK, "is saved")
	if now := b.version(t, "sara"); now.GetBackendOptions().GetFixedHost() != "" || now.GetErrorFrames().GetText() != "" {
		t.Errorf("what is left over: %v %v", now.GetBackendOptions(), now.GetErrorFrames())
	}
	// A secret is set, stays when others are changed, and is on no page.
	b.Open(b.base + "/settings")
	want(t, b.Submit("Save", "headers", "secret:X-Key=top-secret\r\ncopy:X-Page=Origin"), http.StatusOK, "is saved", "X-Key is set since")
	if b.Page.Value("headers") != "secret:X-Key\ncopy:X-Page=Origin" || strings.Contains(b.Page.Body, "top-secret") {
		t.Errorf("the form has %q", b.Page.Value("headers"))
	}
	set := b.version(t, "sara").GetBackendOptions().GetHeaders()[0].GetSecret()
	want(t, b.Submit("Save", "headers", "set:X-Tenant=acme\r\nsecret:X-Key"), http.StatusOK, "is saved")
	if now := b.version(t, "sara").GetBackendOptions().GetHeaders(); len(now) != 2 || !proto.Equal(now[1].GetSecret(), set) {
		t.Errorf("the rules are %v, and the secret was %v", now, set)
	}
	onlyReaders(t, s, b, "stan", "/settings", "/security")
}

// onlyReaders shows pages of a version to a user whose version it is not, without what
// changes it, and refuses what is sent anyway.
func onlyReaders(t *testing.T, s *webtest.Tidegate, b *own, username string, paths ...string) {
	t.Helper()
	other := s.User(t, username, ui.Creator, ui.Publisher)
	for _, path := range paths {
		want(t, other.Open(b.base+path), http.StatusOK, "Only the owner of the API, or an administrator, can change this.")
		if strings.Contains(other.Page.Body, ">Save<") {
			t.Errorf("%s offers to save to who may not", path)
		}
		want(t, other.Do(http.MethodPost, b.base+path, url.Values{"description": {"mine"}, "security": {"none"}}), http.StatusUnprocessableEntity, "owner")
	}
}

// securityPage sets who may connect.
func securityPage(t *testing.T, s *webtest.Tidegate) {
	b := publish(t, s, "sina", nil)
	b.Open(b.base)
	b.Click("Security")
	if p := b.Page; p.Value("security") != "oauth2" || p.Value("places") != "header:Authorization\nquery:access_token" || p.Value("origins") != "" || p.Value("subscriptionless") != "" {
		t.Errorf("the form begins with %q %q %q", p.Value("security"), p.Value("places"), p.Value("origins"))
	}
	refused(t, b.Submit("Save", "origins", "https://good.example\r\n\r\nexample.com"), "origins", "https://good.example\nexample.com")
	if got := b.Page.Error("origins"); !strings.HasPrefix(got, "Line 2: ") {
		t.Errorf("an origin that is none: %q", got)
	}
	refused(t, b.Submit("Save", "origins", "", "security", "none", "subscriptionless", "on"), "subscriptionless", "on")
	refused(t, b.Submit("Save", "security", "oauth2", "subscriptionless", "", "places", "header:X-Key\r\nbody"), "places", "header:X-Key\nbody")
	refused(t, b.Submit("Save", "places", "query:a\r\ncookie:sid", "origins", ""), "origins", "")
	refused(t, b.Submit("Save", "places", "query:a\r\ncookie:tidegate-x", "origins", "https://good.example"), "places", "query:a\ncookie:tidegate-x")
	if got := b.Page.Error("places"); !strings.HasPrefix(got, "Line 2: Must not begin with tidegate") {
		t.Errorf("a cookie of ours: %q", got)
	}
	late := b.Tab()
	late.Open(b.base + "/security")
	want(t, b.Submit("Save", "security", "oauth2", "subscriptionless", "on", "places", "query:access_token", "origins", "https://*.example.com\r\nnull"), http.StatusOK, "is saved")
	now := b.version(t, "sina")
	if !now.GetSubscriptionless() || len(now.GetAllowedOrigins()) != 2 || len(now.GetSecurity()) != 1 || len(now.GetSecurity()[0].GetOauth2().GetPlaces()) != 1 || now.GetSecurity()[0].GetOauth2().GetPlaces()[0].GetQuery().GetName() != "access_token" {
		t.Errorf("the version is %v", now)
	}
	want(t, late.Submit("Save", "places", "query:access_token\r\nheader:Authorization"), http.StatusConflict, "Stored now: query:access_token", "Stored now: yes", "Stored now: https://*.example.com null")
	want(t, b.Open(b.base), http.StatusOK, "any website can have its visitors' browsers connect")
	b.Open(b.base + "/security")
	want(t, b.Submit("Save", "security", "oauth2,api_key", "subscriptionless", "", "key_places", "header:X-Key\r\nquery:key:base64"), http.StatusOK, "is saved")
	want(t, b.Open(b.base), http.StatusOK, "API key in the header X-Key or the parameter key, in base64")
	b.Open(b.base + "/security")
	if p := b.Page; p.Value("security") != "oauth2,api_key" || p.Value("key_places") != "header:X-Key\nquery:key:base64" || p.Value("places") == "" {
		t.Errorf("with API keys the form has %q %q %q", p.Value("security"), p.Value("places"), p.Value("key_places"))
	}
	want(t, b.Submit("Save", "security", "oauth2,api_key", "key_places", ""), http.StatusOK, "is saved")
	b.Open(b.base + "/security")
	want(t, b.Submit("Save", "subscriptionless", "", "security", "none"), http.StatusOK, "is saved")
	if now := b.version(t, "sina"); now.GetSubscriptionless() || now.GetSecurity()[0].GetNone() == nil {
		t.Errorf("the version is %v", now)
	}
}

// apiSettingsPage sets all that an API has.
func apiSettingsPage(t *testing.T, s *webtest.Tidegate) {
	b := publish(t, s, "anna", nil)
	api, _, _ := strings.Cut(b.base, "/versions/")
	b.Open(api)
	b.Click("Settings")
	refused(t, b.Submit("Save", "display_name", ""), "display_name", "")
	refused(t, b.Submit("Save", "display_name", "Tides of anna", "context", "/other"), "context", "/other")
	late := b.Tab()
	late.Open(api + "/settings")
	want(t, b.Submit("Save", "context", "/tides-of-anna", "description", "All of them.", "default_version", b.name, "default_version_paths", "on"), http.StatusOK, "is saved", "All of them.")
	if p := b.Page; p.Value("default_version") != b.name || p.Value("default_version_paths") != "on" {
		t.Errorf("the form has %q %q", p.Value("default_version"), p.Value("default_version_paths"))
	}
	want(t, late.Submit("Save", "display_name", "Ebb"), http.StatusConflict, "Stored now: Tides of anna", "Stored now: 1.0.0", "Stored now: All of them.")
	want(t, late.Submit("Save"), http.StatusOK, "Ebb is saved")
	publish(t, s, "arno", nil)
	refused(t, late.Submit("Save", "display_name", "Tides of arno"), "display_name", "Tides of arno")
	other := s.User(t, "alma", ui.Creator, ui.Publisher)
	want(t, other.Open(api+"/settings"), http.StatusOK, "Only the owner of the API with the role creator, or an administrator, can change this.")
	if other.Page.Links()["Transfer"] != "" || other.Page.Links()["Delete"] != "" {
		t.Error("who may not is offered to transfer and delete")
	}
	want(t, other.Do(http.MethodPost, api+"/settings", url.Values{"display_name": {"Mine"}, "context": {"/tides-of-anna"}}), http.StatusUnprocessableEntity, "owner")
}

// transferPage gives an API away.
func transferPage(t *testing.T, s *webtest.Tidegate) {
	b := publish(t, s, "tara", nil)
	heir := s.User(t, "theo", ui.Creator, ui.Publisher)
	api, _, _ := strings.Cut(b.base, "/versions/")
	b.Open(api + "/settings")
	want(t, b.Click("Transfer"), http.StatusOK, "Give Tides of tara to another user?", "There are no live sessions.", "You lose all of it")
	refused(t, b.Submit("Give it away", "owner", ""), "owner", "")
	refused(t, b.Submit("Give it away", "owner", "nobody.here"), "owner", "nobody.here")
	want(t, heir.Do(http.MethodPost, api+"/transfer", url.Values{"owner": {"theo"}}), http.StatusUnprocessableEntity, "owner")
	late := b.Tab()
	late.Open(api + "/transfer")
	want(t, b.Submit("Give it away", "owner", "theo"), http.StatusOK, "Tides of tara belongs to theo now.", "No API yet")
	want(t, heir.Open("/publisher"), http.StatusOK, "Tides of tara")
	want(t, late.Submit("Give it away", "owner", "tara"), http.StatusUnprocessableEntity, "owner")
	admin := s.Browser(t)
	admin.SignIn("admin", s.Password)
	admin.Open(api + "/transfer")
	if admin.Page.Has("You lose all of it") {
		t.Error("an administrator is told to lose the API")
	}
	want(t, admin.Submit("Give it away", "owner", "tara"), http.StatusOK, "Tides of tara belongs to tara now.", "1.0.0 Published")
}

// deletePages deletes a version and an API, once nothing of them is published.
func deletePages(t *testing.T, s *webtest.Tidegate) {
	b := publish(t, s, "dean", nil)
	b.subscribe(t, "dunja")
	api, _, _ := strings.Cut(b.base, "/versions/")
	want(t, b.Open(b.base+"/delete"), http.StatusOK, "Not deleted: take it back first.")
	b.Open(api + "/settings")
	want(t, b.Click("Delete"), http.StatusOK, "Not deleted: take back first what is published, 1.0.0.")
	late := b.Tab()
	late.Open(api + "/versions/new")
	late.Submit("Create", "version", "2.0.0", "source", b.name)
	second := late.Page.URL.Path
	want(t, late.Click("Lifecycle"), http.StatusOK)
	other := s.User(t, "dora2", ui.Creator)
	want(t, other.Open(second+"/delete"), http.StatusNotFound)
	want(t, other.Do(http.MethodPost, second+"/delete", url.Values{}), http.StatusNotFound)
	want(t, late.Click("Delete"), http.StatusOK, "0 subscriptions to it", "There are no live sessions that would end.")
	want(t, late.Submit("Delete"), http.StatusOK, "Tides of dean 2.0.0 is deleted.", "1.0.0 Published")
	want(t, b.Open(second), http.StatusNotFound)

	b.Open(b.base + "/take-back")
	b.Submit("Take it back")
	want(t, b.Open(b.base+"/delete"), http.StatusOK, "1 subscription to it")
	want(t, other.Do(http.MethodPost, api+"/delete", url.Values{}), http.StatusNotFound)
	want(t, b.Open(api+"/delete"), http.StatusOK, "1 version and 1 subscription are deleted with it.")
	want(t, b.Submit("Delete"), http.StatusOK, "Tides of dean is deleted.", "No API yet")
	want(t, b.Open(api), http.StatusNotFound)
}
