package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/certs/certtest"
)

// TestFurtherAddresses gives a version an address on the shared host, which takes an
// administrator, and addresses on virtual hosts with certificates of their own. Clients reach
// it at all of them, ws from npm by wss and the name of the host; a token is narrowed to one.
func TestFurtherAddresses(t *testing.T) {
	t.Parallel()
	dir, ca, folder := node(t), certtest.NewCA(t), t.TempDir()
	for name, host := range map[string]string{"chat": "chat.example.com", "apps": "*.apps.example.com"} {
		ca.IssueTo(t, certs.Files{Cert: filepath.Join(folder, name+".crt"), Key: filepath.Join(folder, name+".key")}, host)
	}
	s := start(t, newData(t), append(quick(), "-catalog.virtual-hosts", "wss://chat.example.com,wss://*.apps.example.com:8443", "-gateway.tls-dir", folder)...)
	p := s.admin(t)
	x := p.publish(t, "Addresses", newBackend(t))
	token := p.accessToken(t, x)
	sh := s.newShell(t)
	sh.run(t, "login", "--password-file", s.PasswordFile)
	sh.run(t, "user", "create", "pat", "--role", "creator", "--role", "publisher", "--no-password")
	sh.run(t, "api", "transfer", "Addresses", "pat")
	pat := s.shellOf(t, sh, "pat")

	const version = "Addresses/1.0.0"
	if _, stderr, code := pat.try(t, "", "api", "version", "update", version, "--address", "/cable"); code != 1 || !strings.Contains(stderr, "only administrators give addresses on the shared host") {
		t.Errorf("a publisher's address on the shared host: %d, %q", code, stderr)
	}
	sh.says(t, []string{s.WS + "/cable", s.WSS + "/cable"}, "api", "version", "update", version, "--address", "/cable")
	pat.says(t, []string{"wss://chat.example.com/", "wss://one.apps.example.com:8443/live"}, "api", "version", "update", version,
		"--address", "/cable", "--address", "chat.example.com", "--address", "one.apps.example.com/live,socket")
	pat.says(t, []string{"chat.example.com (wss://chat.example.com/)", "one.apps.example.com/live,socket (wss://one.apps.example.com:8443/live)"}, "api", "version", "get", version)

	// What gateways have of that is waited for with one more change.
	var header metadata.MD
	v, err := p.catalog.UpdateVersion(p.ctx(t), &catalogv1.UpdateVersionRequest{
		Version: &catalogv1.Version{Name: x.version.GetName(), Pings: catalogv1.Version_PINGS_CLIENTS}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"pings"}},
	}, grpc.Header(&header))
	p.moved(t, v, header, err)
	for _, url := range []string{s.WS + x.path, s.WS + "/cable", s.WSS + "/cable/deep"} {
		echo(t, s.connect(t, url, token), websocket.MessageText, "hello")
	}
	narrow, err := p.oauth.IssueToken(within(t), &oauth2v1.IssueTokenRequest{
		GrantType: "client_credentials", ClientCredentials: credentialsOf(x), Resource: "wss://CHAT.example.com:443",
	})
	if err != nil {
		t.Fatal(err)
	}
	echo(t, s.connect(t, s.WS+x.path, narrow.GetAccessToken()), websocket.MessageText, "narrow")

	at := func(host, path string) shown {
		return shown{
			Name: host + path, URL: strings.Replace(s.WSS, "localhost", "127.0.0.1", 1) + path, ServerName: host,
			Headers: map[string]string{"Host": host, "Authorization": "Bearer " + token},
		}
	}
	text, err := json.Marshal([]shown{
		at("chat.example.com", "/"), at("chat.example.com", "/any/path"), at("one.apps.example.com", "/live/x"),
		at("one.apps.example.com", "/cable"), at("two.apps.example.com", "/cable"), at("unknown.example.com", "/cable"),
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(within(t), "node", filepath.Join(dir, "places.mjs"))
	cmd.Env = append(os.Environ(), "SOCKETS="+string(text), "NODE_EXTRA_CA_CERTS="+ca.File)
	out, err := cmd.CombinedOutput()
	const want = "chat.example.com/: [] hello\nchat.example.com/any/path: [] hello\none.apps.example.com/live/x: [] hello\n" +
		"one.apps.example.com/cable: Unexpected server response: 404\n" + // a virtual host has nothing of the shared one
		"two.apps.example.com/cable: [] hello\n" // no version has an address there: it is the shared host
	rest, ok := strings.CutPrefix(string(out), want)
	if err != nil || !ok || !strings.HasPrefix(rest, "unknown.example.com/cable: ") || strings.Contains(rest, "hello") {
		t.Errorf("ws says %v\n%s\nwant\n%sand that it does not trust the certificate of others", err, out, want)
	}
}
