package users

import (
	"context"
	"strings"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// FindUser tells a service the name of the user with a name or username.
func (a *API) FindUser(ctx context.Context, req *backplanev1.FindUserRequest) (*backplanev1.FindUserResponse, error) {
	u, err := a.find(ctx, req.GetUser())
	if err != nil {
		return nil, err
	}
	return &backplanev1.FindUserResponse{
		Name: resourcename.User{User: u.ID}.String(), Suspended: u.State == store.UserSuspended, Pending: u.State == store.UserPending,
	}, nil
}

// find returns the user with a name or username, or a NotFound fault.
func (a *API) find(ctx context.Context, text string) (store.User, error) {
	if !strings.Contains(text, "/") { // as no username does
		for u, err := range a.store.Users(ctx, store.UserFilter{Username: &text}, false, sqldb.TimeKey{}) {
			return u, err
		}
		return store.User{}, fault.NotFound("user %q", text)
	}
	name, err := resourcename.ParseUser("user", text)
	if err != nil {
		return store.User{}, fault.NotFound("user %q", text)
	}
	return a.store.User(ctx, identity.Viewer{All: true}, name.User)
}
