package processes

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/grpc/metadata"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
	"github.com/tidegatehq/tidegate/services/kit/seal"
)

// TestSigningKeysRotate lets signing keys come and go under the other three:
// tokens of users and of applications hold over a rotation, and new ones are
// accepted everywhere.
func TestSigningKeysRotate(t *testing.T) {
	w := newWorld(startFleet(t, "sqlite", local(
		"TIDEGATE_SUBSCRIPTION_SIGNING_KEY_ROTATE", "2s",
		"TIDEGATE_SUBSCRIPTION_SIGNING_KEY_LEAD", "1s",
	)))
	keys := oauth2v1.NewOAuth2ServiceClient(w.conn)
	seen := map[string]bool{}
	gather := func() {
		answer, err := keys.GetJsonWebKeySet(w.deadline(), &oauth2v1.GetJsonWebKeySetRequest{})
		must(t, err)
		for _, k := range answer.GetKeys() {
			seen[k.GetKid()] = true
		}
	}
	gather()
	user, token := w.signedIn(), w.token()
	w.works(token)
	for range 2 {
		before := len(seen)
		w.eventually("another signing key is published", func() error {
			gather()
			if len(seen) == before {
				return fmt.Errorf("%d keys", before)
			}
			return nil
		})
		w.works(w.token())
		md, _ := metadata.FromOutgoingContext(w.signedIn())
		if _, err := catalogv1.NewCatalogServiceClient(w.conn).ListApis(metadata.NewOutgoingContext(w.deadline(), md), &catalogv1.ListApisRequest{}); err != nil {
			t.Errorf("ListApis with a new token: %v", err)
		}
	}
	w.works(token)
	if _, err := catalogv1.NewCatalogServiceClient(w.conn).ListApis(user, &catalogv1.ListApisRequest{}); err != nil {
		t.Errorf("ListApis with a token of before the rotations: %v", err)
	}
	w.filesAreReadAgain(token)
}

// filesAreReadAgain replaces the master key under all four, which SIGHUP tells: the
// session that is open stays, and new ones are served, also after a restart.
func (w *world) filesAreReadAgain(token string) {
	w.t.Helper()
	path := filepath.Join(w.dir, "certs/master-key")
	old, err := os.ReadFile(path)
	must(w.t, err)
	_, err = seal.Create(filepath.Join(w.dir, "spare"))
	must(w.t, err)
	spare, err := os.ReadFile(filepath.Join(w.dir, "spare"))
	must(w.t, err)
	conn, err := w.connect(token, false)
	must(w.t, err)
	for i, text := range []string{string(old) + string(spare), string(spare) + string(old), string(spare)} {
		must(w.t, os.WriteFile(path, []byte(text), 0o600))
		for _, service := range services {
			must(w.t, w.procs[service].Process.Signal(syscall.SIGHUP))
			w.eventually(service+" has read its files again", func() error {
				log, err := os.ReadFile(w.log(service))
				if n := strings.Count(string(log), `msg="files read again"`); err == nil && n <= i {
					err = fmt.Errorf("%d times:\n%s", n, w.tail(service))
				}
				return err
			})
		}
		w.works(token)
	}
	must(w.t, conn.Write(w.deadline(), websocket.MessageText, []byte("still here")))
	_, got, err := conn.Read(w.deadline())
	must(w.t, err)
	if string(got) != "still here" {
		w.t.Errorf("the session echoes %q", got)
	}
	must(w.t, conn.Close(websocket.StatusNormalClosure, ""))
	for _, service := range []string{"subscription", "catalog"} {
		must(w.t, w.stop(service))
		w.start(service)
		w.ready(service)
	}
	w.eventually("users sign in again", func() error {
		_, err := identityv1.NewSignInServiceClient(w.conn).SignIn(w.deadline(), &identityv1.SignInRequest{Username: "admin", Password: adminPassword})
		return err
	})
}

// works shows that a token opens a session.
func (w *world) works(token string) {
	w.t.Helper()
	conn, err := w.connect(token, false)
	must(w.t, err)
	must(w.t, conn.Close(websocket.StatusNormalClosure, ""))
}
