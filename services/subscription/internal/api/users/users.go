package users

import (
	"context"
	"iter"
	"strings"

	"google.golang.org/protobuf/types/known/emptypb"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/requestid"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/validate"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// CreateUser adds a user.
func (a *API) CreateUser(ctx context.Context, req *identityv1.CreateUserRequest) (*identityv1.User, error) {
	hash := ""
	if req.GetPassword() != "" {
		if err := a.rules.Check(req.GetPassword(), req.GetUser().GetUsername()); err != nil {
			return nil, fault.Invalid("password", "%s", err)
		}
		slot, err := a.passwords.Acquire(ctx, place(ctx))
		if err != nil {
			return nil, err
		}
		hash = slot.Hash(req.GetPassword())
		slot.Release()
	}
	u, made, err := a.store.CreateUser(ctx, requestid.Of(ctx, req), withUser(store.User{}, req.GetUser()), hash)
	if err != nil {
		return nil, err
	}
	if !made {
		return userProto(u), nil
	}
	a.security.Write(ctx, securitylog.Event{
		Kind: securitylog.UserChanged, What: store.UserName(u.ID), Why: "created as " + u.Username + " with the roles " + roles(u),
	})
	return userProto(u), nil
}

// GetUser returns a user.
func (a *API) GetUser(ctx context.Context, req *identityv1.GetUserRequest) (*identityv1.User, error) {
	v := identity.From(ctx).Viewer()
	id, err := userID(v, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	u, err := a.store.User(ctx, v, id)
	if err != nil {
		return nil, err
	}
	return userProto(u), nil
}

// ListUsers returns a page of users.
func (a *API) ListUsers(ctx context.Context, req *identityv1.ListUsersRequest) (*identityv1.ListUsersResponse, error) {
	f, err := userFilter(req)
	if err != nil {
		return nil, err
	}
	by, direction, _ := strings.Cut(req.GetOrderBy(), " ")
	backwards := direction == "desc"
	if by == "username" {
		return listUsers(req, store.User.NameKey, func(after store.NameKey) iter.Seq2[store.User, error] {
			return a.store.UsersByName(ctx, f, backwards, after)
		})
	}
	return listUsers(req, store.User.ListKey, func(after sqldb.TimeKey) iter.Seq2[store.User, error] {
		return a.store.Users(ctx, f, backwards, after)
	})
}

// listUsers returns a page of what rows returns after a key.
func listUsers[K sqldb.Key](
	req *identityv1.ListUsersRequest, key func(store.User) K, rows func(after K) iter.Seq2[store.User, error],
) (*identityv1.ListUsersResponse, error) {
	p, err := page.New[K](req)
	if err != nil {
		return nil, err
	}
	users, next, err := page.Collect(p, rows(p.After), key, userProto)
	if err != nil {
		return nil, err
	}
	return &identityv1.ListUsersResponse{Users: users, NextPageToken: next}, nil
}

// userFilter reads what a list of users is restricted to.
func userFilter(req *identityv1.ListUsersRequest) (f store.UserFilter, err error) {
	terms, err := page.Filter(req.GetFilter(), "username", "state", "role")
	if err != nil {
		return f, err
	}
	f.Username = terms.Value("username")
	if text := terms.Value("state"); text != nil {
		state := store.UserState(identityv1.User_State_value["STATE_"+*text])
		if f.State = &state; state == 0 {
			return f, fault.Invalid("filter", "no state %q: there are ACTIVE, SUSPENDED, PENDING", *text)
		}
	}
	if text := terms.Value("role"); text != nil {
		if identityv1.User_Role_value[rolePrefix+*text] == 0 {
			return f, fault.Invalid("filter", "no role %q: there are ADMIN, CREATOR, PUBLISHER, SUBSCRIBER", *text)
		}
		role := strings.ToLower(*text)
		f.Role = &role
	}
	if req.GetQuery() != "" {
		f.Query = &req.Query
	}
	return f, nil
}

// UpdateUser changes a user.
func (a *API) UpdateUser(ctx context.Context, req *identityv1.UpdateUserRequest) (*identityv1.User, error) {
	c := identity.From(ctx)
	id, err := userID(c.Viewer(), "user.name", req.GetUser().GetName())
	if err != nil {
		return nil, err
	}
	u, err := page.NewUpdate(req.GetUpdateMask(), req.GetUser(), "username", "display_name", "roles")
	if err != nil {
		return nil, err
	}
	before := ""
	user, err := a.store.UpdateUser(ctx, c.Viewer(), id, func(old store.User) (store.User, error) {
		before = roles(old)
		if err := c.MayChange(old.ID); err != nil {
			return old, err
		}
		next := userProto(old)
		if err := u.Apply(next); err != nil {
			return old, err
		}
		return withUser(old, next), validate.Message(&identityv1.CreateUserRequest{User: next})
	})
	if err != nil {
		return nil, err
	}
	if after := roles(user); after != before {
		a.security.Write(ctx, securitylog.Event{
			Kind: securitylog.RolesChanged, What: store.UserName(id), Why: "from " + before + " to " + after,
		})
	}
	return userProto(user), nil
}

// roles lists a user's roles for the security log.
func roles(u store.User) string { return strings.Join(u.Roles, ", ") }

// DeleteUser removes a user.
func (a *API) DeleteUser(ctx context.Context, req *identityv1.DeleteUserRequest) (*emptypb.Empty, error) {
	c := identity.From(ctx)
	id, err := userID(c.Viewer(), "name", req.GetName())
	if err != nil {
		return nil, err
	}
	err = a.store.DeleteUser(ctx, c.Viewer(), id, func(u store.User) error {
		if err := c.MayChange(u.ID); err != nil {
			return err
		}
		return page.CheckEtag(req.GetEtag(), u.Etag)
	})
	if err != nil {
		return nil, err
	}
	a.security.Write(ctx, securitylog.Event{Kind: securitylog.UserChanged, What: store.UserName(id), Why: "deleted"})
	return &emptypb.Empty{}, nil
}

// SuspendUser suspends a user.
func (a *API) SuspendUser(ctx context.Context, req *identityv1.SuspendUserRequest) (*identityv1.User, error) {
	return a.change(ctx, req, "suspended", a.store.SuspendUser, func(u store.User) error {
		if u.State == store.UserSuspended {
			return change.Unchanged(0)
		}
		return nil
	})
}

// RestoreUser restores a suspended user.
func (a *API) RestoreUser(ctx context.Context, req *identityv1.RestoreUserRequest) (*identityv1.User, error) {
	return a.change(ctx, req, "restored", a.store.RestoreUser, func(u store.User) error {
		if u.State != store.UserSuspended {
			return change.Unchanged(0)
		}
		return nil
	})
}

// UnlockUser lifts what failed sign-ins of a user have locked.
func (a *API) UnlockUser(ctx context.Context, req *identityv1.UnlockUserRequest) (*identityv1.User, error) {
	c := identity.From(ctx)
	id, err := userID(c.Viewer(), "name", req.GetName())
	if err != nil {
		return nil, err
	}
	u, err := a.store.UnlockUser(ctx, c.Viewer(), id, func(u store.User) error { return c.MayChange(u.ID) })
	if err != nil {
		return nil, err
	}
	a.security.Write(ctx, securitylog.Event{Kind: securitylog.Unlocked, What: store.UserName(id)})
	return userProto(u), nil
}

// transition is a request that changes the state of a user.
type transition interface {
	GetName() string
	GetEtag() string
}

// change changes the state of a user; one who is in it stays as they are, as inState
// says. The security log says what was done.
func (a *API) change(
	ctx context.Context, req transition, done string,
	write func(context.Context, identity.Viewer, string, func(store.User) error) (store.User, error), inState func(store.User) error,
) (*identityv1.User, error) {
	c := identity.From(ctx)
	id, err := userID(c.Viewer(), "name", req.GetName())
	if err != nil {
		return nil, err
	}
	changed := false
	u, err := write(ctx, c.Viewer(), id, func(u store.User) error {
		if err := c.MayChange(u.ID); err != nil {
			return err
		}
		if err := page.CheckEtag(req.GetEtag(), u.Etag); err != nil {
			return err
		}
		err := inState(u)
		changed = err == nil
		return err
	})
	if err != nil {
		return nil, err
	}
	if !changed {
		return userProto(u), nil
	}
	a.security.Write(ctx, securitylog.Event{Kind: securitylog.UserChanged, What: store.UserName(id), Why: done})
	return userProto(u), nil
}

// userID returns the id in a user's name, which is the value of field; for users/me
// it is the viewer's own.
func userID(v identity.Viewer, field, name string) (string, error) {
	n, err := resourcename.ParseUser(field, name)
	if err == nil && n.User == resourcename.Me {
		n.User = v.User
	}
	return n.User, err
}
