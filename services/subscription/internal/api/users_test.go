package api_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

func (w *world) signIn(username, password string) (*identityv1.SignInResponse, error) {
	return w.signIns.SignIn(w.t.Context(), &identityv1.SignInRequest{Username: username, Password: password})
}

func (w *world) refresh(secret string) (*identityv1.SignInResponse, error) {
	return w.signIns.RefreshSignIn(w.t.Context(), &identityv1.RefreshSignInRequest{RefreshToken: secret})
}

const (
	wrongPassword = "wrong username or password"
	signInEnded   = "the refresh token is no longer valid: sign in again"
)

func TestSignIn(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		before := w.head()
		in, err := w.signIn("Admin", adminPassword)
		w.must(err)
		if in.GetUser().GetName() != w.rootName || !in.GetExpireTime().AsTime().Equal(w.now().Add(15*time.Minute)) ||
			!in.GetRefreshExpireTime().AsTime().Equal(w.now().Add(24*time.Hour)) {
			t.Errorf("SignIn() = %v", in)
		}
		me, err := w.users.GetUser(bearer(t.Context(), in.GetAccessToken()), &identityv1.GetUserRequest{Name: "users/me"})
		if err != nil || me.GetUsername() != "admin" || me.GetRoles()[0] != identityv1.User_ROLE_ADMIN {
			t.Errorf("GetUser(me) = %v, %v", me, err)
		}
		_, err = w.signIn("admin", "not the password")
		refused(t, "SignIn(wrong password)", err, codes.Unauthenticated, wrongPassword)
		_, err = w.signIn("nobody", adminPassword)
		refused(t, "SignIn(nobody)", err, codes.Unauthenticated, wrongPassword)
		_, err = w.signIn("ann", "ann has none yet")
		refused(t, "SignIn(without a password)", err, codes.Unauthenticated, wrongPassword)
		if w.head() != before {
			t.Error("a sign-in is a change")
		}
	})
}

// TestThrottle fails to sign in with an existing name and with an unknown one: both
// are refused alike, even with the right password.
func TestThrottle(t *testing.T) {
	w := onSQLite(t)
	const throttled = "too many failed sign-ins for this name; try again in 30s"
	for _, name := range []string{"admin", "nobody"} {
		for range 10 {
			_, err := w.signIn(name, "wrong")
			refused(t, name, err, codes.Unauthenticated, wrongPassword)
		}
		_, err := w.signIn(name, adminPassword)
		refused(t, name+" after ten failures", err, codes.ResourceExhausted, throttled)
		if fault.Reason(err) != "TOO_MANY_FAILURES" {
			t.Errorf("reason = %q, want TOO_MANY_FAILURES", fault.Reason(err))
		}
		if again := fault.RetryDelay(err); again != 30*time.Second {
			t.Errorf("%s may try again after %v, want 30s", name, again)
		}
	}
	w.add(30 * time.Second)
	_, err := w.signIn("admin", "wrong")
	refused(t, "half a minute later", err, codes.Unauthenticated, wrongPassword)
	_, err = w.signIn("ADMIN", adminPassword)
	refused(t, "a second try", err, codes.ResourceExhausted, throttled)
	w.add(30 * time.Second)
	_, err = w.signIn("admin", adminPassword)
	w.must(err)
	_, err = w.signIn("admin", "wrong")
	refused(t, "after a sign-in", err, codes.Unauthenticated, wrongPassword)
}

// TestThrottleHoldsAgainstManyAtOnce tries forty passwords at once: hardly more
// than the ten that are allowed are checked.
func TestThrottleHoldsAgainstManyAtOnce(t *testing.T) {
	w := onSQLite(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[codes.Code]int{}
	for i := range 40 {
		wg.Go(func() {
			_, err := w.signIn("admin", fmt.Sprint("guess ", i))
			mu.Lock()
			defer mu.Unlock()
			got[status.Code(err)]++
		})
	}
	wg.Wait()
	if n := got[codes.Unauthenticated]; n < 10 || n > 12 || n+got[codes.ResourceExhausted] != 40 {
		t.Errorf("answers = %v, want 10 to 12 UNAUTHENTICATED and RESOURCE_EXHAUSTED for the rest", got)
	}
}

func TestRefresh(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		first, err := w.signIn("admin", adminPassword)
		w.must(err)
		other, err := w.signIn("admin", adminPassword)
		w.must(err)
		w.add(time.Hour)
		second, err := w.refresh(first.GetRefreshToken())
		w.must(err)
		if second.GetRefreshToken() == first.GetRefreshToken() || !second.GetRefreshExpireTime().AsTime().Equal(w.now().Add(24*time.Hour)) {
			t.Errorf("RefreshSignIn() = %v, want another refresh token, for a day from now", second)
		}
		if _, err := w.users.GetUser(bearer(t.Context(), second.GetAccessToken()), &identityv1.GetUserRequest{Name: "users/me"}); err != nil {
			t.Errorf("GetUser() with the new token = %v", err)
		}
		again, err := w.refresh(first.GetRefreshToken())
		if err != nil || again.GetRefreshToken() != second.GetRefreshToken() {
			t.Errorf("RefreshSignIn() again = %v, %v, want the same refresh token", again, err)
		}
		w.must(w.me(second.GetAccessToken()))
		w.add(31 * time.Second)
		_, err = w.refresh(first.GetRefreshToken())
		refused(t, "RefreshSignIn(stolen)", err, codes.Unauthenticated, signInEnded)
		if fault.Reason(err) != "SIGN_IN_ENDED" {
			t.Errorf("reason = %q, want SIGN_IN_ENDED", fault.Reason(err))
		}
		_, err = w.refresh(second.GetRefreshToken())
		refused(t, "RefreshSignIn(its successor)", err, codes.Unauthenticated, signInEnded)
		refused(t, "a call with the access token", w.me(second.GetAccessToken()), codes.Unauthenticated, accessEnded)
		other, err = w.refresh(other.GetRefreshToken())
		w.must(err)
		w.must(w.me(other.GetAccessToken()))
		_, err = w.signIns.SignOut(t.Context(), &identityv1.SignOutRequest{RefreshToken: other.GetRefreshToken()})
		w.must(err)
		_, err = w.refresh(other.GetRefreshToken())
		refused(t, "RefreshSignIn(after SignOut)", err, codes.Unauthenticated, signInEnded)
		refused(t, "a call after SignOut", w.me(other.GetAccessToken()), codes.Unauthenticated, accessEnded)
		for _, secret := range []string{other.GetRefreshToken(), "nonsense"} {
			if _, err := w.signIns.SignOut(t.Context(), &identityv1.SignOutRequest{RefreshToken: secret}); err != nil {
				t.Errorf("SignOut(unknown) = %v, want it accepted", err)
			}
		}
	})
}

// TestRefreshByPages has two tabs of one browser refresh one sign-in, each behind a
// replica of the portal that calls another replica of the service: the one that is late
// gets what the other has, even after the successor was used. From anybody else, and
// later, the same token is stolen.
func TestRefreshByPages(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		_, internal, _, _ := w.replica()
		portals := []*grpc.ClientConn{w.portal.conn, w.dial(internal, identity.Portal)}
		page := func(conn *grpc.ClientConn, secret string) (*identityv1.SignInResponse, error) {
			return backplanev1.NewPageSignInServiceClient(conn).RefreshPageSignIn(t.Context(), &backplanev1.RefreshPageSignInRequest{RefreshToken: secret})
		}
		// spend signs in and refreshes twice, each time as another replica's page.
		spend := func() (first, newest string) {
			in, err := w.signIn("admin", adminPassword)
			w.must(err)
			next, err := page(portals[0], in.GetRefreshToken())
			w.must(err)
			last, err := page(portals[1], next.GetRefreshToken())
			w.must(err)
			return in.GetRefreshToken(), last.GetRefreshToken()
		}
		first, newest := spend()
		w.add(30 * time.Second)
		for i, conn := range portals {
			got, err := page(conn, first)
			if err != nil || got.GetRefreshToken() != newest || w.me(got.GetAccessToken()) != nil {
				t.Errorf("RefreshPageSignIn() by the portal %d, half a minute later = %v, %v, want the newest refresh token", i, got, err)
			}
		}
		w.add(time.Second)
		_, err := page(portals[1], first)
		refused(t, "RefreshPageSignIn() later", err, codes.Unauthenticated, signInEnded)
		_, err = page(portals[0], newest)
		refused(t, "RefreshPageSignIn() of the sign-in that it has ended", err, codes.Unauthenticated, signInEnded)

		// What users send through the portal, to REST or gRPC, has no more time than before.
		for what, refresh := range map[string]func(context.Context, *identityv1.RefreshSignInRequest, ...grpc.CallOption) (*identityv1.SignInResponse, error){
			"a user": w.signIns.RefreshSignIn, "a user, through the portal": w.portal.signIns.RefreshSignIn,
		} {
			first, newest := spend()
			_, err := refresh(t.Context(), &identityv1.RefreshSignInRequest{RefreshToken: first})
			refused(t, "RefreshSignIn() by "+what, err, codes.Unauthenticated, signInEnded)
			_, err = page(portals[1], newest)
			refused(t, "RefreshPageSignIn() after "+what, err, codes.Unauthenticated, signInEnded)
		}
		first, newest = spend()
		_, err = page(w.gateway.conn, first)
		refused(t, "RefreshPageSignIn() by a gateway", err, codes.PermissionDenied, "only services call this method")
		if _, err = page(w.conn, first); status.Code(err) != codes.Unimplemented {
			t.Errorf("RefreshPageSignIn() on the users' face = %v, want UNIMPLEMENTED", err)
		}
		if got, err := page(portals[0], newest); err != nil {
			t.Errorf("RefreshPageSignIn() = %v, %v, want that what others tried in vain ends nothing", got, err)
		}
	})
}

func TestRefreshEnds(t *testing.T) {
	w := onSQLite(t)
	in, err := w.signIn("admin", adminPassword)
	w.must(err)
	w.add(24 * time.Hour)
	_, err = w.refresh(in.GetRefreshToken())
	refused(t, "RefreshSignIn(a day later)", err, codes.Unauthenticated, signInEnded)
}

const accessEnded = "the access that this token gave has ended: refresh it, or sign in again"

// TestRolesAtRefresh changes a user's roles: the access token gives no access from
// then on, the next one has the new roles.
func TestRolesAtRefresh(t *testing.T) {
	w := onSQLite(t)
	_, err := w.users.ChangePassword(w.root, &identityv1.ChangePasswordRequest{Name: w.annName, NewPassword: "a password of hers"})
	w.must(err)
	in, err := w.signIn("ann", "a password of hers")
	w.must(err)
	create := func(raw, name string) error {
		_, err := w.apps.CreateApplication(bearer(t.Context(), raw), &subscriptionv1.CreateApplicationRequest{
			Application: &subscriptionv1.Application{DisplayName: name},
		})
		return err
	}
	_, err = w.users.UpdateUser(w.root, &identityv1.UpdateUserRequest{
		User: &identityv1.User{Name: w.annName, Roles: []identityv1.User_Role{identityv1.User_ROLE_CREATOR}},
	})
	w.must(err)
	err = create(in.GetAccessToken(), "one")
	refused(t, "CreateApplication() with the token from before", err, codes.Unauthenticated, accessEnded)
	if fault.Reason(err) != fault.ReasonAccessEnded {
		t.Errorf("reason = %q, want %s", fault.Reason(err), fault.ReasonAccessEnded)
	}
	next, err := w.refresh(in.GetRefreshToken())
	w.must(err)
	refused(t, "CreateApplication() with the new token", create(next.GetAccessToken(), "two"),
		codes.PermissionDenied, "this needs the role subscriber")
	w.add(15*time.Minute + 6*time.Second) // 5 s because clocks may differ
	refused(t, "CreateApplication() 15 minutes later", create(next.GetAccessToken(), "three"), codes.Unauthenticated, "the token has expired")
	// A removed user cannot refresh, and can create nothing with a token that is
	// left.
	next, err = w.refresh(next.GetRefreshToken())
	w.must(err)
	w.root = w.as(w.rootName, "admin")
	_, err = w.users.DeleteUser(w.root, &identityv1.DeleteUserRequest{Name: w.annName})
	w.must(err)
	_, err = w.refresh(next.GetRefreshToken())
	refused(t, "RefreshSignIn(removed)", err, codes.Unauthenticated, signInEnded)
	refused(t, "CreateApplication(removed)", create(next.GetAccessToken(), "four"), codes.Unauthenticated, accessEnded)
}

func TestChangePassword(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		first := "a password of hers"
		change := func(ctx context.Context, name, current, password string) error {
			_, err := w.users.ChangePassword(ctx, &identityv1.ChangePasswordRequest{Name: name, CurrentPassword: current, NewPassword: password})
			return err
		}
		w.must(change(w.root, w.annName, "", first))
		here, err := w.signIn("ann", first)
		w.must(err)
		there, err := w.signIn("ann", first)
		w.must(err)
		ann := bearer(t.Context(), here.GetAccessToken())
		refused(t, "with a wrong current password", change(ann, "users/me", "wrong", "another password"),
			codes.InvalidArgument, "current_password: is wrong")
		refused(t, "without one", change(ann, w.annName, "", "another password"), codes.InvalidArgument, "current_password: is wrong")
		refused(t, "another's", change(ann, w.bobName, first, "another password"), codes.NotFound, w.bobName+" not found")
		refused(t, "nobody's", change(w.root, "users/none", "", "another password"), codes.NotFound, "users/none not found")
		refused(t, "an administrator's own", change(w.root, w.rootName, "", "another password"),
			codes.InvalidArgument, "current_password: is wrong")
		w.must(change(ann, "users/me", first, "another password"))
		_, err = w.signIn("ann", first)
		refused(t, "SignIn(old)", err, codes.Unauthenticated, wrongPassword)
		_, err = w.signIn("ann", "another password")
		w.must(err)
		_, err = w.refresh(there.GetRefreshToken())
		refused(t, "another sign-in", err, codes.Unauthenticated, signInEnded)
		here, err = w.refresh(here.GetRefreshToken())
		w.must(err)
		w.must(change(w.root, w.annName, "", "what an admin says"))
		_, err = w.refresh(here.GetRefreshToken())
		refused(t, "after an administrator's change", err, codes.Unauthenticated, signInEnded)
	})
}

func TestUsers(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		var header metadata.MD
		made, err := w.users.CreateUser(w.root, &identityv1.CreateUserRequest{
			User: &identityv1.User{
				Name: "users/ignored", Username: "Carol", DisplayName: "Carol C.", Etag: "ignored",
				Roles: []identityv1.User_Role{identityv1.User_ROLE_CREATOR, identityv1.User_ROLE_PUBLISHER},
			},
			Password: "a password of hers",
		}, grpc.Header(&header))
		w.must(err)
		if n := number(t, header); n != w.head() {
			t.Errorf("%d in the header, want %d", n, w.head())
		}
		got, err := w.users.GetUser(w.root, &identityv1.GetUserRequest{Name: made.GetName()})
		if diff := cmp.Diff(made, got, protocmp.Transform()); err != nil || diff != "" || made.GetName() == "users/ignored" || made.GetEtag() != "1" {
			t.Errorf("GetUser() = %v (-made +got):\n%s", err, diff)
		}
		_, err = w.signIn("carol", "a password of hers")
		w.must(err)
		updated, err := w.users.UpdateUser(w.root, &identityv1.UpdateUserRequest{
			User:       &identityv1.User{Name: made.GetName(), Username: "carola", Etag: "1", CreateTime: made.GetCreateTime()},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"username", "display_name", "create_time", "etag"}},
		})
		if err != nil || updated.GetUsername() != "carola" || updated.GetDisplayName() != "" || len(updated.GetRoles()) != 2 || updated.GetEtag() != "2" {
			t.Errorf("UpdateUser() = %v, %v", updated, err)
		}
		list, err := w.users.ListUsers(w.root, &identityv1.ListUsersRequest{Filter: `username = "CAROLA"`, PageSize: hugePage})
		if err != nil || len(list.GetUsers()) != 1 || list.GetUsers()[0].GetName() != made.GetName() {
			t.Errorf("ListUsers(carola) = %v, %v", list, err)
		}
		var names []string
		req := &identityv1.ListUsersRequest{PageSize: 2}
		for {
			page, err := w.users.ListUsers(w.root, req)
			w.must(err)
			for _, p := range page.GetUsers() {
				names = append(names, p.GetUsername())
			}
			if req.PageToken = page.GetNextPageToken(); req.GetPageToken() == "" {
				break
			}
		}
		if diff := cmp.Diff([]string{"admin", "ann", "bob", "guest", "carola"}, names); diff != "" {
			t.Errorf("pages (-want +got):\n%s", diff)
		}
		_, err = w.users.DeleteUser(w.root, &identityv1.DeleteUserRequest{Name: made.GetName(), Etag: "2"})
		w.must(err)
		_, err = w.users.GetUser(w.root, &identityv1.GetUserRequest{Name: made.GetName()})
		refused(t, "GetUser(removed)", err, codes.NotFound, made.GetName()+" not found")
	})
}

// Whoever waits to hash a password holds no lock: others can make changes
// meanwhile.
func TestPasswordsAreHashedBeforeTheChange(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		slots := []*token.HashSlot{}
		for range 2 {
			slot, err := w.passwords.Acquire(t.Context(), token.Place{})
			w.must(err)
			slots = append(slots, slot)
		}
		begun, done := make(chan struct{}, 2), make(chan error, 2)
		for _, call := range []func() error{
			func() error {
				_, err := w.users.CreateUser(w.root, &identityv1.CreateUserRequest{
					User: &identityv1.User{Username: "carol", Roles: []identityv1.User_Role{identityv1.User_ROLE_CREATOR}}, Password: "a password of hers",
				})
				return err
			},
			func() error {
				_, err := w.users.ChangePassword(w.root, &identityv1.ChangePasswordRequest{
					Name: w.annName, NewPassword: "a new password of hers",
				})
				return err
			},
		} {
			go func() {
				begun <- struct{}{}
				done <- call()
			}()
			<-begun
		}
		for _, name := range []string{"one", "two", "three"} {
			_, err := w.apps.CreateApplication(w.ann, &subscriptionv1.CreateApplicationRequest{
				Application: &subscriptionv1.Application{DisplayName: name},
			})
			w.must(err)
		}
		select {
		case err := <-done:
			t.Fatalf("a call ended without a slot to hash its password: %v", err)
		default:
		}
		for _, slot := range slots {
			slot.Release()
		}
		w.must(<-done)
		w.must(<-done)
	})
}
