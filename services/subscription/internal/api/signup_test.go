package api_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
)

const signUpPassword = "a long secret of my own"

// signUp signs up by way of the portal, from an address.
func (w *world) signUp(conn *grpc.ClientConn, address, username string) (*identityv1.User, error) {
	ctx := metadata.AppendToOutgoingContext(w.t.Context(), clientaddr.Metadata, address)
	return identityv1.NewUserServiceClient(conn).SignUp(ctx, &identityv1.SignUpRequest{
		Username: username, DisplayName: "Sails", Password: signUpPassword,
	})
}

// signingUp starts a replica that has a policy, and returns the portal's connection to it.
func (w *world) signingUp(policy identityv1.SignUpPolicy_Policy) *grpc.ClientConn {
	w.t.Helper()
	w.signUps = policy
	_, internal, _, _ := w.replica()
	conn := w.dial(internal, identity.Portal)
	got, err := identityv1.NewUserServiceClient(conn).GetSignUpPolicy(w.t.Context(), &identityv1.GetSignUpPolicyRequest{})
	if err != nil || got.GetPolicy() != policy {
		w.t.Errorf("GetSignUpPolicy() = %v, %v, want %v", got, err, policy)
	}
	return conn
}

// TestSignUp has somebody sign up: nobody may where it is off, who is let in at once signs
// in, and who needs approval is told so, by the right password only, until an administrator
// approves.
func TestSignUp(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		before := w.dump()
		_, err := w.signUp(w.portal.conn, "192.0.2.1", "robin")
		refused(t, "SignUp() where it is off", err, codes.FailedPrecondition, "nobody may sign up here: ask an administrator to add you")
		if fault.Reason(err) != "SIGN_UP_OFF" || w.dump() != before {
			t.Errorf("reason = %q, want SIGN_UP_OFF and nothing written", fault.Reason(err))
		}
		got, err := w.signUp(w.signingUp(identityv1.SignUpPolicy_POLICY_OPEN), "192.0.2.1", "wren")
		w.must(err)
		if got.GetState() != identityv1.User_STATE_ACTIVE || !slices.Equal(got.GetRoles(), []identityv1.User_Role{identityv1.User_ROLE_SUBSCRIBER}) {
			t.Errorf("SignUp() = %v, want an active subscriber", got)
		}
		_, err = w.signIn("wren", signUpPassword)
		w.must(err)

		portal := w.signingUp(identityv1.SignUpPolicy_POLICY_APPROVAL)
		robin, err := w.signUp(portal, "192.0.2.1", "robin")
		if err != nil || robin.GetState() != identityv1.User_STATE_PENDING || robin.GetDisplayName() != "Sails" {
			t.Fatalf("SignUp() = %v, %v, want a pending user", robin, err)
		}
		_, err = w.signUp(portal, "192.0.2.1", "ROBIN")
		refused(t, "SignUp() again", err, codes.AlreadyExists, `the username "ROBIN" is taken`)
		_, err = w.signIn("robin", "not this one at all")
		refused(t, "SignIn() with a wrong password", err, codes.Unauthenticated, wrongPassword)
		_, err = w.signIn("robin", signUpPassword)
		refused(t, "SignIn() before the approval", err, codes.PermissionDenied, "the sign-up awaits the approval of an administrator: try again once it is approved")
		if fault.Reason(err) != "USER_PENDING" {
			t.Errorf("reason = %q, want USER_PENDING", fault.Reason(err))
		}

		// Robin's role is no approval.
		_, err = w.users.ApproveUser(w.ann, &identityv1.ApproveUserRequest{Name: robin.GetName()})
		refused(t, "ApproveUser() by another", err, codes.NotFound, robin.GetName()+" not found")
		_, err = w.users.ApproveUser(w.as(robin.GetName(), "subscriber"), &identityv1.ApproveUserRequest{Name: robin.GetName()})
		refused(t, "ApproveUser() of oneself", err, codes.PermissionDenied, "this needs the role admin")
		_, err = w.users.ApproveUser(w.root, &identityv1.ApproveUserRequest{Name: robin.GetName(), Etag: "7"})
		if fault.Reason(err) != fault.ReasonEtagMismatch {
			t.Errorf("ApproveUser(stale) = %v, want %s", err, fault.ReasonEtagMismatch)
		}
		for _, etag := range []string{"1", "2"} { // the second is no change
			got, err := w.users.ApproveUser(w.root, &identityv1.ApproveUserRequest{Name: robin.GetName(), Etag: etag})
			if err != nil || got.GetState() != identityv1.User_STATE_ACTIVE || got.GetEtag() != "2" {
				t.Errorf("ApproveUser(etag %s) = %v, %v, want an active user with the etag 2", etag, got, err)
			}
		}
		_, err = w.signIn("robin", signUpPassword)
		w.must(err)

		list, err := w.changes.ListChanges(w.root, &changev1.ListChangesRequest{Parent: "services/subscription", Filter: fmt.Sprintf("resource = %q", robin.GetName())})
		w.must(err)
		var changes []string
		for _, c := range list.GetChanges() {
			changes = append(changes, c.GetAction()+" "+c.GetActorDisplayName())
			if strings.Contains(c.String(), signUpPassword) {
				t.Errorf("the password is in the audit log: %v", c)
			}
		}
		if diff := cmp.Diff([]string{"ApproveUser ", "SignUp robin"}, changes); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
		want := []string{
			"event=SIGNED_UP who=users/wren from=192.0.2.1 method=SignUp what=wren why=\"with the roles subscriber, and may sign in\"",
			"event=SIGNED_UP who=users/robin from=192.0.2.1 method=SignUp what=robin why=\"with the roles subscriber, and awaits approval\"",
			"event=SIGN_UP_REFUSED from=192.0.2.1 method=SignUp what=ROBIN why=\"sign up: the username \\\"ROBIN\\\" is taken\"",
			"event=USER_CHANGED who=users/root method=ApproveUser what=users/robin why=approved",
		}
		names := strings.NewReplacer(got.GetName(), "users/wren", robin.GetName(), "users/robin", w.rootName, "users/root")
		var events []string
		for _, e := range w.events() {
			if regexp.MustCompile(`SIGNED_UP|SIGN_UP_|USER_CHANGED`).MatchString(e) {
				events = append(events, names.Replace(e))
			}
		}
		if diff := cmp.Diff(want, events); diff != "" {
			t.Errorf("security events (-want +got):\n%s", diff)
		}
	})
}

// TestSignUpIsRefusedBeforeItCounts sends what can be no user: it is refused field by field,
// and nothing is counted for the address.
func TestSignUpIsRefusedBeforeItCounts(t *testing.T) {
	w := onSQLite(t)
	portal := w.signingUp(identityv1.SignUpPolicy_POLICY_OPEN)
	users := identityv1.NewUserServiceClient(portal)
	for range 3 {
		for text, req := range map[string]*identityv1.SignUpRequest{
			"username: must be 1 to 64 characters of A-Z a-z 0-9 _ . @ + - and start with a letter or a digit": {Username: "-robin", Password: signUpPassword},
			"display_name: must have at most 100 characters, no control characters and no space at either end": {Username: "robin", DisplayName: " R", Password: signUpPassword},
			"password: must have at least 12 characters":                                                       {Username: "robin", Password: "short"},
			"password: must not have the user's name in it":                                                    {Username: "robin", Password: "robin robin robin"},
		} {
			_, err := users.SignUp(t.Context(), req)
			if !fault.Is(err, codes.InvalidArgument) || !strings.HasPrefix(err.Error(), "rpc error: code = InvalidArgument desc = "+text[:strings.Index(text, ":")]) {
				t.Errorf("SignUp(%v) = %v, want INVALID_ARGUMENT with %q", req.GetUsername(), err, text)
			}
		}
	}
	_, err := users.SignUp(t.Context(), &identityv1.SignUpRequest{Username: "robin", Password: signUpPassword})
	w.must(err)
}

// TestSignUpsOfAnAddressAreBounded signs up until an address may no more: its whole /64
// waits, on every replica, and others do not. Names that are taken count too.
func TestSignUpsOfAnAddressAreBounded(t *testing.T) {
	w := onSQLite(t)
	portals := []*grpc.ClientConn{w.signingUp(identityv1.SignUpPolicy_POLICY_OPEN), w.signingUp(identityv1.SignUpPolicy_POLICY_OPEN)}
	for i := range 10 {
		_, err := w.signUp(portals[i%2], fmt.Sprintf("2001:db8::%d", i), fmt.Sprintf("robin%d", i/2))
		if taken := i%2 == 1; taken != fault.Is(err, codes.AlreadyExists) || !taken && err != nil {
			t.Fatalf("sign-up %d: %v", i, err)
		}
	}
	_, err := w.signUp(portals[0], "2001:db8::ffff", "wren")
	refused(t, "the 11th", err, codes.ResourceExhausted, "too many sign-ups from this address; try again in 6m0s")
	if fault.Reason(err) != "TOO_MANY_SIGN_UPS" || fault.RetryDelay(err) != 6*time.Minute {
		t.Errorf("reason = %q, again in %v, want TOO_MANY_SIGN_UPS, 6 minutes", fault.Reason(err), fault.RetryDelay(err))
	}
	_, err = w.signUp(portals[1], "2001:db8:0:1::1", "heron")
	w.must(err)
	w.add(6 * time.Minute)
	_, err = w.signUp(portals[1], "2001:db8::1", "wren")
	w.must(err)
	_, err = w.signUp(portals[1], "2001:db8::2", "tern")
	refused(t, "the 12th", err, codes.ResourceExhausted, "too many sign-ups from this address; try again in 6m0s")
}

// TestListUsersInOrder lists users by parts of their names, state and role, in each order,
// one a page.
func TestListUsersInOrder(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.add(time.Second)
		for _, u := range []*identityv1.User{
			{Username: "Zoe", DisplayName: "100% Sailor", Roles: []identityv1.User_Role{identityv1.User_ROLE_CREATOR, identityv1.User_ROLE_ADMIN}},
			{Username: "carl", DisplayName: "Zoë's brother", Roles: []identityv1.User_Role{identityv1.User_ROLE_PUBLISHER}},
			{Username: "a_b", DisplayName: "", Roles: []identityv1.User_Role{identityv1.User_ROLE_PUBLISHER}},
		} {
			w.add(time.Second)
			_, err := w.users.CreateUser(w.root, &identityv1.CreateUserRequest{User: u})
			w.must(err)
		}
		_, err := w.users.SuspendUser(w.root, &identityv1.SuspendUserRequest{Name: w.bobName})
		w.must(err)
		list := func(req *identityv1.ListUsersRequest) (all []string) {
			t.Helper()
			req.PageSize = 1
			for {
				resp, err := w.users.ListUsers(w.root, req)
				w.must(err)
				for _, u := range resp.GetUsers() {
					all = append(all, u.GetUsername())
				}
				if req.PageToken = resp.GetNextPageToken(); req.PageToken == "" {
					return all
				}
			}
		}
		for _, c := range []struct {
			req  *identityv1.ListUsersRequest
			want string
		}{
			{&identityv1.ListUsersRequest{OrderBy: "username"}, "a_b admin ann bob carl guest Zoe"},
			{&identityv1.ListUsersRequest{OrderBy: "username desc"}, "Zoe guest carl bob ann admin a_b"},
			{&identityv1.ListUsersRequest{OrderBy: "create_time", Filter: `role = "PUBLISHER"`}, "carl a_b"},
			{&identityv1.ListUsersRequest{OrderBy: "create_time desc", Filter: `role = "PUBLISHER"`}, "a_b carl"},
			{&identityv1.ListUsersRequest{Filter: `role = "ADMIN"`}, "admin Zoe"},
			{&identityv1.ListUsersRequest{Filter: `state = "SUSPENDED"`}, "bob"},
			{&identityv1.ListUsersRequest{Filter: `state = "PENDING"`}, ""},
			{&identityv1.ListUsersRequest{Filter: `state = "ACTIVE" AND role = "CREATOR" AND username = "ZOE"`}, "Zoe"},
			{&identityv1.ListUsersRequest{Query: "zoe"}, "Zoe"},
			{&identityv1.ListUsersRequest{Query: "ZOË"}, "carl"},
			{&identityv1.ListUsersRequest{Query: "SAIL", OrderBy: "username desc"}, "Zoe"},
			{&identityv1.ListUsersRequest{Query: "0%"}, "Zoe"},
			{&identityv1.ListUsersRequest{Query: "_"}, "a_b"},
			{&identityv1.ListUsersRequest{Query: `\`}, ""},
			{&identityv1.ListUsersRequest{Query: "%"}, "Zoe"},
		} {
			if got := strings.Join(list(c.req), " "); got != c.want {
				t.Errorf("ListUsers(%v) = %q, want %q", c.req, got, c.want)
			}
		}
		for text, req := range map[string]*identityv1.ListUsersRequest{
			`filter: no state "AWAY": there are ACTIVE, SUSPENDED, PENDING`:          {Filter: `state = "AWAY"`},
			`filter: no state "UNSPECIFIED": there are ACTIVE, SUSPENDED, PENDING`:   {Filter: `state = "UNSPECIFIED"`},
			`filter: no role "god": there are ADMIN, CREATOR, PUBLISHER, SUBSCRIBER`: {Filter: `role = "god"`},
			`filter: no field "display_name": there are username, state, role`:       {Filter: `display_name = "x"`},
			"page_token: belongs to another list or filter":                          {OrderBy: "username desc", PageToken: w.tokenOf(&identityv1.ListUsersRequest{OrderBy: "username", PageSize: 1})},
		} {
			_, err := w.users.ListUsers(w.root, req)
			refused(t, fmt.Sprintf("ListUsers(%v)", req), err, codes.InvalidArgument, text)
		}
		if _, err := w.users.ListUsers(w.root, &identityv1.ListUsersRequest{OrderBy: "password"}); !fault.Is(err, codes.InvalidArgument) {
			t.Errorf("ListUsers(by password) = %v, want INVALID_ARGUMENT", err)
		}
	})
}

// tokenOf returns the token of a list's second page.
func (w *world) tokenOf(req *identityv1.ListUsersRequest) string {
	w.t.Helper()
	resp, err := w.users.ListUsers(w.root, req)
	w.must(err)
	return resp.GetNextPageToken()
}

// TestCreateUserOnce creates a user twice with one request_id: there is one user, one change
// and one event.
func TestCreateUserOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		req := &identityv1.CreateUserRequest{
			User:      &identityv1.User{Username: "robin", Roles: []identityv1.User_Role{identityv1.User_ROLE_CREATOR}},
			Password:  "a long secret of hers",
			RequestId: "0f5c7b8e-6f0a-4c3e-9d6b-2f0a4c3e9d6b",
		}
		first, err := w.users.CreateUser(w.root, req)
		w.must(err)
		after, events := w.head(), len(w.events())
		again, err := w.users.CreateUser(w.root, req)
		if err != nil || again.GetName() != first.GetName() || w.head() != after || len(w.events()) != events {
			t.Errorf("CreateUser() again = %v, %v, want %s without a change or an event", again, err, first.GetName())
		}
		req.Password = "another secret of hers"
		_, err = w.users.CreateUser(w.root, req)
		refused(t, "CreateUser() with other contents", err, codes.InvalidArgument, "request_id: was sent with another request within the last hour: must be a new UUID")
	})
}
