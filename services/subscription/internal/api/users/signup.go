package users

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/change"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
)

// SignUp adds a user who signs up. Where it refuses for another reason than the request
// itself, it has been counted for the caller's network, so that nobody can ask for many
// usernames whether they are taken.
func (a *API) SignUp(ctx context.Context, req *identityv1.SignUpRequest) (*identityv1.User, error) {
	if a.signUps == identityv1.SignUpPolicy_POLICY_OFF {
		return nil, fault.WithReason(fault.Precondition("nobody may sign up here: ask an administrator to add you"), fault.ReasonSignUpOff)
	}
	if err := a.rules.Check(req.GetPassword(), req.GetUsername()); err != nil {
		return nil, fault.Invalid("password", "%s", err)
	}
	u, err := a.signUp(ctx, req)
	if err != nil {
		if fault.Is(err, codes.AlreadyExists) || fault.Is(err, codes.ResourceExhausted) {
			a.security.Write(ctx, securitylog.Event{Kind: securitylog.SignUpRefused, What: req.GetUsername(), Why: status.Convert(err).Message()})
		}
		return nil, err
	}
	a.security.Write(ctx, securitylog.Event{
		Kind: securitylog.SignedUp, Who: store.UserName(u.ID), What: u.Username, Why: fmt.Sprintf("with the roles %s, %s", roles(u), stateOf(u)),
	})
	return userProto(u), nil
}

// signUp adds the user of a request whose password is good.
func (a *API) signUp(ctx context.Context, req *identityv1.SignUpRequest) (store.User, error) {
	from := place(ctx)
	wait, err := a.store.CountSignUp(ctx, cmp.Or(from.From, "an unknown network"))
	if err != nil {
		return store.User{}, err
	}
	if wait > 0 {
		wait = (wait + time.Second - 1).Truncate(time.Second)
		return store.User{}, fault.RetryAfter(fault.WithReason(
			fault.Exhausted("too many sign-ups from this address; try again in %s", wait), fault.ReasonTooManySignUps), wait)
	}
	slot, err := a.passwords.Acquire(ctx, from)
	if err != nil {
		return store.User{}, err
	}
	hash := slot.Hash(req.GetPassword())
	slot.Release()
	u := store.User{Username: req.GetUsername(), DisplayName: req.GetDisplayName(), Roles: []string{identity.RoleSubscriber}, State: store.UserActive}
	if a.signUps == identityv1.SignUpPolicy_POLICY_APPROVAL {
		u.State = store.UserPending
	}
	return a.store.SignUp(ctx, u, hash)
}

// stateOf says whether a user who has signed up waits, for the security log.
func stateOf(u store.User) string {
	if u.State == store.UserPending {
		return "and awaits approval"
	}
	return "and may sign in"
}

// GetSignUpPolicy says whether anybody may sign up.
func (a *API) GetSignUpPolicy(context.Context, *identityv1.GetSignUpPolicyRequest) (*identityv1.SignUpPolicy, error) {
	return &identityv1.SignUpPolicy{Policy: a.signUps}, nil
}

// ApproveUser lets a pending user in.
func (a *API) ApproveUser(ctx context.Context, req *identityv1.ApproveUserRequest) (*identityv1.User, error) {
	return a.change(ctx, req, "approved", a.store.ApproveUser, func(u store.User) error {
		if u.State != store.UserPending {
			return change.Unchanged(0)
		}
		return nil
	})
}
