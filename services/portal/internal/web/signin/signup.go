package signin

import (
	"net/http"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// signUpView is what the page of signing up shows.
type signUpView struct {
	Form *ui.Form
	// Approval says that an administrator must approve.
	Approval bool
}

// offered reports whether anybody may sign up.
func offered(p *identityv1.SignUpPolicy) bool {
	return p.GetPolicy() == identityv1.SignUpPolicy_POLICY_OPEN || approves(p)
}

func approves(p *identityv1.SignUpPolicy) bool {
	return p.GetPolicy() == identityv1.SignUpPolicy_POLICY_APPROVAL
}

// signUp adds a user who has none here, where anybody may. Where nobody may there is no
// such page.
func (s *SignIn) signUp() ui.Route {
	t := ui.Parse[signUpView](files, "templates/signup.html")
	handler := func(r *ui.Request) (ui.Answer, error) {
		policy, err := s.Services.Users.GetSignUpPolicy(r.Context(), &identityv1.GetSignUpPolicyRequest{})
		switch {
		case err != nil:
			return nil, err
		case !offered(policy):
			return nil, fault.NotFound("administrators add users here: ask one")
		}
		form := ui.NewForm(r,
			ui.Field{Name: "username", Label: "Username", Required: true, Max: 64, Autocomplete: "username", Focus: true,
				Hint: "What you sign in with.", Paths: []string{"username"}},
			ui.Field{Name: "display_name", Label: "Name", Max: 100, Autocomplete: "name", Hint: "For others to read. You need not give one.", Paths: []string{"display_name"}},
			ui.Field{Name: "password", Label: "Password", Kind: "password", Required: true, Max: 128, Autocomplete: "new-password",
				Hint: "12 to 128 characters, not one that is guessed first.", Paths: []string{"password"}},
		)
		if r.Submitted() && form.Complete() {
			_, err := s.Services.Users.SignUp(r.Context(), &identityv1.SignUpRequest{
				Username: form.Get("username"), DisplayName: form.Get("display_name"), Password: form.Get("password"),
			})
			switch {
			case err == nil && approves(policy):
				return ui.Done(signInPath, "You have signed up. You can sign in when an administrator has approved it."), nil
			case err == nil:
				return ui.Done(signInPath, "You have signed up: sign in."), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
		}
		return t.Page(ui.Head{Title: "Sign up", Alone: true, Status: form.Status()}, signUpView{Form: form, Approval: approves(policy)}), nil
	}
	return ui.Route{Method: http.MethodGet + " " + http.MethodPost, Pattern: "/signup", Public: true, Template: t, Handler: handler}
}
