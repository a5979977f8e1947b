package e2e

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/coder/websocket"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
)

// TestWhatIsIssuedReachesNoBackend has the server issue a credential of every kind, and
// puts each into the places of one handshake with a version that requires none: the
// gateway recognizes all that the other services make.
func TestWhatIsIssuedReachesNoBackend(t *testing.T) {
	t.Parallel()
	s := onSQLite(t)
	dialled := make(chan string, 1)
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := httputil.DumpRequest(r, false)
		if err != nil {
			t.Errorf("the backend's request: %v", err)
		}
		dialled <- string(text)
		w.WriteHeader(http.StatusTeapot)
	}))
	t.Cleanup(backend.Close)
	sh := s.newShell(t)
	sh.run(t, "login", "--password-file", s.PasswordFile)
	sh.run(t, "api", "create", "Sieve", "--endpoint", "ws"+strings.TrimPrefix(backend.URL, "http"), "--plan", "Gold", "--security", "none", "--publish")
	for kind, credential := range s.issued(t) {
		encoded := base64.StdEncoding.EncodeToString([]byte(credential))
		conn, _, err := websocket.Dial(within(t), s.WS+"/sieve/1.0.0?a=1&token="+credential+"&b=2", &websocket.DialOptions{ //nolint:bodyclose // Dial has read the body
			HTTPClient: s.http(t), Subprotocols: []string{"chat", credential},
			HTTPHeader: http.Header{
				"Authorization": {"Bearer " + credential}, "X-Api-Key": {credential}, "X-Encoded": {encoded},
				"X-Basic": {"Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+credential))},
				"Cookie":  {"c=3; token=" + credential + "; d=4"},
			},
		})
		if err == nil {
			_ = conn.CloseNow()
			t.Fatalf("%s: the backend took a handshake", kind)
		}
		request := <-dialled
		if strings.Contains(request, credential) || strings.Contains(request, encoded) || strings.Contains(request, "Basic ") {
			t.Errorf("%s reaches the backend:\n%s", kind, request)
		}
		for _, rest := range []string{"?a=1&b=2 ", "c=3; d=4", "chat"} {
			if !strings.Contains(request, rest) {
				t.Errorf("%s: the backend's request lacks %s:\n%s", kind, rest, request)
			}
		}
	}
}

// issued returns a credential of every kind that the server issues.
func (s *Stack) issued(t *testing.T) map[string]string {
	t.Helper()
	p := s.admin(t)
	in, err := p.signIns.SignIn(within(t), &identityv1.SignInRequest{Username: "admin", Password: s.password(t)})
	if err != nil {
		t.Fatal(err)
	}
	x := p.application(t, "Sieve client")
	narrowed, err := p.oauth.IssueToken(within(t), &oauth2v1.IssueTokenRequest{
		GrantType: "client_credentials", ClientCredentials: credentialsOf(x), Resource: s.WS + "/sieve",
	})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"a user's token": in.GetAccessToken(), "a refresh token": in.GetRefreshToken(), "a client secret": x.secret.GetSecret(),
		"an application's token": p.accessToken(t, x), "a narrowed token": narrowed.GetAccessToken(),
	}
}
