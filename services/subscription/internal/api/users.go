package api

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/validate"
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
	if err := see(ctx, id); err != nil {
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
	terms, err := filter(req.GetFilter(), field{name: "username"})
	if err != nil {
		return nil, err
	}
	p, err := newPage(req.GetPageSize(), req.GetPageToken(), 2, "users", req.GetFilter())
	if err != nil {
		return nil, err
	}
	after, err := p.after()
	if err != nil {
		return nil, err
	}
	rows, err := a.store.Users(ctx, terms, after, p.limit())
	if err != nil {
		return nil, err
	}
	resp := &identityv1.ListUsersResponse{}
	resp.Users, resp.NextPageToken = cut(p, rows, userProto, func(p store.User) []string {
		return timeKeys(p.CreatedAt.UnixMicro(), p.ID)
	})
	return resp, nil
}

// UpdateUser changes a user.
func (a *API) UpdateUser(ctx context.Context, req *identityv1.UpdateUserRequest) (*identityv1.User, error) {
	id, err := userID(ctx, "user.name", req.GetUser().GetName())
	if err != nil {
		return nil, err
	}
	if err := administer(ctx, id); err != nil {
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
	if err := administer(ctx, id); err != nil {
		return nil, err
	}
	if err := a.store.DeleteUser(ctx, id, req.GetEtag()); err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}
