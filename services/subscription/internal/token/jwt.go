package token

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/tidegatehq/tidegate/services/kit/id"
	"github.com/tidegatehq/tidegate/services/kit/identity"
	"github.com/tidegatehq/tidegate/services/kit/moment"
	"github.com/tidegatehq/tidegate/services/kit/resourcename"
)

// The errors of ReadApplication for a bad token.
var (
	// ErrInvalid says that it is not an application's token from this issuer.
	ErrInvalid = errors.New("not an access token of this issuer")
	// ErrExpired says that it was one and has expired.
	ErrExpired = errors.New("the access token has expired")
)

// maxLength is the longest text, in bytes, that is read as a token.
const maxLength = 8 << 10

// Lifetimes are how long tokens live.
type Lifetimes struct {
	// Application is that of an application's access token.
	Application time.Duration
	// User is that of a user's access token.
	User time.Duration
}

// Longest returns the longer of the two.
func (l Lifetimes) Longest() time.Duration { return max(l.Application, l.User) }

// Issuer signs and reads tokens.
type Issuer struct {
	url    string
	keys   *Keys
	public *identity.Keys
	lives  Lifetimes
	now    func() time.Time
}

// NewIssuer returns the issuer with this URL.
func NewIssuer(url string, keys *Keys, lives Lifetimes, now func() time.Time) *Issuer {
	i := &Issuer{url: url, keys: keys, lives: lives, now: now}
	i.public = identity.NewKeys(func(ctx context.Context) (identity.KeySet, error) {
		all, err := keys.publicKeys(ctx)
		return identity.KeySet{Issuer: url, Keys: all}, err
	}, now)
	return i
}

// Keys returns the keys that verify the issuer's tokens, including those that other
// replicas sign.
func (i *Issuer) Keys() *identity.Keys { return i.public }

// URL returns the issuer's URL, the claim iss.
func (i *Issuer) URL() string { return i.url }

// AudienceOf returns the audience of an application's token: the address that it is
// narrowed to, or all gateways.
func (i *Issuer) AudienceOf(t ApplicationClaims) string {
	return cmp.Or(t.Resource, identity.GatewayAudience(i.url))
}

// ApplicationClaims are the claims of an application's access token (RFC 9068), or of a
// try-out token.
type ApplicationClaims struct {
	// ID is the token's own id.
	ID string
	// ClientID is the client_id of the OAuth client that it was issued to, or TryOutClient.
	ClientID string
	// SignIn is the sign-in that it does not outlive: of the user who got it. The zero value
	// is none: an OAuth client got it.
	SignIn resourcename.SignIn
	// TryOut is the version of a try-out token, a resource name, and TryOutStage its stage:
	// 1 production, 2 sandbox. Other tokens have neither.
	TryOut      string
	TryOutStage int64
	// Secret is the id of the secret that it was issued for, "" where there was none.
	Secret string
	// Issued is the moment at which it was issued, by the changes of the subscription service.
	Issued moment.Moment
	// Scopes are its scopes.
	Scopes []string
	// Resource is the address that it is narrowed to (RFC 8707), "" for none.
	Resource string
	// IssuedAt and ExpiresAt are when it was issued and when it expires.
	IssuedAt, ExpiresAt time.Time
}

// Subject returns the claim sub: the OAuth client, or the user whose sign-in the token ends
// with (RFC 9068 section 2.2).
func (t ApplicationClaims) Subject() string {
	if t.SignIn == (resourcename.SignIn{}) {
		return t.ClientID
	}
	return resourcename.User{User: t.SignIn.User}.String()
}

// DefaultScope is the only scope.
const DefaultScope = "default"

// TryOutClient is the client_id of try-out tokens, which are no OAuth client's. No OAuth
// client has it.
const TryOutClient = "try-out"

// moreClaims are the claims in addition to the registered ones: those of RFC 9068, and
// those of tokens that users got.
type moreClaims struct {
	ClientID string `json:"client_id"`
	Scope    string `json:"scope,omitempty"`
	SignIn   string `json:"sid,omitempty"`
	Stage    int64  `json:"tidegate_stage,omitempty"`
	Secret   string `json:"tidegate_secret,omitempty"`
	Change   uint64 `json:"tidegate_change,omitempty"`
	// ChangeTime is in microseconds.
	ChangeTime int64 `json:"tidegate_change_time,omitempty"`
	identity.TryOutClaims
}

// SignApplication issues the access token t, whose id and times it sets, to an OAuth client.
func (i *Issuer) SignApplication(t ApplicationClaims) (string, ApplicationClaims, error) {
	return i.sign(t, i.lives.Application, time.Time{})
}

// SignWithin issues the access token t, whose id and times it sets, within t.SignIn, which
// the token does not outlive. It lives no longer than tokens of users, and of applications.
func (i *Issuer) SignWithin(t ApplicationClaims, signInEnds time.Time) (string, ApplicationClaims, error) {
	return i.sign(t, min(i.lives.User, i.lives.Application), signInEnds)
}

// sign issues an access token with a lifetime that ends at most at a time, unless that is
// zero.
func (i *Issuer) sign(t ApplicationClaims, life time.Duration, most time.Time) (string, ApplicationClaims, error) {
	t.ID, t.IssuedAt = id.New(), i.now().Truncate(time.Second)
	if t.ExpiresAt = t.IssuedAt.Add(life); !most.IsZero() && most.Before(t.ExpiresAt) {
		t.ExpiresAt = most
	}
	key, err := i.keys.active()
	if err != nil {
		return "", ApplicationClaims{}, err
	}
	raw, err := jwt.Signed(key.signers[identity.ApplicationType]).Claims(jwt.Claims{
		Issuer: i.url, Subject: t.Subject(), Audience: jwt.Audience{i.AudienceOf(t)},
		Expiry: jwt.NewNumericDate(t.ExpiresAt), IssuedAt: jwt.NewNumericDate(t.IssuedAt), ID: t.ID,
	}).Claims(moreClaims{
		ClientID: t.ClientID, Scope: strings.Join(t.Scopes, " "), SignIn: t.SignIn.SignIn,
		Stage: t.TryOutStage, Secret: t.Secret, Change: t.Issued.Change, ChangeTime: t.Issued.Time, TryOutClaims: identity.TryOutClaims{Version: t.TryOut},
	}).Serialize()
	if err != nil {
		return "", ApplicationClaims{}, fmt.Errorf("sign access token: %w", err)
	}
	return raw, t, nil
}

// SignUser signs an access token for a user within a sign-in, which it does not
// outlive.
func (i *Issuer) SignUser(u identity.User, signInEnds time.Time) (raw string, expires time.Time, err error) {
	issued := i.now().Truncate(time.Second)
	expires = issued.Add(i.lives.User)
	if signInEnds.Before(expires) {
		expires = signInEnds
	}
	key, err := i.keys.active()
	if err != nil {
		return "", time.Time{}, err
	}
	raw, err = jwt.Signed(key.signers[identity.UserType]).Claims(identity.UserClaims{
		Claims: jwt.Claims{
			Issuer: i.url, Subject: u.Name, Audience: jwt.Audience{identity.ControlAudience(i.url)},
			Expiry: jwt.NewNumericDate(expires), IssuedAt: jwt.NewNumericDate(issued), ID: id.New(),
		},
		Username: u.Username, Roles: u.Roles, SignIn: u.SignIn, Change: u.AsOf.Change, ChangeTime: u.AsOf.Time,
	}).Serialize()
	if err != nil {
		return "", time.Time{}, fmt.Errorf("sign user's token: %w", err)
	}
	return raw, expires, nil
}

// ReadApplication checks an application's access token: type, signature, issuer,
// audience and time. The error is ErrInvalid, ErrExpired (the claims are returned
// with it), or that of reading the keys.
func (i *Issuer) ReadApplication(ctx context.Context, raw string) (ApplicationClaims, error) {
	var claims jwt.Claims
	var more moreClaims
	if err := i.read(ctx, raw, identity.ApplicationType, &claims, &more); err != nil {
		return ApplicationClaims{}, err
	}
	complete := claims.ID != "" && claims.Expiry != nil && claims.IssuedAt != nil && more.ClientID != ""
	resource, ok := i.resource(claims.Audience)
	if !complete || claims.Issuer != i.url || !ok {
		return ApplicationClaims{}, ErrInvalid
	}
	if claims.NotBefore != nil && i.now().Before(claims.NotBefore.Time()) {
		return ApplicationClaims{}, ErrInvalid
	}
	t := ApplicationClaims{
		ID: claims.ID, ClientID: more.ClientID, Scopes: strings.Fields(more.Scope), Resource: resource,
		TryOut: more.Version, TryOutStage: more.Stage, Secret: more.Secret, Issued: moment.Moment{Change: more.Change, Time: more.ChangeTime},
		IssuedAt: claims.IssuedAt.Time(), ExpiresAt: claims.Expiry.Time(),
	}
	if more.SignIn != "" {
		user, err := resourcename.ParseUser("sub", claims.Subject)
		if err != nil {
			return ApplicationClaims{}, ErrInvalid
		}
		t.SignIn = resourcename.SignIn{User: user.User, SignIn: more.SignIn}
	}
	if (t.TryOut != "") != (t.ClientID == TryOutClient) || t.TryOut != "" && more.SignIn == "" {
		return ApplicationClaims{}, ErrInvalid
	}
	if !i.now().Before(t.ExpiresAt) {
		return t, ErrExpired
	}
	return t, nil
}

// resource returns the address that a token with this audience is narrowed to, ""
// for none, and whether applications' tokens have such an audience.
func (i *Issuer) resource(audience jwt.Audience) (string, bool) {
	switch {
	case audience.Contains(identity.GatewayAudience(i.url)):
		return "", true
	case len(audience) == 1 && (strings.HasPrefix(audience[0], "wss://") || strings.HasPrefix(audience[0], "ws://")):
		return audience[0], true
	default:
		return "", false
	}
}

// read verifies form, type and signature, and reads the claims.
func (i *Issuer) read(ctx context.Context, raw, typ string, claims ...any) error {
	if len(raw) > maxLength {
		return ErrInvalid
	}
	parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(parsed.Headers) != 1 {
		return ErrInvalid
	}
	head := parsed.Headers[0]
	if head.ExtraHeaders[jose.HeaderType] != typ {
		return ErrInvalid
	}
	key, err := i.public.Key(ctx, head.KeyID)
	if errors.Is(err, identity.ErrUnknownKey) {
		return ErrInvalid
	}
	if err != nil {
		return err
	}
	if err := parsed.Claims(key, claims...); err != nil {
		return ErrInvalid
	}
	return nil
}
