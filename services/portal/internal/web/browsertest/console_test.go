package browsertest

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/e2e/browser"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
)

// last is an expression for the text of the last message that went one way, in or out.
func last(way string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#c-rows .msg.%s pre")].at(-1)?.textContent`, way)
}

// TestConsole does all that the console can.
func TestConsole(t *testing.T) {
	t.Parallel()
	tab, w := newTab(t)
	tab.SignIn("admin", w.Password)
	tab.Open("/devportal/" + w.Offered + "/console")
	tab.Click("Path, query, headers, sub-protocols")
	tab.Fill("Sub-protocols", "one, two")
	tab.Click("Connect")
	tab.Has("Connected: 101, sub-protocol one")

	message := func(kind, text, sent, size string) {
		t.Helper()
		tab.Choose("Kind", kind)
		tab.Fill("Message to send", text)
		tab.Click("Send")
		for _, way := range []string{"out", "in"} {
			tab.Until(fmt.Sprintf("%s === %q", last(way), sent))
		}
		tab.Until(fmt.Sprintf(`[...document.querySelectorAll("#c-rows .size")].at(-1).textContent === %q`, size))
	}
	message("Text", "hello", "hello", "5 B")
	message("Text", "ünï", "ünï", "5 B")
	message("JSON", `{"a":[1.50,{}],"b":"x"}`, "{\n  \"a\": [\n    1.50,\n    {}\n  ],\n  \"b\": \"x\"\n}", "23 B")
	message("Binary, in hex", "08 9601ff", "[binary] 08 96 01 ff", "4 B")
	for kind, text := range map[string]string{"JSON": "{", "Binary, in hex": "0"} {
		tab.Choose("Kind", kind)
		tab.Fill("Message to send", text)
		tab.Click("Send")
		tab.Until(`document.getElementById("c-wrong").checkVisibility()`)
		tab.Until(`document.getElementById("c-text").getAttribute("aria-invalid") === "true"`)
	}
	for _, way := range []string{"sent", "received"} {
		tab.Until(fmt.Sprintf(`document.getElementById("c-%s").textContent === "4 messages, 37 B"`, way))
	}
	tab.Click("Ping")
	tab.Has("Pong after")
	tab.Fill("Filter messages", "pong AFTER")
	tab.Until(`[...document.querySelectorAll("#c-rows .msg")].filter((e) => e.checkVisibility()).length === 1`)
	tab.Fill("Filter messages", "")
	tab.Until(`document.getElementById("c-expires").textContent.startsWith("good until ")`)
	tab.Click("Renew")
	tab.Has("Renewed, on the same socket: the credential is good until ")
	message("Text", "renewed", "renewed", "7 B")
	was := browser.Read[string](tab, `document.getElementById("c-key").selectedOptions[0].textContent`)
	tab.Choose("Key", "A token of my own")
	tab.Fill("Token", "none")
	tab.Click("Renew")
	tab.Until(`document.getElementById("c-said").textContent.startsWith("Not renewed: ")`)
	tab.Choose("Key", was)
	tab.Click("Renew")
	tab.Until(`!document.getElementById("c-problem").checkVisibility()`)
	message("Text", "again", "again", "5 B")
	tab.Fill("Close code", "4321")
	tab.Fill("Reason", "enough")
	tab.Click("Disconnect")
	tab.Until(`document.getElementById("c-state").textContent === "Not connected"`)
	tab.Click("Clear")
	tab.Until(`document.querySelectorAll("#c-rows .msg").length === 0`)

	// A refusal is said with words and with what its record is found by.
	tab.Choose("Key", "A token of my own")
	tab.Fill("Token", "none")
	tab.Click("Connect")
	tab.Until(`document.getElementById("c-problem").checkVisibility() && document.activeElement.id === "c-problem"`)
	problem := browser.Read[string](tab, `document.getElementById("c-problem").textContent`)
	ref := regexp.MustCompile(`^Refused with 401\. The gateway does not take the token: .* Its record has the ref (\w+)\.`).FindStringSubmatch(problem)
	if ref == nil {
		t.Fatalf("the refusal says %q", problem)
	}
	usage, ctx := usagev1.NewUsageServiceClient(w.Conn), w.As(t, "admin", w.Password)
	deadline, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		record, err := usage.GetSessionRecord(deadline, &usagev1.GetSessionRecordRequest{Name: "sessionRecords/" + ref[1]})
		if err == nil && record.GetStatus() == http.StatusUnauthorized {
			break
		}
		if deadline.Err() != nil {
			t.Fatalf("the record %s = %v, %v", ref[1], record, err)
		}
	}
	record := tab.Opened(t, func() { tab.Click("Its record") })
	record.Has(ref[1])
	record.Has("401")
}

// TestDisconnectInAFlood sends 10000 messages as fast as the page takes them, and clicks on
// Disconnect in the middle.
func TestDisconnectInAFlood(t *testing.T) {
	t.Parallel()
	tab, w := newTab(t)
	got := make(chan int, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(rw, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = conn.CloseNow() }()
		n := 0
		for ; ; n++ {
			if _, _, err := conn.Read(r.Context()); err != nil {
				got <- n
				return
			}
		}
	}))
	t.Cleanup(backend.Close)
	tab.SignIn("admin", w.Password)
	tab.Open("/devportal/" + open(t, w, own("Flood"), backend.URL).GetName() + "/console")
	tab.Size(1280, 2000) // so that nothing scrolls
	tab.Click("Connect")
	tab.Has("Connected: 101")
	tab.Fill("Message to send", "hello")
	tab.Fill("Times", "10000")
	disconnect := tab.Aim("Disconnect")
	tab.Click("Send")
	const sent = `Number(document.getElementById("c-sent").textContent.split(" ")[0].replace(",", ""))`
	tab.Until(sent + " > 2500")
	disconnect()
	tab.Until(`!document.getElementById("c-end").checkVisibility()`)
	// Rows and counters are drawn a frame after the other, the end last.
	tab.Until(`document.querySelector("#c-rows li:last-child pre").textContent === "Closed: 1000"`)
	n, shown := <-got, browser.Read[int](tab, sent)
	if n != shown || n >= 10_000 {
		t.Errorf("%d messages have arrived, and the counter says %d, want as many, and fewer than 10000", n, shown)
	}
	if rows := browser.Read[int](tab, `document.querySelectorAll("#c-rows li").length`); rows > 2000 || rows < 2000 && n > 2000 {
		t.Errorf("%d rows are in the page, want at most 2000", rows)
	}
}

// open publishes a version of a new API that everybody may connect to.
func open(t *testing.T, w *webtest.World, name, backend string) *catalogv1.Version {
	t.Helper()
	return w.Publish(t, w.As(t, "admin", w.Password), name, strings.Replace(backend, "http", "ws", 1), webtest.ForAll)
}
