// Package browser leads a real browser through pages, for tests: it clicks where a user
// would and types keys. What the browser complains of fails the test.
package browser

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/tidegatehq/tidegate/services/kit/certs"
)

// patience is how long a test waits for what must happen. Only failures use it up.
const patience = time.Minute

// program is Chromium without a screen.
const program = "chromium-headless-shell"

// Require skips a test where there is no browser, or fails it where
// TIDEGATE_REQUIRE_BROWSER says that there must be one.
func Require(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("TIDEGATE_REQUIRE_BROWSER") == "1" {
			t.Fatalf("no %s on the path, and TIDEGATE_REQUIRE_BROWSER=1", program)
		}
		t.Skipf("no %s on the path", program)
	}
}

// Chromium is a running browser.
type Chromium struct {
	ctx  context.Context // chromedp's, of which those of tabs are children
	stop func()
}

// Start starts a browser. It reaches nothing but loopback, and trusts the certificates of
// the servers at these addresses, as host:port, besides those that all trust.
func Start(ctx context.Context, servers ...string) (*Chromium, error) {
	keys := make([]string, 0, len(servers))
	for _, server := range servers {
		key, err := keyHash(ctx, server)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.DisableGPU,
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"),
		chromedp.Flag("ignore-certificate-errors-spki-list", strings.Join(keys, ",")),
		chromedp.WSURLReadTimeout(patience))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // the sandbox is not for root
	}
	ctx, stopProgram := chromedp.NewExecAllocator(ctx, options...)
	ctx, stop := chromedp.NewContext(ctx, chromedp.WithErrorf(quiet), chromedp.WithLogf(quiet))
	b := &Chromium{ctx: ctx, stop: func() {
		stop()
		stopProgram()
	}}
	if err := chromedp.Do(ctx); err != nil {
		b.Stop()
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return b, nil
}

// Stop ends the browser and waits for its end.
func (b *Chromium) Stop() { b.stop() }

// quiet drops what chromedp logs: events that it does not know.
func quiet(string, ...any) {}

// keyHash is the hash of the public key of a server's certificate.
func keyHash(ctx context.Context, server string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	config := certs.Modern()
	config.InsecureSkipVerify = true // what is trusted is this very key, so nothing is to be verified before
	conn, err := (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", server)
	if err != nil {
		return "", fmt.Errorf("read the certificate of %s: %w", server, err)
	}
	defer conn.Close()
	secure, ok := conn.(*tls.Conn)
	if !ok || len(secure.ConnectionState().PeerCertificates) == 0 {
		return "", fmt.Errorf("%s has no certificate", server)
	}
	sum := sha256.Sum256(secure.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:]), nil
}
