// Package signin keeps users signed in to the pages: it has the cookie, the pages of
// signing in and out and of one's own account, and the refreshing of sign-ins.
//
//	no cookie ── /signin ──► cookie with both tokens ── access token is good ──► calls
//	                              ▲          │
//	                              └─ refresh ┘ token ends soon, or was refused
//	                                  │
//	                                  └─ refused: the sign-in has ended; /signin leads back
//	                                     to where one was, with the entries of a form
//
// The portal keeps nothing: what it must remember is in the cookie, sealed with the
// master key, so that every replica can read it and nobody else.
package signin

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"time"

	"golang.org/x/sync/singleflight"
	"google.golang.org/grpc/codes"

	backplanev1 "github.com/tidegatehq/tidegate/gen/go/tidegate/backplane/v1"
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// Cookies. The browser sends them over TLS only, to this host only, and with no request
// of another site's page but a link.
const (
	sessionCookie = "__Host-tidegate"
	deviceCookie  = "__Host-tidegate-device"
	// deviceKeeps is how long the subscription service knows a device.
	deviceKeeps = 180 * 24 * time.Hour
	// early is how long before its end an access token is refreshed, so that it does
	// not end under way.
	early = time.Minute
)

// session is what the cookie has. Its names are short because browsers take 4 KB.
type session struct {
	Access  string                 `json:"a"`
	Expires int64                  `json:"e"` // of the access token, in seconds
	Refresh string                 `json:"r"`
	Ends    int64                  `json:"z"` // of the sign-in unless it is refreshed
	User    string                 `json:"u"`
	Name    string                 `json:"n"`
	Roles   []identityv1.User_Role `json:"o"`
}

// Config is what the pages of signing in need.
type Config struct {
	// Services are called.
	Services *ui.Services
	// Key seals the cookie.
	Key *seal.Key
	// FirstPassword says where the first administrator's password is, or "" once it is no
	// longer good, or where that is not known. It may be nil.
	FirstPassword func(context.Context) string
	// Now is the clock.
	Now func() time.Time
}

// SignIn keeps users signed in. It is safe for concurrent use.
type SignIn struct {
	Config
	refreshes singleflight.Group // by refresh token
	form      *ui.Template[signInView]
}

var _ ui.SignIn = (*SignIn)(nil)

// New returns the keeper of sign-ins.
func New(cfg Config) *SignIn {
	return &SignIn{Config: cfg, form: ui.Parse[signInView](files, "templates/signin.html")}
}

// Viewer returns who sends a request by its cookie, with an access token that is good for
// a while. It is nil for nobody.
func (s *SignIn) Viewer(w http.ResponseWriter, r *http.Request) (*ui.Viewer, error) {
	have := s.read(r)
	if have == nil {
		return nil, nil
	}
	if s.Now().Add(early).Unix() < have.Expires {
		return have.viewer(), nil
	}
	return s.refresh(w, r, have)
}

// Renew refreshes the sign-in of a request, whose access token was refused.
func (s *SignIn) Renew(w http.ResponseWriter, r *http.Request) (*ui.Viewer, error) {
	have := s.read(r)
	if have == nil {
		return nil, nil
	}
	return s.refresh(w, r, have)
}

// refresh exchanges the refresh token, once for all requests that have it. From pages the
// service takes a spent token for a while and gives the newest successor, so that it does
// not matter in which order tabs send theirs, and to which replica.
func (s *SignIn) refresh(w http.ResponseWriter, r *http.Request, have *session) (*ui.Viewer, error) {
	got, err, _ := s.refreshes.Do(have.Refresh, func() (any, error) {
		// The first request's end must not fail the others.
		return s.Services.PageSignIns.RefreshPageSignIn(context.WithoutCancel(r.Context()), &backplanev1.RefreshPageSignInRequest{RefreshToken: have.Refresh})
	})
	switch {
	case fault.Is(err, codes.Unauthenticated), fault.Is(err, codes.PermissionDenied), fault.Is(err, codes.InvalidArgument):
		forget(w)
		return nil, nil // the sign-in has ended
	case err != nil:
		return nil, err
	}
	resp, ok := got.(*identityv1.SignInResponse)
	if !ok {
		return nil, fault.Unavailable("the sign-in was not refreshed")
	}
	return s.keep(w, resp), nil
}

// keep puts a sign-in into the cookie, and returns who has signed in.
func (s *SignIn) keep(w http.ResponseWriter, resp *identityv1.SignInResponse) *ui.Viewer {
	have := newSession(resp)
	ui.SetCookie(w, sessionCookie, s.seal(have, sessionCookie), time.Unix(have.Ends, 0).Sub(s.Now()))
	return have.viewer()
}

// newSession returns what the cookie has of a sign-in.
func newSession(resp *identityv1.SignInResponse) *session {
	return &session{
		Access: resp.GetAccessToken(), Expires: resp.GetExpireTime().GetSeconds(),
		Refresh: resp.GetRefreshToken(), Ends: resp.GetRefreshExpireTime().GetSeconds(),
		User: resp.GetUser().GetName(), Name: resp.GetUser().GetUsername(), Roles: resp.GetUser().GetRoles(),
	}
}

// forget takes the cookie away.
func forget(w http.ResponseWriter) { ui.SetCookie(w, sessionCookie, "", -1) }

// read returns what the cookie of a request has, or nil for none that is ours.
func (s *SignIn) read(r *http.Request) *session {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil
	}
	have := &session{}
	if !s.open(c.Value, sessionCookie, have) || have.Ends <= s.Now().Unix() {
		return nil
	}
	return have
}

func (h *session) viewer() *ui.Viewer {
	return &ui.Viewer{Name: h.User, Username: h.Name, Roles: h.Roles, Token: h.Access}
}

// seal returns a value as text that only portals of this installation read. It cannot be
// used for another purpose.
func (s *SignIn) seal(value any, purpose string) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // impossible: the values are structs of texts and numbers
	}
	return base64.RawURLEncoding.EncodeToString(s.Key.Seal(text, []byte(purpose)))
}

// open reads what seal has made, and reports whether it has.
func (s *SignIn) open(text, purpose string, into any) bool {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return false
	}
	plain, err := s.Key.Open(sealed, []byte(purpose))
	return err == nil && json.Unmarshal(plain, into) == nil
}
