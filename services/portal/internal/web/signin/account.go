package signin

import (
	"net/http"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// accountView is what the page of one's own account shows.
type accountView struct {
	User    *identityv1.User
	Roles   []string
	Theme   *ui.Field
	SignIns []*identityv1.SignIn
	More    string
}

// me names the caller in requests.
const me = "users/me"

// account shows who one is, and one's sign-ins.
func (s *SignIn) account() ui.Route {
	t := ui.Parse[accountView](files, "templates/account.html")
	return ui.Page("/account", nil, t, func(r *ui.Request) (ui.Answer, error) {
		user, err := s.Services.Users.GetUser(r.Context(), &identityv1.GetUserRequest{Name: me})
		if err != nil {
			return nil, err
		}
		list, err := s.Services.SignIns.ListSignIns(r.Context(), &identityv1.ListSignInsRequest{Parent: me, PageToken: r.FormValue("page")})
		if err != nil {
			return nil, err
		}
		v := accountView{
			User: user, SignIns: list.GetSignIns(), More: r.Next(list.GetNextPageToken()),
			Theme: &ui.Field{Name: "theme", Label: "Theme", Kind: "radio", Options: ui.Themes(), Value: ui.Theme(r.Request)},
		}
		for _, role := range user.GetRoles() {
			v.Roles = append(v.Roles, ui.RoleName(role))
		}
		return t.Page(ui.Head{Title: "Account", Sub: "Who you are here, and where you are signed in."}, v), nil
	})
}

// passwordView is what the page of a new password shows.
type passwordView struct{ Form *ui.Form }

// password changes one's own password.
func (s *SignIn) password() ui.Route {
	t := ui.Parse[passwordView](files, "templates/password.html")
	return ui.FormPage("/account/password", nil, t, func(r *ui.Request) (ui.Answer, error) {
		form := ui.NewForm(r,
			ui.Field{Name: "current_password", Label: "Current password", Kind: "password", Required: true, Max: 256, Autocomplete: "current-password", Focus: true, Paths: []string{"current_password"}},
			ui.Field{Name: "new_password", Label: "New password", Kind: "password", Required: true, Max: 128, Autocomplete: "new-password",
				Hint: "12 to 128 characters, not one that is guessed first.", Paths: []string{"new_password"}},
		)
		if r.Submitted() && form.Complete() {
			_, err := s.Services.Users.ChangePassword(r.Context(), &identityv1.ChangePasswordRequest{
				Name: me, CurrentPassword: form.Get("current_password"), NewPassword: form.Get("new_password"),
			})
			if err == nil {
				return ui.Done("/account", "Your password is changed, and your other sign-ins have ended."), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
		}
		return t.Page(ui.Head{
			Title: "Change password", Sub: "All your other sign-ins end with it.", Status: form.Status(),
			Crumbs: []ui.Link{{Text: "Account", To: "/account"}},
		}, passwordView{Form: form}), nil
	})
}

// end ends one of one's own sign-ins.
func (s *SignIn) end() ui.Route {
	return ui.Action("/account/sign-ins/{id}/end", nil, func(r *ui.Request) (ui.Answer, error) {
		name := me + "/signIns/" + r.PathValue("id")
		got, err := s.Services.SignIns.GetSignIn(r.Context(), &identityv1.GetSignInRequest{Name: name})
		if err != nil {
			return nil, err
		}
		if _, err := s.Services.SignIns.DeleteSignIn(r.Context(), &identityv1.DeleteSignInRequest{Name: name}); err != nil {
			return nil, err
		}
		if got.GetCurrent() {
			return ui.With(ui.Done(signInPath, "You are signed out."), func(w http.ResponseWriter) { forget(w) }), nil
		}
		return ui.Done("/account", "That sign-in has ended."), nil
	})
}
