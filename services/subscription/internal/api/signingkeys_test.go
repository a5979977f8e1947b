package api_test

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	oauth2v1 "github.com/tidegatehq/tidegate/gen/go/tidegate/oauth2/v1"
)

// TestSigningKeys rotates the signing key as an administrator: the key is in the JWK set,
// the audit log and the security log say who did it, and nobody else may.
func TestSigningKeys(t *testing.T) {
	w := onSQLite(t)
	keys := oauth2v1.NewSigningKeyServiceClient(w.conn)
	app := w.application(w.ann, "app")
	c := w.oauthClient(w.ann, app.GetName(), catalogv1.Stage_STAGE_PRODUCTION)
	before := w.token(c)
	for name, err := range map[string]error{
		"RotateSigningKey": second(keys.RotateSigningKey(w.ann, &oauth2v1.RotateSigningKeyRequest{})),
		"ListSigningKeys":  second(keys.ListSigningKeys(w.ann, &oauth2v1.ListSigningKeysRequest{})),
		"GetSigningKey":    second(keys.GetSigningKey(w.ann, &oauth2v1.GetSigningKeyRequest{Name: "signingKeys/1"})),
	} {
		refused(t, name+" by a subscriber", err, codes.PermissionDenied, "this needs the role admin")
	}
	made, err := keys.RotateSigningKey(w.root, &oauth2v1.RotateSigningKeyRequest{})
	w.must(err)
	if made.GetName() != "signingKeys/2" || made.GetState() != oauth2v1.SigningKey_STATE_PUBLISHED || made.GetRetireTime() != nil {
		t.Errorf("RotateSigningKey = %v, want that signingKeys/2 is published", made)
	}
	again, err := keys.RotateSigningKey(w.root, &oauth2v1.RotateSigningKeyRequest{})
	w.must(err)
	got, err := keys.GetSigningKey(w.root, &oauth2v1.GetSigningKeyRequest{Name: made.GetName()})
	w.must(err)
	if again.GetKid() != made.GetKid() || got.GetKid() != made.GetKid() {
		t.Errorf("keys = %s, then %s and %s, want the same", made.GetKid(), again.GetKid(), got.GetKid())
	}
	_, err = keys.GetSigningKey(w.root, &oauth2v1.GetSigningKeyRequest{Name: "signingKeys/3"})
	refused(t, "GetSigningKey of none", err, codes.NotFound, `signing key "3" not found`)

	first, err := keys.ListSigningKeys(w.root, &oauth2v1.ListSigningKeysRequest{PageSize: 1})
	w.must(err)
	rest, err := keys.ListSigningKeys(w.root, &oauth2v1.ListSigningKeysRequest{PageSize: 1, PageToken: first.GetNextPageToken()})
	w.must(err)
	last, err := keys.ListSigningKeys(w.root, &oauth2v1.ListSigningKeysRequest{PageSize: 1, PageToken: rest.GetNextPageToken()})
	w.must(err)
	all := slices.Concat(first.GetSigningKeys(), rest.GetSigningKeys(), last.GetSigningKeys())
	if len(all) != 3 || last.GetNextPageToken() != "" || all[1].GetKid() != made.GetKid() || all[2].GetName() != "signingKeys/identity-1" {
		t.Fatalf("three pages have %v, want both keys, and that of backend identities", all)
	}
	if old := all[0]; old.GetState() != oauth2v1.SigningKey_STATE_SIGNING || !old.GetRetireTime().AsTime().Equal(made.GetSignTime().AsTime()) ||
		!old.GetExpireTime().AsTime().After(old.GetRetireTime().AsTime()) {
		t.Errorf("the old key = %v, want that it signs until the new one does", old)
	}
	set, err := w.oauth.GetJsonWebKeySet(t.Context(), &oauth2v1.GetJsonWebKeySetRequest{})
	w.must(err)
	if len(set.GetKeys()) != 2 || set.GetKeys()[1].GetKid() != made.GetKid() {
		t.Errorf("the JWK set has %v, want both keys", set.GetKeys())
	}
	in, err := w.oauth.IntrospectToken(t.Context(), &oauth2v1.IntrospectTokenRequest{Token: before, ClientCredentials: credentials(c)})
	w.must(err)
	if !in.GetActive() {
		t.Error("a token of before the rotation is not active")
	}

	changes, err := w.changes.ListChanges(w.root, &changev1.ListChangesRequest{Parent: "services/subscription"})
	w.must(err)
	rotations := 0
	for _, change := range changes.GetChanges() {
		if change.GetAction() != "RotateSigningKey" {
			continue
		}
		rotations++
		if change.GetActor() != w.rootName || change.GetResource() != made.GetName() || len(change.GetFieldChanges()) == 0 {
			t.Errorf("the audit log has %v, want who rotated and what", change)
		}
	}
	if rotations != 1 {
		t.Errorf("the audit log has %d rotations, want 1", rotations)
	}
	events := slices.DeleteFunc(w.events(), func(e string) bool { return !strings.HasPrefix(e, "event=KEY_ROTATED") })
	if want := "event=KEY_ROTATED who=" + w.rootName + " method=RotateSigningKey what=signingKeys/2"; !slices.Equal(events, []string{want}) {
		t.Errorf("security events = %q, want %q", events, want)
	}
}

func second[T any](_ T, err error) error { return err }
