package identity

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resource"
	"github.com/tidegatehq/tidegate/services/kit/validate"
	"github.com/tidegatehq/tidegate/services/subscription/internal/api/request"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// CreateUser adds a user.
func (a *API) CreateUser(ctx context.Context, req *identityv1.CreateUserRequest) (*identityv1.User, error) {
	hash := ""
	if req.GetPassword() != "" {
		turn, err := a.passwords.Turn(ctx)
		if err != nil {
			return nil, err
		}
		hash = turn.Hash(req.GetPassword())
		turn.End()
	}
	p, err := a.store.CreateUser(ctx, userRow(req.GetUser()), hash)
	if err != nil {
		return nil, err
	}
	return userProto(p), nil
}

// GetUser returns a user.
func (a *API) GetUser(ctx context.Context, req *identityv1.GetUserRequest) (*identityv1.User, error) {
	id, err := userID(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := maySee(ctx, id); err != nil {
		return nil, err
	}
	p, err := a.store.User(ctx, id)
	if err != nil {
		return nil, err
	}
	return userProto(p), nil
}

// ListUsers returns a page of users.
func (a *API) ListUsers(ctx context.Context, req *identityv1.ListUsersRequest) (*identityv1.ListUsersResponse, error) {
	terms, err := request.Filter(req.GetFilter(), request.Field{Name: "username"})
	if err != nil {
		return nil, err
	}
	p, err := request.NewPage(req.GetPageSize(), req.GetPageToken(), 2, "users", req.GetFilter())
	if err != nil {
		return nil, err
	}
	after, err := p.After()
	if err != nil {
		return nil, err
	}
	rows, err := a.store.Users(ctx, terms, after, p.Limit())
	if err != nil {
		return nil, err
	}
	resp := &identityv1.ListUsersResponse{}
	resp.Users, resp.NextPageToken = request.Cut(p, rows, userProto, func(p store.User) []string {
		return request.TimeKeys(p.CreatedAt.UnixMicro(), p.ID)
	})
	return resp, nil
}

// UpdateUser changes a user.
func (a *API) UpdateUser(ctx context.Context, req *identityv1.UpdateUserRequest) (*identityv1.User, error) {
	id, err := userID(ctx, "user.name", req.GetUser().GetName())
	if err != nil {
		return nil, err
	}
	if err := mayAdminister(ctx, id); err != nil {
		return nil, err
	}
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetUser(), "username", "display_name", "roles")
	if err != nil {
		return nil, err
	}
	p, err := a.store.UpdateUser(ctx, id, req.GetUser().GetEtag(), func(p *store.User) error {
		next := userProto(*p)
		if err := u.Apply(next); err != nil {
			return err
		}
		if err := validate.Message(&identityv1.CreateUserRequest{User: next}); err != nil {
			return err
		}
		row := userRow(next)
		p.Username, p.DisplayName, p.Roles = row.Username, row.DisplayName, row.Roles
		return nil
	})
	if err != nil {
		return nil, err
	}
	return userProto(p), nil
}

// DeleteUser removes a user.
func (a *API) DeleteUser(ctx context.Context, req *identityv1.DeleteUserRequest) (*emptypb.Empty, error) {
	id, err := userID(ctx, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	if err := mayAdminister(ctx, id); err != nil {
		return nil, err
	}
	if err := a.store.DeleteUser(ctx, id, req.GetEtag()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// userID returns the id in users/{user}, that of the caller for users/me.
func userID(ctx context.Context, field, name string) (string, error) {
	n, err := resource.ParseUser(field, name)
	if err == nil && n.User == resource.Me {
		n.User = request.Viewer(ctx).User
	}
	return n.User, err
}

// maySee returns why the caller may not see a user, or nil.
func maySee(ctx context.Context, id string) error {
	if !identity.From(ctx).Viewer().Sees(id) {
		return fault.NotFound("%s", store.UserName(id))
	}
	return nil
}

// mayAdminister returns why the caller may not do to a user what the method does,
// or nil: others are not seen, and nobody administers themselves without the role.
func mayAdminister(ctx context.Context, id string) error {
	if err := maySee(ctx, id); err != nil {
		return err
	}
	return identity.From(ctx).MayChange(id)
}
