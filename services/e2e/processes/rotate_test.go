package processes

import (
	"fmt"
	"testing"

	"github.com/coder/websocket"
	"google.golang.org/grpc/metadata"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
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
}

// works shows that a token opens a session.
func (w *world) works(token string) {
	w.t.Helper()
	conn, err := w.connect(token, false)
	must(w.t, err)
	must(w.t, conn.Close(websocket.StatusNormalClosure, ""))
}
