package users

import (
	"context"

	"google.golang.org/protobuf/types/known/emptypb"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/page"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// GetSignIn returns a sign-in.
func (a *API) GetSignIn(ctx context.Context, req *identityv1.GetSignInRequest) (*identityv1.SignIn, error) {
	in, err := a.signIn(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	return signInProto(ctx, in), nil
}

// ListSignIns returns a page of a user's sign-ins.
func (a *API) ListSignIns(ctx context.Context, req *identityv1.ListSignInsRequest) (*identityv1.ListSignInsResponse, error) {
	v := identity.From(ctx).Viewer()
	user, err := userID(v, "parent", req.GetParent())
	if err != nil {
		return nil, err
	}
	if _, err := a.store.User(ctx, v, user); err != nil {
		return nil, err
	}
	p, err := page.New[sqldb.TimeKey](req)
	if err != nil {
		return nil, err
	}
	convert := func(in store.SignIn) *identityv1.SignIn { return signInProto(ctx, in) }
	all, next, err := page.Collect(p, a.store.SignIns(ctx, user, p.After), store.SignIn.ListKey, convert)
	if err != nil {
		return nil, err
	}
	return &identityv1.ListSignInsResponse{SignIns: all, NextPageToken: next}, nil
}

// DeleteSignIn ends a sign-in.
func (a *API) DeleteSignIn(ctx context.Context, req *identityv1.DeleteSignInRequest) (*emptypb.Empty, error) {
	in, err := a.signIn(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	if err := a.store.EndSignIn(ctx, "", in.ID); err != nil {
		return nil, err
	}
	a.security.Write(ctx, securitylog.Event{Kind: securitylog.SignInEnded, What: store.SignInName(in.User, in.ID), Why: "ended by name"})
	return &emptypb.Empty{}, nil
}

// signIn returns the sign-in with this name, which the caller may see.
func (a *API) signIn(ctx context.Context, name string) (store.SignIn, error) {
	n, err := resourcename.ParseSignIn("name", name)
	if err != nil {
		return store.SignIn{}, err
	}
	v := identity.From(ctx).Viewer()
	if n.User == resourcename.Me {
		n.User = v.User
	}
	return a.store.SignIn(ctx, v, n)
}
