package publisher_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// TestTutorial goes the publisher's way through the pages, as the tutorial words it.
func TestTutorial(t *testing.T) {
	webtest.Each(t, func(t *testing.T, s *webtest.Tidegate) {
		b := s.Browser(t)
		if p := b.Open("/publisher"); p.URL.Path != "/signin" {
			t.Fatalf("/publisher leads to %s", p.URL)
		}
		p := b.Submit("Sign in", "username", "admin", "password", s.Password)
		if p.URL.Path != "/publisher" || !p.Has("No API yet") {
			t.Fatalf("after signing in: %s %s", p.URL, p.Text())
		}
		p = b.Click("Create API")
		if p.H1() != "Design a New WebSocket API" {
			t.Fatalf("Create API leads to %q", p.H1())
		}

		// What is missing or wrong is named at the field, and the rest is kept.
		p = b.Submit("Create", "name", "EchoWebSocket", "context", "")
		if p.Status != http.StatusUnprocessableEntity || p.Error("context") != "Is needed." || p.Error("endpoint") != "Is needed." || p.Value("name") != "EchoWebSocket" {
			t.Fatalf("an empty form: %d %q %q\n%s", p.Status, p.Error("context"), p.Error("endpoint"), p.Text())
		}
		p = b.Submit("Create", "context", "echo", "endpoint", "ftp://x")
		if p.Error("context") == "" || p.Value("context") != "echo" || p.Value("endpoint") != "ftp://x" {
			t.Fatalf("a context without a slash: %q\n%s", p.Error("context"), p.Text())
		}
		p = b.Submit("Create", "context", "/echowebsocket")
		if p.Error("endpoint") == "" || p.Error("context") != "" {
			t.Fatalf("an endpoint that is none: %q\n%s", p.Error("endpoint"), p.Text())
		}

		p = b.Submit("Create & publish", "endpoint", "ws://echo.test:9098")
		if p.Error("plans") == "" || p.Value("context") != "/echowebsocket" {
			t.Fatalf("to publish without a plan: %q\n%s", p.Error("plans"), p.Text())
		}
		p = b.Submit("Create")
		if p.H1() != "EchoWebSocket" || !p.Has("Created") || !p.Has("/echowebsocket/1.0.0") {
			t.Fatalf("Create leads to %s %q\n%s", p.URL, p.H1(), p.Text())
		}
		b.Click("Lifecycle")
		if p = b.Submit("Publish"); len(p.Notices()) != 1 || !p.Has("needs a plan") || p.First("h2") != "Plans" {
			t.Fatalf("Publish without a plan:\n%s", p.Text())
		}
		b.Submit("Save", "plans", p.Option("plans", "Gold"))
		b.Click("Lifecycle")
		if p = b.Submit("Publish"); len(p.Notices()) != 1 || !p.Has("EchoWebSocket 1.0.0 is published. The gateway serves it: clients can connect.") {
			t.Fatalf("Publish:\n%s", p.Text())
		}
		if try := b.Tab().Open(p.Links()["Try it out"]); !strings.HasPrefix(try.Title(), "Console") {
			t.Errorf("Try it out leads to %s %q", try.URL, try.Title())
		}
		if p := b.Click("Lifecycle"); !p.Has("It has 0 live sessions.") {
			t.Fatalf("Lifecycle of a published version:\n%s", p.Text())
		}

		p = b.Click("Take back")
		if !p.Has("There are no live sessions that would end.") {
			t.Errorf("Take back asks:\n%s", p.Text())
		}
		p = b.Submit("Take it back")
		if !p.Has("is taken back") {
			t.Errorf("Take it back:\n%s", p.Text())
		}
		if p := b.Open("/publisher"); !p.Has("EchoWebSocket") || !p.Has("1.0.0") || !p.Has("Created") {
			t.Errorf("the list:\n%s", p.Text())
		}
	})
}

// TestCreateAndPublish is offered to those who may both, and is one click.
func TestCreateAndPublish(t *testing.T) {
	s := webtest.Start(t)
	b := s.User(t, "both", ui.Creator, ui.Publisher)
	b.Open("/publisher/apis/new")
	gold := b.Page.Option("plans", "Gold")
	if p := b.Submit("Create & publish", "name", "Echo", "context", "/echo", "endpoint", "ws://echo.test", "plans", gold); !p.Has("Echo is published. The gateway serves it: clients can connect.") || !p.Has("Gold") {
		t.Errorf("Create & publish leads to %s\n%s", p.URL, p.Text())
	}
	creator := s.User(t, "cleo", ui.Creator)
	if p := creator.Open("/publisher/apis/new"); p.Has("Create & publish") {
		t.Errorf("a creator is offered to publish:\n%s", p.Text())
	}
	publisher := s.User(t, "pia", ui.Publisher)
	if p := publisher.Open("/publisher"); p.Links()["Create API"] != "" {
		t.Errorf("a publisher is offered to create:\n%s", p.Text())
	}
}

// TestFormSentTwice makes one API.
func TestFormSentTwice(t *testing.T) {
	s := webtest.Start(t)
	b := s.User(t, "cleo", ui.Creator)
	b.Open("/publisher/apis/new")
	again := b.Tab()
	again.Page = b.Page
	var paths []string
	for _, tab := range []*webtest.Browser{b, again} {
		p := tab.Submit("Create", "name", "Once", "context", "/once", "endpoint", "ws://once.test")
		if p.H1() != "Once" {
			t.Fatalf("Create leads to %s\n%s", p.URL, p.Text())
		}
		paths = append(paths, p.URL.Path)
	}
	if paths[0] != paths[1] {
		t.Errorf("a form that is sent twice leads to %q, want one version", paths)
	}
	if p := b.Open("/publisher?q=NCE"); !p.Has("/once") {
		t.Errorf("a search for a part of the name finds nothing:\n%s", p.Text())
	}
	if p := b.Open("/publisher?q=<b>none"); !p.Has("No API has “<b>none” in it") {
		t.Errorf("a search for what is not there:\n%s", p.Text())
	}
}
