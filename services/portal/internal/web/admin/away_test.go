package admin_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	changev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/change/v1"
	gatewayv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/gateway/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/admin"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// gone are services that do not answer, with a gateway that is known and does not either.
type gone struct {
	gatewayv1.SessionServiceClient
	changev1.ChangeServiceClient
	identityv1.UserServiceClient
}

var errAway = status.Error(codes.Unavailable, "nobody answers")

func (gone) ListGateways(context.Context, *gatewayv1.ListGatewaysRequest, ...grpc.CallOption) (*gatewayv1.ListGatewaysResponse, error) {
	return &gatewayv1.ListGatewaysResponse{Unreachable: []string{"gateways/sunk"}}, nil
}

func (gone) ListSessions(context.Context, *gatewayv1.ListSessionsRequest, ...grpc.CallOption) (*gatewayv1.ListSessionsResponse, error) {
	return &gatewayv1.ListSessionsResponse{Unreachable: []string{"gateways/sunk"}}, nil
}

func (gone) CountSessions(context.Context, *gatewayv1.CountSessionsRequest, ...grpc.CallOption) (*gatewayv1.CountSessionsResponse, error) {
	return &gatewayv1.CountSessionsResponse{Unreachable: []string{"gateways/sunk"}}, nil
}

func (gone) ListChanges(context.Context, *changev1.ListChangesRequest, ...grpc.CallOption) (*changev1.ListChangesResponse, error) {
	return nil, errAway
}

func (gone) ListUsers(context.Context, *identityv1.ListUsersRequest, ...grpc.CallOption) (*identityv1.ListUsersResponse, error) {
	return nil, errAway
}

func (gone) GetUser(context.Context, *identityv1.GetUserRequest, ...grpc.CallOption) (*identityv1.User, error) {
	return &identityv1.User{Name: "users/ann", Username: "ann"}, nil
}

// signedIn is an administrator who has signed in.
type signedIn struct{ ui.SignIn }

func (signedIn) Viewer(http.ResponseWriter, *http.Request) (*ui.Viewer, error) {
	return &ui.Viewer{Name: "users/ada", Username: "ada", Roles: []ui.Role{ui.Admin}}, nil
}

// TestAway: pages name the gateways and services that do not answer, and say where numbers
// are not known.
func TestAway(t *testing.T) {
	t.Parallel()
	g := gone{}
	site, err := ui.NewSite(admin.Routes(&ui.Services{Sessions: g, Changes: g, Users: g}), signedIn{}, seal.New(), http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for path, texts := range map[string][]string{
		"/admin":                   {"<b>sunk</b>", "Does not answer", "Service catalog", "Service subscription"},
		"/admin/sessions":          {"The gateway sunk does not answer: its sessions are not listed."},
		"/admin/users/ann/suspend": {"How many live sessions end with it is not known now."},
		"/admin/changes":           {"Nobody answers.", "Try again in a moment."},
	} {
		w := httptest.NewRecorder()
		site.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		for _, text := range texts {
			if !strings.Contains(w.Body.String(), text) {
				t.Errorf("%s = %d does not say %q:\n%s", path, w.Code, text, w.Body)
			}
		}
	}
}
