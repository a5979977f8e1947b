package processes

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	usagev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/usage/v1"
	"github.com/tidegatehq/tidegate/services/e2e/webtest"
	"github.com/tidegatehq/tidegate/services/kit/certs"
)

// visitor is the address of a user whom a proxy sends to the portal.
const visitor = "203.0.113.9"

// TestPagesOfAPortal has a user sign in at the pages of a portal that is a process of its
// own, and speak through the console to a gateway that is another. The console trusts the
// authorities of -gateway-wss-ca as that file was at the last reload. The gateway trusts the
// portal about where the user is.
func TestPagesOfAPortal(t *testing.T) {
	authorities := filepath.Join(t.TempDir(), "authorities.pem")
	_, stranger, err := certs.NewAuthority("another", time.Now())
	must(t, err)
	must(t, os.WriteFile(authorities, stranger.Cert, 0o600))
	w := newWorld(startFleet(t, "sqlite", local(
		"TIDEGATE_PORTAL_TRUSTED_PROXIES", "127.0.0.1", "TIDEGATE_GATEWAY_TRUSTED_PROXIES", "127.0.0.1",
		"TIDEGATE_PORTAL_GATEWAY_WSS_CA", authorities,
	)))
	b := webtest.NewBrowser(t, "https://"+w.port("portal:9443"), &tls.Config{RootCAs: w.roots})
	b.SignIn("admin", adminPassword)
	console := "/devportal/" + w.version + "/console"
	if page := b.Open(console); page.Status != http.StatusOK || !strings.Contains(page.Text(), "Connect") {
		t.Fatalf("the console = %d:\n%s", page.Status, page.Text())
	}

	if got := w.speak(b, console); got["type"] != "failed" || !strings.Contains(fmt.Sprint(got["text"]), "certificate") {
		t.Errorf("before a gateway of an authority that is not trusted the console says %v, want that the certificate is not", got)
	}
	real, err := os.ReadFile(filepath.Join(w.dir, "certs/ca.pem"))
	must(t, err)
	must(t, os.WriteFile(authorities, real, 0o600))
	must(t, w.procs["portal"].Process.Signal(syscall.SIGHUP))
	w.eventually("the file is read again", func() error {
		if got := w.speak(b, console); got["type"] != "text" || got["text"] != "hello" {
			return fmt.Errorf("the console says %v, want the text hello", got)
		}
		return nil
	})
	w.eventually("the session is recorded with the user's address", func() error {
		list, err := usagev1.NewUsageServiceClient(w.conn).ListSessionRecords(w.signedIn(), &usagev1.ListSessionRecordsRequest{Filter: `version = "` + w.version + `"`})
		must(t, err)
		if len(list.GetSessionRecords()) == 0 {
			return errors.New("there is no record")
		}
		if from := list.GetSessionRecords()[0].GetClientAddress(); from != visitor {
			t.Fatalf("the session is from %q, want %s", from, visitor)
		}
		return nil
	})
}

// speak opens the console's socket, sends hello through the gateway, and returns the event
// that ends this: the text that comes back, or why there is none.
func (w *world) speak(b *webtest.Browser, console string) map[string]any {
	w.t.Helper()
	ctx := w.deadline()
	portal := "https://" + w.port("portal:9443")
	conn, _, err := websocket.Dial(ctx, portal+console+"/socket", &websocket.DialOptions{ //nolint:bodyclose // it is the connection
		HTTPClient: w.http,
		HTTPHeader: http.Header{"Origin": {portal}, "Cookie": {"__Host-tidegate=" + b.Cookie("__Host-tidegate")}, "X-Forwarded-For": {visitor}},
	})
	must(w.t, err)
	defer func() { _ = conn.CloseNow() }()
	must(w.t, wsjson.Write(ctx, conn, map[string]any{"type": "open", "application": w.app}))
	for {
		got := map[string]any{}
		must(w.t, wsjson.Read(ctx, conn, &got))
		switch got["type"] {
		case "opened":
			must(w.t, wsjson.Write(ctx, conn, map[string]any{"type": "text", "text": "hello"}))
		case "taken":
		default:
			return got
		}
	}
}
