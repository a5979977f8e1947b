package browsertest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/e2e/browser"
)

// TestAPIKeys makes, copies, rotates and deletes an API key as a developer does: what is
// copied opens a session, which ends with the key.
func TestAPIKeys(t *testing.T) {
	t.Parallel()
	tab, w := newTab(t)
	ctx := w.As(t, "admin", w.Password)
	v := w.Publish(t, ctx, own("Keyed"), backend(t, &websocket.AcceptOptions{InsecureSkipVerify: true}), func(v *catalogv1.Version) {
		v.Security = []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_ApiKey{ApiKey: &catalogv1.APIKeyScheme{}}}}
	})
	app, err := subscriptionv1.NewApplicationServiceClient(w.Conn).CreateApplication(ctx, &subscriptionv1.CreateApplicationRequest{
		Application: &subscriptionv1.Application{DisplayName: own("Keyed")},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = subscriptionv1.NewSubscriptionServiceClient(w.Conn).CreateSubscription(ctx, &subscriptionv1.CreateSubscriptionRequest{
		Subscription: &subscriptionv1.Subscription{Application: app.GetName(), Version: v.GetName(), Plan: v.GetPlans()[0]},
	})
	if err != nil {
		t.Fatal(err)
	}
	address := w.WS + addressOf(v)
	// opens connects with a key once the gateway takes it, and has a message echoed.
	opens := func(key string) *websocket.Conn {
		t.Helper()
		var conn *websocket.Conn
		for deadline := time.Now().Add(patience); conn == nil; {
			var status int
			if conn, status = w.Dial(t, address, "apikey", key); conn == nil && time.Now().After(deadline) {
				t.Fatalf("connect with the copied key = %d, want 101", status)
			}
		}
		t.Cleanup(func() { _ = conn.CloseNow() })
		if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.Read(t.Context()); err != nil || string(got) != "hello" {
			t.Fatalf("the backend sends back %q, %v, want hello", got, err)
		}
		return conn
	}
	ends := func(what string, conn *websocket.Conn) {
		t.Helper()
		if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != 4001 {
			t.Errorf("%s: the session ends with %v, want 4001", what, err)
		}
	}

	tab.Before(caught)
	tab.SignIn("admin", w.Password)
	tab.Open("/devportal/" + app.GetName())
	tab.Follow("API keys")
	tab.Has("No API key yet")
	tab.Follow("Create an API key")
	tab.Fill("Name", "kiosk")
	tab.Choose("Good for", "30 days")
	tab.Follow("Create")
	value := copyAll(t, tab)["the API key"]
	if !strings.HasPrefix(value, "tgak_") {
		t.Fatalf("the copied key is %q", value)
	}
	first := opens(value)
	tab.Follow("Back to the API keys")
	tab.Has("kiosk")
	if strings.Contains(tab.Text(), value) {
		t.Error("the list shows the value of the key")
	}
	cell := func(label, text string) string {
		return fmt.Sprintf(`document.querySelector('#rows [data-label=%q]').textContent.trim() === %q`, label, text)
	}
	tab.Until(cell("Live sessions", "1"))

	tab.Follow("Rotate kiosk")
	tab.Has("there is 1 now")
	tab.Click("Not at all")
	tab.Follow("Rotate")
	next := copyAll(t, tab)["the API key"]
	if !strings.HasPrefix(next, "tgak_") || next == value {
		t.Fatalf("the value after the rotation is %q", next)
	}
	ends("rotated without an overlap", first)
	second := opens(next)
	if _, got := w.Dial(t, address, "apikey", value); got != http.StatusUnauthorized {
		t.Errorf("the value before = %d, want 401", got)
	}

	tab.Follow("Back to the API keys")
	tab.Follow("Delete kiosk")
	tab.Has("1 live session")
	tab.Follow("Delete it")
	tab.Has("kiosk is deleted")
	tab.Has("No API key yet")
	ends("deleted", second)
	if _, got := w.Dial(t, address, "apikey", next); got != http.StatusUnauthorized {
		t.Errorf("the deleted key = %d, want 401", got)
	}
	if stored := browser.Read[int](tab, "localStorage.length + sessionStorage.length"); stored != 0 {
		t.Errorf("the browser stores %d things", stored)
	}
}
