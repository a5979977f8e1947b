package browsertest

import (
	"testing"
)

// TestPublisher goes the publisher's way through the pages, as the tutorial words it.
func TestPublisher(t *testing.T) {
	t.Parallel()
	tab, w := newTab(t)
	tab.Open("/publisher")
	tab.Fill("Username", "admin")
	tab.Fill("Password", w.Password)
	tab.Follow("Sign in")
	tab.Follow("Create API")
	tab.Has("Design a New WebSocket API")
	tab.Fill("Name", "EchoWebSocket")
	tab.Fill("Context", "/echowebsocket")
	tab.Fill("Version", "1.0.0")
	tab.Fill("Endpoint", w.Backend)
	tab.Click("Gold")
	tab.Follow("Create")
	tab.Has("EchoWebSocket")
	tab.Follow("Lifecycle")
	tab.Follow("Publish")
	tab.Has("is published")
}
