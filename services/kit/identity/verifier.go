package identity

import (
	"context"
	"errors"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/tidegatehq/tidegate/services/kit/fault"
)

// The typ header of users' and of applications' tokens, and of what tells backends who a
// client is, which is no credential and gives access to nothing here.
const (
	UserType            = "tidegate-user+jwt"
	ApplicationType     = "at+jwt"
	BackendIdentityType = "tidegate-identity+jwt"
)

// maxToken is the longest token, in bytes, that is parsed. leeway is how far the
// issuer's clock may differ.
const (
	maxToken = 8 << 10
	leeway   = 5 * time.Second
)

// ControlAudience returns the audience of users' tokens.
func ControlAudience(issuer string) string { return issuer + "/control" }

// GatewayAudience returns the audience of applications' tokens.
func GatewayAudience(issuer string) string { return issuer + "/gateway" }

// UserClaims are the claims of a user's token; sub is users/{id}.
type UserClaims struct {
	jwt.Claims
	// Username is that of User (OpenID Connect Core 5.1).
	Username string `json:"preferred_username,omitempty"`
	// Roles are those that the user had when the token was issued.
	Roles []string `json:"roles,omitempty"`
	// SignIn is that of User, and Change and ChangeTime are its AsOf.
	SignIn string `json:"sid,omitempty"`
	Change uint64 `json:"tidegate_change,omitempty"`
	// ChangeTime is in microseconds.
	ChangeTime int64 `json:"tidegate_change_time,omitempty"`
}

// TryOutClaims are the claims by which a gateway tells a try-out token, before it is
// verified, from other tokens of the type ApplicationType.
type TryOutClaims struct {
	// Version is the one version that it is for, apis/{api}/versions/{version}; "" is no
	// try-out token.
	Version string `json:"tidegate_try_out,omitempty"`
}

// Ended knows whose access has ended before its tokens expire. It is safe for
// concurrent use.
type Ended interface {
	// Ended reports whether the access that u's token gave has ended: u was deleted,
	// suspended or given other roles, or the sign-in was ended, after the token was
	// issued.
	Ended(ctx context.Context, u User) (bool, error)
}

// Verifier checks users' tokens. It is safe for concurrent use.
type Verifier struct {
	keys  *Keys
	ended Ended
	now   func() time.Time
}

// NewVerifier returns a verifier of the tokens of keys' issuer. With a nil ended, a
// token gives access until it expires.
func NewVerifier(keys *Keys, ended Ended, now func() time.Time) *Verifier {
	return &Verifier{keys: keys, ended: ended, now: now}
}

// Verify returns the user that the token was issued to, or a fault:
// Unauthenticated for a bad token or one whose access has ended, Unavailable when
// the keys cannot be read.
func (v *Verifier) Verify(ctx context.Context, token string) (User, error) {
	if v == nil {
		return User{}, fault.Unauthenticated("tokens are not accepted here")
	}
	if len(token) > maxToken {
		return User{}, fault.Unauthenticated("the token is too long")
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(parsed.Headers) != 1 {
		return User{}, fault.Wrap(fault.Unauthenticated("the token is not a user's access token"), err)
	}
	head := parsed.Headers[0]
	if err := checkType(head); err != nil {
		return User{}, err
	}
	key, err := v.keys.Key(ctx, head.KeyID)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return User{}, fault.Unauthenticated("the token is signed with an unknown key")
	case err != nil:
		return User{}, fault.Wrap(fault.Unavailable("the signing keys cannot be read at the moment, try again"), err)
	}
	var claims UserClaims
	if err := parsed.Claims(key, &claims); err != nil {
		return User{}, fault.Wrap(fault.Unauthenticated("the token's signature is wrong"), err)
	}
	if err := v.checkClaims(claims); err != nil {
		return User{}, err
	}
	u := User{Name: claims.Subject, Username: claims.Username, Roles: claims.Roles, SignIn: claims.SignIn, AsOf: moment.Moment{Change: claims.Change, Time: claims.ChangeTime}}
	if err := v.checkEnded(ctx, u); err != nil {
		return User{}, err
	}
	return u, nil
}

func (v *Verifier) checkEnded(ctx context.Context, u User) error {
	if v.ended == nil {
		return nil
	}
	ended, err := v.ended.Ended(ctx, u)
	if err != nil || !ended {
		return err
	}
	return fault.WithReason(fault.Unauthenticated("the access that this token gave has ended: refresh it, or sign in again"), fault.ReasonAccessEnded)
}

func checkType(head jose.Header) error {
	typ, _ := head.ExtraHeaders[jose.HeaderType].(string)
	switch typ {
	case UserType:
		return nil
	case ApplicationType:
		return fault.Unauthenticated("an application's token is not accepted here: sign in as a user")
	}
	return fault.Unauthenticated("the token is not a user's access token")
}

func (v *Verifier) checkClaims(c UserClaims) error {
	issuer := v.keys.Issuer()
	err := c.ValidateWithLeeway(jwt.Expected{
		Issuer:      issuer,
		AnyAudience: jwt.Audience{ControlAudience(issuer)},
		Time:        v.now(),
	}, leeway)
	switch {
	case err == nil:
	case errors.Is(err, jwt.ErrExpired):
		return fault.WithReason(fault.Unauthenticated("the token has expired"), fault.ReasonTokenExpired)
	case errors.Is(err, jwt.ErrInvalidIssuer):
		return fault.Unauthenticated("the token has another issuer")
	case errors.Is(err, jwt.ErrInvalidAudience):
		return fault.Unauthenticated("the token is for another audience")
	default:
		return fault.Wrap(fault.Unauthenticated("the token is not valid yet"), err)
	}
	if _, err := resourcename.ParseUser("sub", c.Subject); issuer == "" || c.Expiry == nil || err != nil {
		return fault.Unauthenticated("the token lacks a claim")
	}
	return nil
}
