package api_test

import (
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

// The catalog finds users by any of their names; no other service asks.
func TestFindUser(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		_, internal, _, _ := w.replica()
		directory := backplanev1.NewUserDirectoryServiceClient(w.dial(internal, identity.Catalog))
		_, err := w.users.SuspendUser(w.root, &identityv1.SuspendUserRequest{Name: w.bobName})
		w.must(err)
		for text, want := range map[string]*backplanev1.FindUserResponse{
			w.annName: {Name: w.annName}, "ann": {Name: w.annName}, "ANN": {Name: w.annName},
			"bob": {Name: w.bobName, Suspended: true},
		} {
			got, err := directory.FindUser(t.Context(), &backplanev1.FindUserRequest{User: text})
			if err != nil || got.GetName() != want.GetName() || got.GetSuspended() != want.GetSuspended() {
				t.Errorf("FindUser(%s) = %v, %v, want %v", text, got, err, want)
			}
		}
		for _, text := range []string{"nobody", "users/nobody", "users/me", "users/", "apis/x", "a\"b"} {
			_, err := directory.FindUser(t.Context(), &backplanev1.FindUserRequest{User: text})
			if status.Code(err) != codes.NotFound {
				t.Errorf("FindUser(%s) = %v, want NOT_FOUND", text, err)
			}
		}
		_, err = directory.FindUser(t.Context(), &backplanev1.FindUserRequest{})
		refused(t, "FindUser of nothing", err, codes.InvalidArgument, "user: is required")
		_, err = backplanev1.NewUserDirectoryServiceClient(w.dial(internal, identity.Gateway)).FindUser(t.Context(), &backplanev1.FindUserRequest{User: "ann"})
		refused(t, "FindUser by the gateway", err, codes.PermissionDenied, "only services call this method")
	})
}
