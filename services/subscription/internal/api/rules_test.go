package api_test

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	catalogv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/catalog/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api"
)

// TestEveryMethodRefusesWhoMayNotCall calls every method with an empty request,
// without credentials and as each kind of caller who may not call it.
func TestEveryMethodRefusesWhoMayNotCall(t *testing.T) {
	w := onSQLite(t)
	users, internal, _, _ := w.replica()
	public, gateway, portal := w.dial(users, ""), w.dial(internal, identity.Gateway), w.dial(internal, identity.Portal)
	open := []string{"/SignInService/", "/OAuth2Service/", "/UserService/SignUp", "/UserService/GetSignUpPolicy"}
	admin := []string{"/UserService/CreateUser", "/UserService/ListUsers", "/SecurityEventService/", "/ChangeService/ListChanges", "/ChangeService/GetChange", "/ChangeService/ListWatchers"}
	is := func(method string, list []string) bool {
		for _, part := range list {
			if strings.Contains(method, strings.TrimPrefix(part, "/")) {
				return true
			}
		}
		return false
	}
	call := func(ctx context.Context, conn *grpc.ClientConn, method string) codes.Code {
		return status.Code(conn.Invoke(ctx, method, &emptypb.Empty{}, &emptypb.Empty{}))
	}
	before := w.dump()
	for method := range api.Rules() {
		services := is(method, []string{"GrantService/", "v1.DirectoryService/", "MeteringService/", "AccessService/", "UserDirectoryService/", "PlanDirectoryService/", "QuotaLedgerService/", "PageSignInService/"})
		if services && strings.Contains(method, "/Watch") {
			continue // a stream; TestServicesOnly covers it
		}
		type want struct {
			name string
			ctx  context.Context
			conn *grpc.ClientConn
			code codes.Code
		}
		var wants []want
		switch {
		case is(method, []string{"PageSignInService/"}): // the portal's own
			wants = []want{
				{"an administrator on the users' face", w.root, public, codes.Unimplemented},
				{"the gateway", t.Context(), gateway, codes.PermissionDenied},
				{"the portal with nothing", t.Context(), portal, codes.InvalidArgument},
			}
		case services:
			wants = []want{
				{"nobody on the users' face", t.Context(), public, codes.Unimplemented},
				{"an administrator on the users' face", w.root, public, codes.Unimplemented},
				{"the portal", t.Context(), portal, codes.PermissionDenied},
				{"an administrator through the portal", w.root, portal, codes.PermissionDenied},
			}
			if !is(method, []string{"UserDirectoryService/", "PlanDirectoryService/", "QuotaLedgerService/", "v1.DirectoryService/"}) { // the catalog's, or without anything to ask for
				wants = append(wants, want{"the gateway with nothing", t.Context(), gateway, codes.InvalidArgument})
			}
		case is(method, open):
		case is(method, admin):
			wants = []want{
				{"nobody", t.Context(), public, codes.Unauthenticated},
				{"the gateway without a user", t.Context(), gateway, codes.Unauthenticated},
				{"a subscriber", w.ann, public, codes.PermissionDenied},
				{"a subscriber through the portal", w.ann, portal, codes.PermissionDenied},
			}
		default:
			wants = []want{
				{"nobody", t.Context(), public, codes.Unauthenticated},
				{"the portal without a user", t.Context(), portal, codes.Unauthenticated},
				{"an application's token", bearer(t.Context(), "nonsense"), public, codes.Unauthenticated},
			}
		}
		for _, tt := range wants {
			if got := call(tt.ctx, tt.conn, method); got != tt.code {
				t.Errorf("%s by %s = %v, want %v", method, tt.name, got, tt.code)
			}
		}
	}
	if after := w.dump(); after != before {
		t.Errorf("something was written:\n%s\nwas\n%s", after, before)
	}
}

// TestServicesOnly opens the watches as callers who may not.
func TestServicesOnly(t *testing.T) {
	w := onSQLite(t)
	for _, tt := range []struct {
		name string
		ctx  context.Context
		c    clients
		code codes.Code
		text string
	}{
		{"an administrator", w.root, w.clients, codes.Unimplemented, "there is no method \"/tidegate.backplane.v1."},
		{"the portal", w.root, w.portal, codes.PermissionDenied, "only services call this method"},
	} {
		text := func(method string) string {
			if tt.code == codes.Unimplemented {
				return tt.text + method + `" here`
			}
			return tt.text
		}
		grants, err := tt.c.tokens.WatchGrants(tt.ctx)
		w.must(err)
		_, err = grants.Recv()
		refused(t, tt.name, err, tt.code, text("GrantService/WatchGrants"))
		users, err := backplanev1.NewAccessServiceClient(tt.c.conn).WatchUsers(tt.ctx)
		w.must(err)
		_, err = users.Recv()
		refused(t, tt.name, err, tt.code, text("AccessService/WatchUsers"))
	}
}

// TestApplicationTokensAreNotUserss uses an application's token and a token of
// another issuer at the control plane.
func TestApplicationTokensAreNotUserss(t *testing.T) {
	w := onSQLite(t)
	c := w.oauthClient(w.ann, w.application(w.ann, "Chat").GetName(), catalogv1.Stage_STAGE_PRODUCTION)
	raw := w.token(c)
	for _, tt := range []struct{ name, token, text string }{
		{"an application's", raw, "an application's token is not accepted here: sign in as a user"},
		{"nonsense", "nonsense", "the token is not a user's access token"},
	} {
		_, err := w.users.GetUser(bearer(t.Context(), tt.token), &identityv1.GetUserRequest{Name: "users/me"})
		refused(t, tt.name, err, codes.Unauthenticated, tt.text)
	}
	if got := w.verify(w.userToken(w.annName, "admin"), v1).GetDenial().GetReason(); got != backplanev1.Denial_REASON_INVALID {
		t.Errorf("a user's token at the gateway: %v, want INVALID", got)
	}
}
