package e2e

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	"github.com/tidegatehq/tidegate/services/kit/credentialplace"
)

// taking has a product's version take access tokens at these places, as users write them.
func (p *user) taking(t *testing.T, x *product, places ...string) {
	t.Helper()
	oauth2 := &catalogv1.OAuth2Scheme{}
	for _, text := range places {
		place, err := credentialplace.Parse(text)
		if err != nil {
			t.Fatalf("%q %v", text, err)
		}
		oauth2.Places = append(oauth2.Places, place)
	}
	var header metadata.MD
	v, err := p.catalog.UpdateVersion(p.ctx(t), &catalogv1.UpdateVersionRequest{
		Version: &catalogv1.Version{
			Name: x.version.GetName(), AllowedOrigins: []string{"https://app.example"},
			Security: []*catalogv1.SecurityScheme{{Scheme: &catalogv1.SecurityScheme_Oauth2{Oauth2: oauth2}}},
		}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"security", "allowed_origins"}},
	}, grpc.Header(&header))
	p.moved(t, v, header, err)
}

// shown is a socket that a client opens to show a token.
type shown struct {
	Name      string            `json:"name"`
	URL       string            `json:"url"`
	Protocols []string          `json:"protocols,omitempty"`
	Headers   map[string]string `json:"headers,omitempty"`
	First     string            `json:"first,omitempty"`
	// ServerName is asked for in TLS, instead of the URL's host.
	ServerName string `json:"servername,omitempty"`
}

// TestPlaces has the WebSocket clients of users show tokens at every place of a version,
// which its publisher has set.
func TestPlaces(t *testing.T) {
	t.Parallel()
	dir := node(t)
	s := onSQLite(t)
	p := s.admin(t)
	x := p.publish(t, "Places", newBackend(t))
	token := p.accessToken(t, x)
	p.taking(t, x, "header:Authorization", "header:X-Token", "query:auth:base64", "cookie:sid", "subprotocol", "first-message,at=/token,if=/method=TOKEN_AUTH")
	url := s.WS + x.path
	b64, k8s := base64.StdEncoding.EncodeToString([]byte(token)), "base64url.bearer.authorization.k8s.io."+base64.RawURLEncoding.EncodeToString([]byte(token))
	sockets := []shown{
		{Name: "header", URL: url, Headers: map[string]string{"Authorization": "Bearer " + token}},
		{Name: "raw header", URL: url, Headers: map[string]string{"X-Token": token}},
		{Name: "query", URL: url + "?deviceId=d&auth=" + b64},
		{Name: "cookie", URL: url, Headers: map[string]string{"Cookie": "a=1; sid=" + token, "Origin": "https://app.example"}},
		{Name: "pair", URL: url, Protocols: []string{"bearer", token}},
		{Name: "pair and another", URL: url, Protocols: []string{"bearer", token, "mqtt"}},
		{Name: "Kubernetes", URL: url, Protocols: []string{"mqtt", k8s}},
		{Name: "first message", URL: url, First: `{"method":"TOKEN_AUTH","token":"` + token + `","rem":true}`},
		{Name: "bad first message", URL: url, First: `{"method":"TOKEN_AUTH","token":"none"}`},
	}
	const want = "header: [] hello\nraw header: [] hello\nquery: [] hello\ncookie: [] hello\npair: [bearer] hello\npair and another: [mqtt] hello\n" +
		"Kubernetes: [mqtt] hello\nfirst message: [] hello\nbad first message: closed 4001\n"
	text, err := json.Marshal(sockets)
	if err != nil {
		t.Fatal(err)
	}
	run := func(t *testing.T, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(within(t), name, args...)
		cmd.Env = append(os.Environ(), "SOCKETS="+string(text))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s %q: %v", name, args, err)
		}
		return string(out)
	}
	t.Run("ws", func(t *testing.T) {
		if got := run(t, "node", filepath.Join(dir, "places.mjs")); got != want {
			t.Errorf("ws says\n%s\nwant\n%s", got, want)
		}
	})
	t.Run("python3-websockets", func(t *testing.T) {
		if got := run(t, python(t), filepath.Join("testdata", "python", "places.py")); got != want {
			t.Errorf("websockets says\n%s\nwant\n%s", got, want)
		}
	})
	t.Run("wscat", func(t *testing.T) {
		wscat := filepath.Join(dir, "node_modules", ".bin", "wscat")
		for _, socket := range sockets {
			if socket.First != "" {
				continue // it sends one text only
			}
			args := []string{"-c", socket.URL, "-x", "hello from wscat", "-w", "1"}
			for _, name := range socket.Protocols {
				args = append(args, "-s", name)
			}
			for name, value := range socket.Headers {
				if name == "Origin" {
					args = append(args, "-o", value)
				} else {
					args = append(args, "-H", name+": "+value)
				}
			}
			t.Run(socket.Name, func(t *testing.T) {
				t.Parallel()
				cmd := exec.CommandContext(within(t), wscat, args...)
				stdin, err := cmd.StdinPipe() // it ends with its input
				if err != nil {
					t.Fatal(err)
				}
				defer stdin.Close()
				if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "hello from wscat") {
					t.Errorf("wscat: %v, %q", err, out)
				}
			})
		}
	})
}
