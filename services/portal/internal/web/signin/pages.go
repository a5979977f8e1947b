package signin

import (
	"embed"
	"net/http"
	"net/url"
	"time"

	"google.golang.org/grpc/codes"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

//go:embed templates
var files embed.FS

// Routes returns the pages.
func (s *SignIn) Routes() []ui.Route {
	return []ui.Route{
		{Method: "GET POST", Pattern: signInPath, Public: true, Template: s.form, Handler: s.signIn},
		{Method: http.MethodPost, Pattern: "/signout", Public: true, Handler: s.signOut},
		{Method: http.MethodPost, Pattern: "/theme", Public: true, Handler: setTheme},
		s.signUp(), s.account(), s.password(), s.end(),
	}
}

const signInPath = "/signin"

// signInView is what the page of signing in shows.
type signInView struct {
	Form *ui.Form
	// Ended says that a sign-in has ended meanwhile, Kept that the entries of a form will
	// be there again.
	Ended, Kept bool
	// FirstPassword says where the first password is, or is empty.
	FirstPassword string
	// SignUp says that whoever has no account may make one.
	SignUp bool
}

// entries are those of a form that met the end of a sign-in. They are for the user of that
// sign-in, or, where the browser has forgotten it too, for whoever sits there.
type entries struct {
	User   string     `json:"u"`
	Path   string     `json:"p"`
	Values url.Values `json:"v"`
	Until  int64      `json:"t"`
}

// Purposes and bounds of what is kept while a user signs in again.
const (
	keptPurpose = "tidegate form"
	keptFor     = time.Hour
)

// Ask sends those who want to see a page to the page of signing in, and shows that page
// in the answer to a form, with the entries of the form in it.
func (s *SignIn) Ask(r *ui.Request, keep bool) (ui.Answer, error) {
	if !r.Submitted() {
		to := url.Values{"to": {r.URL.RequestURI()}}
		if to.Get("to") == "/" {
			return ui.Redirect{To: signInPath}, nil
		}
		return ui.Redirect{To: signInPath + "?" + to.Encode()}, nil
	}
	form := newSignInForm(url.Values{})
	form.Set("to", r.URL.RequestURI())
	if !keep {
		form.Set("to", refererPath(r.Request))
	}
	view := signInView{Form: form, Ended: true}
	if keep {
		values := url.Values{}
		for name, v := range r.PostForm {
			if !secretEntry(name) {
				values[name] = v
			}
		}
		kept := entries{Path: r.URL.RequestURI(), Values: values, Until: s.Now().Add(keptFor).Unix()}
		if have := s.read(r.Request); have != nil {
			kept.User = have.User
			form.Set("username", have.Name)
		}
		view.Kept = true
		form.Set("kept", s.seal(kept, keptPurpose))
	}
	return s.form.Page(ui.Head{Title: "Sign in", Alone: true, Status: http.StatusUnauthorized}, view), nil
}

// refererPath is the path of the page that a form was on, as the browser says.
func refererPath(r *http.Request) string {
	u, err := url.Parse(r.Referer())
	if err != nil || u.Host != r.Host {
		return "/"
	}
	return ui.LocalPath(u.RequestURI())
}

// secretEntry reports whether an entry is a password, which is never kept.
func secretEntry(name string) bool {
	return name == "password" || name == "current_password" || name == "new_password" || name == "secret"
}

// newSignInForm is the form of signing in; typed are its entries.
func newSignInForm(typed url.Values) *ui.Form {
	form := ui.NewForm(nil,
		ui.Field{Name: "username", Label: "Username", Required: true, Max: 64, Autocomplete: "username", Focus: true, Paths: []string{"username"}},
		ui.Field{Name: "password", Label: "Password", Kind: "password", Required: true, Max: 256, Autocomplete: "current-password", Paths: []string{"password"}},
		ui.Field{Name: "to", Kind: "hidden"}, ui.Field{Name: "kept", Kind: "hidden"},
	)
	for _, f := range form.Fields {
		f.Value = typed.Get(f.Name)
	}
	return form
}

// signIn signs a user in, and leads back to where the user was.
func (s *SignIn) signIn(r *ui.Request) (ui.Answer, error) {
	typed := r.URL.Query()
	typed.Del("username")
	typed.Del("password")
	typed.Del("kept")
	if r.Submitted() {
		typed = r.PostForm
	}
	form := newSignInForm(typed)
	form.Set("to", ui.LocalPath(form.Get("to")))
	if !r.Submitted() && r.Viewer != nil && form.Get("to") == "/" {
		return ui.Redirect{To: "/"}, nil // a page that asked has had its reason
	}
	if r.Submitted() && form.Complete() {
		resp, err := s.Services.SignIns.SignIn(r.Context(), &identityv1.SignInRequest{
			Username: form.Get("username"), Password: form.Get("password"), DeviceKey: s.deviceKey(r.Request),
		})
		if err == nil {
			return s.signedIn(resp, form), nil
		}
		if fault.Is(err, codes.Unauthenticated) {
			err = fault.Precondition("that name and password do not go together")
		}
		if err := form.Explain(err); err != nil {
			return nil, err
		}
	}
	policy, err := s.Services.Users.GetSignUpPolicy(r.Context(), &identityv1.GetSignUpPolicyRequest{})
	view := signInView{Form: form, SignUp: err == nil && offered(policy)} // what is not known is not offered
	if s.FirstPassword != nil {
		view.FirstPassword = s.FirstPassword(r.Context())
	}
	return s.form.Page(ui.Head{Title: "Sign in", Alone: true, Status: form.Status()}, view), nil
}

// signOut ends the sign-in.
func (s *SignIn) signOut(r *ui.Request) (ui.Answer, error) {
	if have := s.read(r.Request); have != nil {
		if _, err := s.Services.SignIns.SignOut(r.Context(), &identityv1.SignOutRequest{RefreshToken: have.Refresh}); err != nil {
			return nil, err
		}
	}
	return ui.With(ui.Done(signInPath, "You are signed out."), func(w http.ResponseWriter) {
		forget(w)
		w.Header().Set("Clear-Site-Data", `"cache"`) // what the browser would show again
	}), nil
}

// signedIn keeps the sign-in, and leads back: to the page, with the entries of its form
// where there are some of this user.
func (s *SignIn) signedIn(resp *identityv1.SignInResponse, form *ui.Form) ui.Answer {
	var back ui.Answer = ui.Redirect{To: form.Get("to")}
	var kept entries
	if s.open(form.Get("kept"), keptPurpose, &kept) && (kept.User == "" || kept.User == resp.GetUser().GetName()) && s.Now().Unix() < kept.Until {
		back = ui.Resume{Path: kept.Path, Entries: kept.Values, Viewer: newSession(resp).viewer()}
	}
	return ui.With(back, func(w http.ResponseWriter) {
		s.keep(w, resp)
		if key := resp.GetDeviceKey(); key != "" {
			ui.SetCookie(w, deviceCookie, s.seal(key, deviceCookie), deviceKeeps)
		}
	})
}

// deviceKey returns the key of this device, or "".
func (s *SignIn) deviceKey(r *http.Request) string {
	var key string
	if c, err := r.Cookie(deviceCookie); err == nil {
		s.open(c.Value, deviceCookie, &key)
	}
	return key
}

// setTheme keeps the theme, and leads back.
func setTheme(r *ui.Request) (ui.Answer, error) {
	return ui.With(ui.Redirect{To: refererPath(r.Request)}, func(w http.ResponseWriter) {
		ui.SetTheme(w, r.PostForm.Get("theme"))
	}), nil
}
