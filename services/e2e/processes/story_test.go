package processes

import (
	"debug/elf"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
)

// TestStory goes from nothing to a message on four processes, on both engines.
func TestStory(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			w := newWorld(startFleet(t, engine, local()))
			token := w.token()
			for i, wss := range []bool{false, true} {
				conn, err := w.connect(token, wss)
				must(t, err)
				must(t, conn.Write(t.Context(), websocket.MessageText, []byte("hello")))
				kind, message, err := conn.Read(t.Context())
				if err != nil || kind != websocket.MessageText || string(message) != "hello" {
					t.Fatalf("Read = %v, %q, %v, want the text hello", kind, message, err)
				}
				must(t, conn.Close(websocket.StatusNormalClosure, ""))
				w.wantUsage(uint64(i + 1))
			}
		})
	}
}

// TestCallers shows certificates that the internal listeners must refuse.
func TestCallers(t *testing.T) {
	f := startFleet(t, "sqlite", local())
	request := &backplanev1.VerifyCredentialRequest{Credential: "x", Version: "apis/a/versions/v", Scheme: backplanev1.CredentialScheme_CREDENTIAL_SCHEME_OAUTH2}
	for _, tt := range []struct {
		as   string
		want codes.Code
	}{
		{"gateway", codes.OK},
		{"portal", codes.PermissionDenied},
		{"catalog", codes.PermissionDenied},
		{"", codes.Unavailable}, // the handshake of TLS fails
	} {
		conn := f.dial("subscription:9292", tt.as)
		_, err := backplanev1.NewGrantServiceClient(conn).VerifyCredential(f.deadline(), request)
		if got := status.Code(err); got != tt.want {
			t.Errorf("VerifyCredential with the certificate of %q = %v, want %v", tt.as, err, tt.want)
		}
	}
	conn := f.dial("subscription:9192", "gateway")
	_, err := backplanev1.NewGrantServiceClient(conn).VerifyCredential(f.deadline(), request)
	if got := status.Code(err); got != codes.Unimplemented {
		t.Errorf("VerifyCredential at the users' listener = %v, want UNIMPLEMENTED", err)
	}
}

// TestStatic checks that the released binaries know their version and need no
// library and no loader.
func TestStatic(t *testing.T) {
	bin, err := built()
	must(t, err)
	for _, name := range []string{"tidegate", "catalog", "subscription", "gateway", "portal"} {
		ask := "-version"
		if name == "tidegate" {
			ask = "version"
		}
		out, err := exec.Command(filepath.Join(bin, name), ask).CombinedOutput()
		if err != nil || string(out) != name+" v0.0.0-test\n" {
			t.Errorf("%s tells its version as %q, %v, want the version that deploy/build was told", name, out, err)
		}
		f, err := elf.Open(filepath.Join(bin, name))
		must(t, err)
		defer f.Close()
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s has a program header %v, want a static binary", name, p.Type)
			}
		}
	}
}
