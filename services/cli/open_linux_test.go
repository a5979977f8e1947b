package cli

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"

	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
)

// fakeIssuer has an issuer.
type fakeIssuer struct {
	oauth2v1.UnimplementedOAuth2ServiceServer
}

func (fakeIssuer) GetJsonWebKeySet(context.Context, *oauth2v1.GetJsonWebKeySetRequest) (*oauth2v1.JsonWebKeySet, error) {
	return &oauth2v1.JsonWebKeySet{Issuer: "https://portal.example:9443"}, nil
}

// TestOpen opens pages with a program that stands for the system's browser, which needs no
// sign-in.
func TestOpen(t *testing.T) {
	f := newFakeServer(t, func(srv *grpc.Server) { oauth2v1.RegisterOAuth2ServiceServer(srv, fakeIssuer{}) })
	c := command{dir: t.TempDir(), env: []string{"TIDEGATE_SERVER=" + f.addr, "TIDEGATE_CA=" + f.ca}}
	browsers, opened := t.TempDir(), filepath.Join(t.TempDir(), "opened")
	script := "#!/bin/sh\necho \"$1\" >> '" + opened + "'\n"
	if err := os.WriteFile(filepath.Join(browsers, "xdg-open"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", browsers)
	for _, test := range []struct {
		args           string
		stdout, stderr string
		code           int
	}{
		{"open", "https://portal.example:9443/\n", "", 0},
		{"open admin", "https://portal.example:9443/admin\n", "", 0},
		{"open devportal --portal https://other.example/", "https://other.example/devportal\n", "", 0},
		{"open --print", "https://portal.example:9443/\n", "", 0},
		{"open -o json", "{\n  \"address\": \"https://portal.example:9443/\"\n}\n", "", 0},
		{"open --portal http://other.example", "", "tidegate: open: --portal: \"http://other.example\" is not an https:// URL\n", 2},
	} {
		stdout, stderr, code := c.run(t, strings.Fields(test.args)...)
		if stdout != test.stdout || stderr != test.stderr || code != test.code {
			t.Errorf("%s = %q, %q, %d, want %q, %q, %d", test.args, stdout, stderr, code, test.stdout, test.stderr, test.code)
		}
	}
	got, err := os.ReadFile(opened)
	want := "https://portal.example:9443/\nhttps://portal.example:9443/admin\nhttps://other.example/devportal\nhttps://portal.example:9443/\n"
	if err != nil || string(got) != want {
		t.Errorf("opened were %q, %v, want %q", got, err, want)
	}
	t.Setenv("PATH", t.TempDir())
	want = "tidegate: open: no browser opens here: open https://portal.example:9443/ yourself, or give --print\n"
	if _, stderr, code := c.run(t, "open"); stderr != want || code != 1 {
		t.Errorf("open without a browser = %q, %d, want %q, 1", stderr, code, want)
	}
}
