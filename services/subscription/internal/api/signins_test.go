package api_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
)

// signInsOf lists the sign-ins of a user.
func (w *world) signInsOf(ctx context.Context, parent string) []*identityv1.SignIn {
	w.t.Helper()
	list, err := w.signIns.ListSignIns(ctx, &identityv1.ListSignInsRequest{Parent: parent})
	w.must(err)
	return list.GetSignIns()
}

// TestSignInsAreListedAndEnded has a user end one of their sign-ins, and an
// administrator the other. Others see and end neither.
func TestSignInsAreListedAndEnded(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.password(w.annName, "a long secret for it")
		lost, err := w.signIn("ann", "a long secret for it")
		w.must(err)
		w.add(time.Minute)
		here, err := w.signIn("ann", "a long secret for it")
		w.must(err)
		ann := bearer(t.Context(), here.GetAccessToken())
		all := w.signInsOf(ann, "users/me")
		if len(all) != 2 || all[0].GetCurrent() || !all[1].GetCurrent() ||
			!all[1].GetCreateTime().AsTime().Equal(w.now()) || !all[1].GetExpireTime().AsTime().Equal(w.now().Add(24*time.Hour)) {
			t.Fatalf("ListSignIns() = %v, want two, the second current", all)
		}
		if got, err := w.signIns.GetSignIn(w.root, &identityv1.GetSignInRequest{Name: all[0].GetName()}); err != nil || got.GetName() != all[0].GetName() {
			t.Errorf("GetSignIn() by an administrator = %v, %v", got, err)
		}
		end := func(ctx context.Context, name string) error {
			_, err := w.signIns.DeleteSignIn(ctx, &identityv1.DeleteSignInRequest{Name: name})
			return err
		}
		_, err = w.signIns.ListSignIns(w.bob, &identityv1.ListSignInsRequest{Parent: w.annName})
		refused(t, "ListSignIns() of another", err, codes.NotFound, w.annName+" not found")
		refused(t, "DeleteSignIn() of another", end(w.bob, all[0].GetName()), codes.NotFound, all[0].GetName()+" not found")

		w.must(end(ann, all[0].GetName()))
		refused(t, "a call with its token", w.me(lost.GetAccessToken()), codes.Unauthenticated, accessEnded)
		_, err = w.refresh(lost.GetRefreshToken())
		refused(t, "RefreshSignIn()", err, codes.Unauthenticated, signInEnded)
		refused(t, "DeleteSignIn() again", end(ann, all[0].GetName()), codes.NotFound, all[0].GetName()+" not found")
		w.must(w.me(here.GetAccessToken()))

		if all = w.signInsOf(w.root, w.annName); len(all) != 1 || all[0].GetCurrent() {
			t.Errorf("ListSignIns() by an administrator = %v, want the one that is left", all)
		}
		w.must(end(w.root, all[0].GetName()))
		refused(t, "a call with its token", w.me(here.GetAccessToken()), codes.Unauthenticated, accessEnded)
	})
}
