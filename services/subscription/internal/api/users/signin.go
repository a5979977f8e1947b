package users

import (
	"cmp"
	"context"
	"encoding/hex"
	"time"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/clientaddr"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/madesecret"
	"github.com/tidegatehq/tidegate/services/kit/securitylog"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/subscription/internal/store"
	"github.com/tidegatehq/tidegate/services/subscription/internal/token"
)

// SignIn signs a user in.
func (a *API) SignIn(ctx context.Context, req *identityv1.SignInRequest) (*identityv1.SignInResponse, error) {
	attempt, device, err := a.attempt(ctx, req)
	if err != nil {
		return nil, err
	}
	p, hash, err := a.prove(ctx, attempt, req.GetPassword())
	if err != nil {
		a.failed(ctx, req.GetUsername(), err)
		return nil, err
	}
	if err := mayComeIn(p); err != nil {
		a.failed(ctx, p.Username, err)
		return nil, err
	}
	in, ok, err := a.store.CreateSignIn(ctx, p.ID, hash, store.Device{Address: clientAddress(ctx), Hash: device.hash}, a.last)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, errWrongPassword()
	}
	a.security.Write(ctx, securitylog.Event{Kind: securitylog.SignedIn, Who: store.UserName(p.ID), What: p.Username})
	a.ended(ctx, in.Displaced, store.UserName(p.ID), "the user has signed in too often since")
	resp, err := a.signedIn(in)
	if err != nil {
		return nil, err
	}
	resp.DeviceKey = device.key
	return resp, nil
}

// device is a device that somebody signs in from.
type device struct {
	key  string
	hash []byte
}

// attempt returns what a sign-in counts as, and the device that it comes from: a new one,
// unless it brings the key of one that its user has signed in from.
func (a *API) attempt(ctx context.Context, req *identityv1.SignInRequest) (store.Attempt, device, error) {
	if hash, ok := token.Hash(madesecret.DeviceKey, req.GetDeviceKey()); ok {
		known, err := a.store.KnownDevice(ctx, req.GetUsername(), hash)
		if err != nil {
			return store.Attempt{}, device{}, err
		}
		if known {
			from := "device " + hex.EncodeToString(hash)
			return store.Attempt{Username: req.GetUsername(), From: from, Known: true}, device{req.GetDeviceKey(), hash}, nil
		}
	}
	key, hash := token.New(madesecret.DeviceKey)
	from := cmp.Or(place(ctx).From, "an unknown network")
	return store.Attempt{Username: req.GetUsername(), From: from}, device{key, hash}, nil
}

// clientAddress returns the address that a call came from, "" if it is not known.
func clientAddress(ctx context.Context) string {
	if address := clientaddr.From(ctx); address.IsValid() {
		return address.String()
	}
	return ""
}

// mayComeIn returns why a user who has shown the right password may not come in, or nil.
func mayComeIn(u store.User) error {
	switch u.State {
	case store.UserSuspended:
		return fault.WithReason(fault.Denied("the user is suspended: ask an administrator"), fault.ReasonUserSuspended)
	case store.UserPending:
		return fault.WithReason(fault.Denied("the sign-up awaits the approval of an administrator: try again once it is approved"), fault.ReasonUserPending)
	default:
		return nil
	}
}

// failed writes that a proof by password was refused.
func (a *API) failed(ctx context.Context, username string, err error) {
	e := securitylog.Event{Kind: securitylog.SignInFailed, What: username, Why: status.Convert(err).Message()}
	switch fault.Reason(err) {
	case fault.ReasonTooManyFailures:
		e.Kind = securitylog.LockedOut
	case fault.ReasonWrongPassword, fault.ReasonUserSuspended, fault.ReasonUserPending, fault.ReasonTooManySignIns:
	default:
		return // no fault of whoever signs in, and no flood
	}
	a.security.Write(ctx, e)
}

func errWrongPassword() error {
	return fault.WithReason(fault.Unauthenticated("wrong username or password"), fault.ReasonWrongPassword)
}

// prove returns the user who has this name and password, and the password's hash.
// An unknown name takes as long as a wrong password, and both count as a failure of
// that name.
func (a *API) prove(ctx context.Context, attempt store.Attempt, password string) (store.User, string, error) {
	if _, err := a.throttle(ctx, attempt); err != nil {
		return store.User{}, "", err
	}
	p, hash, matches, failed, err := a.match(ctx, attempt, password)
	if err != nil {
		return store.User{}, "", err
	}
	if !matches {
		// A caller who hangs up is counted too.
		if err := a.store.CountFailure(context.WithoutCancel(ctx), attempt, a.lockout); err != nil {
			return store.User{}, "", err
		}
		return store.User{}, "", errWrongPassword()
	}
	if failed {
		err = a.store.ForgetFailures(ctx, attempt)
	}
	return p, hash, err
}

// match returns the user of an attempt, the hash of the user's password and whether the
// password matches it, and whether there are failures to forget then. The slot is given
// back before anything is written, which may take as long as others write.
func (a *API) match(ctx context.Context, attempt store.Attempt, password string) (p store.User, hash string, matches, failed bool, err error) {
	from := place(ctx)
	if attempt.Known {
		from = token.Place{From: attempt.From, Within: "the user " + sqldb.Fold(attempt.Username), Known: true}
	}
	slot, err := a.passwords.Acquire(ctx, from)
	if err != nil {
		return p, "", false, false, err
	}
	defer slot.Release()
	// Check again: other attempts may have failed while this one waited for its slot. So
	// only attempts whose failure is being written can exceed what the name is allowed.
	if failed, err = a.throttle(ctx, attempt); err != nil {
		return p, "", false, false, err
	}
	p, hash, _, err = a.store.Password(ctx, attempt.Username)
	if err != nil {
		return p, "", false, false, err
	}
	return p, hash, slot.Matches(hash, password), failed, nil
}

// place says where a call comes from: those of one place wait for each other when
// passwords are hashed. Strangers share their network, who is signed in waits alone.
func place(ctx context.Context) token.Place {
	if user := identity.From(ctx).User.Name; user != "" {
		return token.Place{From: user, Within: user, Known: true}
	}
	if address := clientaddr.From(ctx); address.IsValid() {
		return token.Place{From: clientaddr.Network(address).String(), Within: clientaddr.Wider(address).String()}
	}
	return token.Place{}
}

// throttle refuses an attempt after too many failures. It reports whether there are any
// that a success forgets.
func (a *API) throttle(ctx context.Context, attempt store.Attempt) (failed bool, err error) {
	wait, failed, err := a.store.SignInDelay(ctx, attempt, a.lockout)
	if err != nil || wait == 0 {
		return failed, err
	}
	wait = (wait + time.Second - 1).Truncate(time.Second)
	return failed, fault.RetryAfter(fault.WithReason(
		fault.Exhausted("too many failed sign-ins for this name; try again in %s", wait), fault.ReasonTooManyFailures), wait)
}

// signedIn returns the answer to a successful sign-in or refresh.
func (a *API) signedIn(in store.SignedIn) (*identityv1.SignInResponse, error) {
	access, expires, err := a.issuer.SignUser(identity.User{
		Name: store.UserName(in.User), Username: in.Who.Username, Roles: in.Who.Roles, SignIn: in.ID, AsOf: in.AsOf,
	}, in.ExpiresAt)
	if err != nil {
		return nil, err
	}
	return &identityv1.SignInResponse{
		AccessToken: access, ExpireTime: timestamppb.New(expires),
		RefreshToken: a.refresh.Make(in.ID, in.Generation), RefreshExpireTime: timestamppb.New(in.ExpiresAt),
		User: userProto(in.Who),
	}, nil
}

// RefreshSignIn trades a refresh token for new tokens.
func (a *API) RefreshSignIn(ctx context.Context, req *identityv1.RefreshSignInRequest) (*identityv1.SignInResponse, error) {
	return a.refreshSignIn(ctx, req.GetRefreshToken(), a.store.RefreshSignIn)
}

// RefreshPageSignIn does the same for the portal's pages, whose tabs may be late: see
// PageSignInService.
func (a *API) RefreshPageSignIn(ctx context.Context, req *backplanev1.RefreshPageSignInRequest) (*identityv1.SignInResponse, error) {
	return a.refreshSignIn(ctx, req.GetRefreshToken(), a.store.RefreshPageSignIn)
}

func (a *API) refreshSignIn(
	ctx context.Context, secret string, use func(context.Context, string, uint32, store.Lasting) (store.SignedIn, store.Refreshed, error),
) (*identityv1.SignInResponse, error) {
	signIn, generation, ok := a.refresh.Read(secret)
	if !ok {
		return nil, errRefresh()
	}
	in, what, err := use(ctx, signIn, generation, a.last)
	if err != nil {
		return nil, err
	}
	switch what {
	case store.Renewed:
		return a.signedIn(in)
	case store.Reused:
		if err := a.store.EndSignIn(context.WithoutCancel(ctx), itself, signIn); err != nil {
			return nil, err
		}
		a.security.Write(ctx, securitylog.Event{
			Kind: securitylog.SignInEnded, What: store.SignInName(in.User, signIn), Why: "its refresh token was used twice, so it may be stolen",
		})
	}
	return nil, errRefresh()
}

// itself is this service as the one who made a change.
const itself = "services/" + identity.Subscription

func errRefresh() error {
	return fault.WithReason(fault.Unauthenticated("the refresh token is no longer valid: sign in again"), fault.ReasonSignInEnded)
}

// SignOut ends a sign-in.
func (a *API) SignOut(ctx context.Context, req *identityv1.SignOutRequest) (*emptypb.Empty, error) {
	signIn, _, ok := a.refresh.Read(req.GetRefreshToken())
	if !ok {
		return &emptypb.Empty{}, nil
	}
	user, err := a.store.SignOut(ctx, signIn)
	if err != nil {
		return nil, err
	}
	if user != "" {
		a.security.Write(ctx, securitylog.Event{
			Kind: securitylog.SignInEnded, Who: store.UserName(user), What: store.SignInName(user, signIn), Why: "signed out",
		})
	}
	return &emptypb.Empty{}, nil
}

// ChangePassword sets a user's password.
func (a *API) ChangePassword(ctx context.Context, req *identityv1.ChangePasswordRequest) (*emptypb.Empty, error) {
	v := identity.From(ctx).Viewer()
	id, err := userID(v, "name", req.GetName())
	if err != nil {
		return nil, err
	}
	u, err := a.store.User(ctx, v, id)
	if err != nil {
		return nil, err
	}
	if err := a.rules.Check(req.GetNewPassword(), u.Username); err != nil {
		return nil, fault.Invalid("new_password", "%s", err)
	}
	if u.ID == v.User {
		err = a.changeOwnPassword(ctx, u, req)
	} else {
		err = a.changePassword(ctx, u.ID, nil, req.GetNewPassword(), "")
	}
	if err != nil {
		return nil, err
	}
	return &emptypb.Empty{}, nil
}

// changeOwnPassword requires the current password. It ends the user's sign-ins
// except the one that the call belongs to. Guesses by whoever has stolen a token are
// counted apart, so that strangers cannot keep the user from it.
func (a *API) changeOwnPassword(ctx context.Context, u store.User, req *identityv1.ChangePasswordRequest) error {
	attempt := store.Attempt{Username: u.Username, From: store.UserName(u.ID), Known: true}
	_, hash, err := a.prove(ctx, attempt, req.GetCurrentPassword())
	if err != nil {
		a.failed(ctx, u.Username, err)
	}
	if fault.Reason(err) == fault.ReasonWrongPassword {
		return fault.Invalid("current_password", "is wrong")
	}
	if err != nil {
		return err
	}
	return a.changePassword(ctx, u.ID, &hash, req.GetNewPassword(), identity.From(ctx).User.SignIn)
}

func (a *API) changePassword(ctx context.Context, id string, old *string, password, keep string) error {
	slot, err := a.passwords.Acquire(ctx, place(ctx))
	if err != nil {
		return err
	}
	hash := slot.Hash(password)
	slot.Release()
	ended, ok, err := a.store.ChangePassword(ctx, id, old, hash, keep)
	switch {
	case err != nil:
		return err
	case !ok && old != nil:
		return fault.Aborted("the password was changed meanwhile")
	case !ok:
		return fault.NotFound("%s", store.UserName(id))
	}
	a.security.Write(ctx, securitylog.Event{Kind: securitylog.PasswordChanged, What: store.UserName(id)})
	a.ended(ctx, ended, "", "the password was changed")
	return nil
}

// ended writes which sign-ins have ended, by whom (empty for the caller) and why.
func (a *API) ended(ctx context.Context, names []string, who, why string) {
	for _, name := range names {
		a.security.Write(ctx, securitylog.Event{Kind: securitylog.SignInEnded, Who: who, What: name, Why: why})
	}
}
