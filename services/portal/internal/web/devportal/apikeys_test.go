package devportal_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// apiKeys makes, changes, rotates and deletes an API key in pages: its value is shown twice,
// and never kept.
func apiKeys(t *testing.T, w *world) {
	b, others := w.User(t, "kim", ui.Subscriber), w.User(t, "kit", ui.Subscriber)
	ctx := w.As(t, "kim", webtest.UserPassword)
	a, err := subscriptionv1.NewApplicationServiceClient(w.Conn).CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{Application: &subscriptionv1.Application{DisplayName: "Kiosk"}})
	if err != nil {
		t.Fatal(err)
	}
	path := "/devportal/" + a.GetName() + "/api-keys"
	if p := b.Open(path); !p.Has("No API key yet") {
		t.Errorf("no API keys:\n%s", p.Text())
	}
	p := b.Click("Create an API key")
	request := p.Value("request_id")
	if p = b.Submit("Create", "name", "shop", "addresses", "127.0.0.1/8", "referers", "*.example.com"); p.Status != http.StatusUnprocessableEntity || !p.Has("127.0.0.0/8") {
		t.Errorf("a bad network: %d\n%s", p.Status, p.Text())
	}
	p = b.Submit("Create", "addresses", "127.0.0.0/8")
	value := p.Copied("the API key")
	if !strings.HasPrefix(value, "tgak_") || p.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("Create: %q\n%s", p.Header.Get("Cache-Control"), p.Text())
	}
	again := url.Values{
		"name": {"shop"}, "addresses": {"127.0.0.0/8"}, "referers": {"*.example.com"}, "stage": {"STAGE_PRODUCTION"}, "lifetime": {"2160h"}, "request_id": {request},
	}
	if p := b.Do(http.MethodPost, path+"/new", again); p.Copied("the API key") != "" || !p.Has("This form was sent before") {
		t.Errorf("the form sent again:\n%s", p.Text())
	}
	p = b.Open(path)
	if strings.Contains(p.Body, value) || !p.Has("shop") || !p.Has("from 127.0.0.0/8, *.example.com") || !p.Has("never") {
		t.Errorf("the API keys:\n%s", p.Text())
	}
	b.Click("shop")
	if p := b.Submit("Save", "name", "shop 2", "referers", ""); p.URL.Path != path || !p.Has("shop 2 is saved") || p.Has("example.com") {
		t.Errorf("Save leads to %s\n%s", p.URL, p.Text())
	}
	if p := b.Click("Rotate shop 2"); !p.Has("there are 0 now") {
		t.Errorf("Rotate asks:\n%s", p.Text())
	}
	p = b.Submit("Rotate", "overlap", "1h")
	if next := p.Copied("the API key"); !strings.HasPrefix(next, "tgak_") || next == value || p.Header.Get("Cache-Control") != "no-store" || !p.Has("The values before are good until") {
		t.Errorf("Rotate: %q\n%s", p.Header.Get("Cache-Control"), p.Text())
	}
	if p := b.Click("Back to the API keys"); !p.Has("earlier values are good until") {
		t.Errorf("after a rotation:\n%s", p.Text())
	}
	key := ""
	for text, to := range b.Page.Links() {
		if text == "shop 2" {
			key = strings.TrimSuffix(to, "/edit")
		}
	}
	for _, page := range []string{"/edit", "/rotate", "/delete"} {
		if p := others.Open(key + page); p.Status != http.StatusNotFound {
			t.Errorf("%s of another user = %d", page, p.Status)
		}
		if p := others.Do(http.MethodPost, key+page, url.Values{"name": {"mine"}, "overlap": {"0s"}}); p.Status != http.StatusNotFound {
			t.Errorf("%s of another user, sent = %d", page, p.Status)
		}
	}
	b.Click("Delete shop 2")
	if p := b.Submit("Delete it"); p.URL.Path != path || !p.Has("shop 2 is deleted") || !p.Has("No API key yet") {
		t.Errorf("Delete leads to %s\n%s", p.URL, p.Text())
	}
	if p := b.Open(key + "/edit"); p.Status != http.StatusNotFound {
		t.Errorf("a key that is gone = %d", p.Status)
	}
}
