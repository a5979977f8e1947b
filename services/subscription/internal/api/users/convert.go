package users

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// rolePrefix begins the names of the proto's roles; rows store them without it.
const rolePrefix = "ROLE_"

// Resource returns a user as administrators see it.
func Resource(u store.User) proto.Message { return userProto(u) }

func userProto(p store.User) *identityv1.User {
	out := &identityv1.User{
		Name: store.UserName(p.ID), Username: p.Username, DisplayName: p.DisplayName,
		CreateTime: timestamppb.New(p.CreatedAt), UpdateTime: timestamppb.New(p.UpdatedAt), Etag: page.Etag(p.Etag),
		State: identityv1.User_State(p.State),
	}
	for _, role := range p.Roles {
		value := identityv1.User_Role_value[rolePrefix+strings.ToUpper(role)]
		out.Roles = append(out.Roles, identityv1.User_Role(value))
	}
	return out
}

// withUser returns the row with the fields that a request may set taken from p.
func withUser(row store.User, p *identityv1.User) store.User {
	row.Username, row.DisplayName, row.Roles = p.GetUsername(), p.GetDisplayName(), nil
	for _, role := range p.GetRoles() {
		row.Roles = append(row.Roles, strings.ToLower(strings.TrimPrefix(role.String(), rolePrefix)))
	}
	return row
}

// signInProto converts a sign-in for the caller of ctx.
func signInProto(ctx context.Context, in store.SignIn) *identityv1.SignIn {
	return &identityv1.SignIn{
		Name: store.SignInName(in.User, in.ID), ClientAddress: in.ClientAddress,
		CreateTime: timestamppb.New(in.CreatedAt), RefreshTime: timestamppb.New(in.RefreshedAt), ExpireTime: timestamppb.New(in.ExpiresAt),
		Current: in.ID == identity.From(ctx).User.SignIn,
	}
}
