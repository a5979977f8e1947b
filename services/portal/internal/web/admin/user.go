package admin

import (
	"net/url"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/kit/fault"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// userPath is the address of a user, users/{user}.
func userPath(name string) string { return "/admin/" + name }

// userCrumbs lead to the list of users, and to one.
func userCrumbs(users ...*identityv1.User) []ui.Link {
	crumbs := []ui.Link{{Text: "Users", To: usersPath}}
	for _, u := range users {
		crumbs = append(crumbs, ui.Link{Text: u.GetUsername(), To: userPath(u.GetName())})
	}
	return crumbs
}

// roleOptions are the roles that users can have.
func roleOptions() []ui.Option {
	return []ui.Option{
		{Value: "ADMIN", Text: "Admin", Hint: "everything"},
		{Value: "CREATOR", Text: "Creator", Hint: "creates and changes APIs"},
		{Value: "PUBLISHER", Text: "Publisher", Hint: "publishes versions"},
		{Value: "SUBSCRIBER", Text: "Subscriber", Hint: "has applications that connect"},
	}
}

// roleValue is a role as forms and filters have it.
func roleValue(r ui.Role) string { return strings.TrimPrefix(r.String(), "ROLE_") }

// roleValues are a user's.
func roleValues(u *identityv1.User) []string {
	var all []string
	for _, r := range u.GetRoles() {
		all = append(all, roleValue(r))
	}
	return all
}

// roleWords lists a user's roles.
func roleWords(u *identityv1.User) string {
	var all []string
	for _, r := range u.GetRoles() {
		all = append(all, ui.RoleName(r))
	}
	return strings.Join(all, ", ")
}

// chosenRoles are those of a form. What is no role is the unspecified one, which the
// service refuses.
func chosenRoles(form *ui.Form) []ui.Role {
	var all []ui.Role
	for _, value := range form.All("roles") {
		all = append(all, ui.Role(identityv1.User_Role_value["ROLE_"+value]))
	}
	return all
}

// userBadge says whether a user may come in.
func userBadge(u *identityv1.User) ui.Badge {
	switch u.GetState() {
	case identityv1.User_STATE_SUSPENDED:
		return ui.Badge{Kind: "danger", Text: "Suspended"}
	case identityv1.User_STATE_PENDING:
		return ui.Badge{Kind: "warn", Text: "Waits for approval"}
	}
	return ui.Badge{Kind: "ok", Text: "Active"}
}

// get reads the user that a request's path names.
func (p *pages) get(r *ui.Request) (*identityv1.User, error) {
	u, err := p.Users.GetUser(r.Context(), &identityv1.GetUserRequest{Name: pathUser(r)})
	return u, ui.Absent(err)
}

// pathUser is the name of the user that a request's path names.
func pathUser(r *ui.Request) string { return "users/" + r.PathValue("user") }

// userView is one user.
type userView struct {
	userRow
	SignIns []*identityv1.SignIn
	More    string
}

// Sessions is the address of the live sessions of the user's applications.
func (v userView) Sessions() string { return ui.Filtered(sessionsPath, "user", v.GetUsername()) }

// Security is the address of the security events of the user.
func (v userView) Security() string { return ui.Filtered(securityPath, "user", v.GetUsername()) }

// Waits and Suspended say what can be done with the user.
func (v userView) Waits() bool     { return v.GetState() == identityv1.User_STATE_PENDING }
func (v userView) Suspended() bool { return v.GetState() == identityv1.User_STATE_SUSPENDED }

// user shows a user.
func (p *pages) user() ui.Route {
	t := ui.Parse[userView](files, "templates/user.html")
	return ui.Page(usersPath+"/{user}", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		u, err := p.get(r)
		if err != nil {
			return nil, err
		}
		list, err := p.SignIns.ListSignIns(r.Context(), &identityv1.ListSignInsRequest{Parent: u.GetName(), PageToken: r.FormValue("page")})
		if err != nil {
			return nil, err
		}
		v := userView{userRow: row(u), SignIns: list.GetSignIns(), More: r.Next(list.GetNextPageToken())}
		return t.Page(ui.Head{Title: u.GetUsername(), Sub: u.GetDisplayName(), Badges: []ui.Badge{v.Badge}, Crumbs: userCrumbs()}, v), nil
	})
}

// editUser changes a user's names and roles.
func (p *pages) editUser() ui.Route {
	t := ui.Parse[formView](files, "templates/form.html")
	return ui.FormPage(usersPath+"/{user}/edit", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		u, err := p.get(r)
		if err != nil {
			return nil, err
		}
		form := ui.NewForm(r,
			ui.Field{Name: "username", Label: "Username", Required: true, Max: 64, Value: u.GetUsername(), Hint: "What the user signs in with.", Paths: []string{"user.username"}},
			ui.Field{Name: "display_name", Label: "Display name", Max: 100, Value: u.GetDisplayName(), Paths: []string{"user.display_name"}},
			ui.Field{Name: "roles", Label: "Roles", Kind: "choices", Required: true, Options: roleOptions(), Values: roleValues(u), Paths: []string{"user.roles"}},
			ui.Field{Name: "etag", Kind: "hidden", Value: u.GetEtag()},
		)
		if r.Submitted() && form.Complete() {
			_, err := p.Users.UpdateUser(r.Context(), &identityv1.UpdateUserRequest{
				User: &identityv1.User{
					Name: u.GetName(), Username: form.Get("username"), DisplayName: form.Get("display_name"), Roles: chosenRoles(form), Etag: form.Get("etag"),
				},
				UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"username", "display_name", "roles"}},
			})
			if err == nil {
				return ui.Done(userPath(u.GetName()), "%s is changed.", form.Get("username")), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
			if form.Conflict {
				form.Compare(u.GetEtag(), url.Values{"username": {u.GetUsername()}, "display_name": {u.GetDisplayName()}, "roles": roleValues(u)})
			}
		}
		path := userPath(u.GetName())
		return t.Page(ui.Head{Title: "Change " + u.GetUsername(), Here: "Change", Status: form.Status(), Crumbs: userCrumbs(u)},
			formView{Form: form, Text: []string{"Other roles end the user's access tokens within a second; pages go on with the new ones."}, Button: "Save", To: path + "/edit", Back: path}), nil
	})
}

// setPassword gives a user another password.
func (p *pages) setPassword() ui.Route {
	t := ui.Parse[formView](files, "templates/form.html")
	return ui.FormPage(usersPath+"/{user}/password", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		u, err := p.get(r)
		if err != nil {
			return nil, err
		}
		if u.GetName() == r.Viewer.Name {
			return ui.Redirect{To: "/account/password"}, nil // which asks for the current one
		}
		form := ui.NewForm(r, ui.Field{Name: "new_password", Label: "New password", Kind: "password", Required: true, Max: 128, Autocomplete: "new-password", Focus: true,
			Hint: "12 to 128 characters, not one that is guessed first.", Paths: []string{"new_password"}})
		if r.Submitted() && form.Complete() {
			_, err := p.Users.ChangePassword(r.Context(), &identityv1.ChangePasswordRequest{Name: u.GetName(), NewPassword: form.Get("new_password")})
			if err == nil {
				return ui.Done(userPath(u.GetName()), "%s has a new password, and must sign in with it.", u.GetUsername()), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
		}
		path := userPath(u.GetName())
		return t.Page(ui.Head{Title: "Set the password of " + u.GetUsername(), Here: "Set password", Status: form.Status(), Crumbs: userCrumbs(u)},
			formView{Form: form, Text: []string{"All sign-ins of the user end with it, and what wrong passwords have locked is open again."}, Button: "Set password", To: path + "/password", Back: path}), nil
	})
}

// act is an action on a user that leads back, and says what was done or why not.
func (p *pages) act(verb, done string, do func(r *ui.Request, name, etag string) (*identityv1.User, error)) ui.Route {
	return ui.Action(usersPath+"/{user}/"+verb, roles(), func(r *ui.Request) (ui.Answer, error) {
		u, err := do(r, pathUser(r), r.PostForm.Get("etag"))
		if err != nil {
			return nil, ui.Absent(err)
		}
		to := userPath(u.GetName())
		if r.PostForm.Get("from") == "list" {
			to = usersPath
		}
		return ui.Done(to, "%s %s.", u.GetUsername(), done), nil
	})
}

// approve lets in who has signed up.
func (p *pages) approve() ui.Route {
	return p.act("approve", "is approved and can sign in", func(r *ui.Request, name, etag string) (*identityv1.User, error) {
		return p.Users.ApproveUser(r.Context(), &identityv1.ApproveUserRequest{Name: name, Etag: etag})
	})
}

// restore lets in who was suspended.
func (p *pages) restore() ui.Route {
	return p.act("restore", "is restored and can sign in again", func(r *ui.Request, name, etag string) (*identityv1.User, error) {
		return p.Users.RestoreUser(r.Context(), &identityv1.RestoreUserRequest{Name: name, Etag: etag})
	})
}

// unlock lifts what failed sign-ins have locked.
func (p *pages) unlock() ui.Route {
	return p.act("unlock", "is unlocked", func(r *ui.Request, name, _ string) (*identityv1.User, error) {
		return p.Users.UnlockUser(r.Context(), &identityv1.UnlockUserRequest{Name: name})
	})
}

// suspend keeps a user out, after a page that says what ends.
func (p *pages) suspend() ui.Route {
	return p.ending("suspend", "Suspend", "is suspended", "Within a second the user's sign-ins end, and live sessions of the user's applications end with code 4006. APIs of the user go on.",
		func(r *ui.Request, name, etag string) error {
			_, err := p.Users.SuspendUser(r.Context(), &identityv1.SuspendUserRequest{Name: name, Etag: etag})
			return err
		})
}

// deleteUser deletes a user, after a page that says what ends.
func (p *pages) deleteUser() ui.Route {
	return p.ending("delete", "Delete", "is deleted", "The user's applications, keys and subscriptions are deleted too; live sessions of these end with code 4006. APIs of the user stay, and administrators change them. This cannot be undone.",
		func(r *ui.Request, name, etag string) error {
			_, err := p.Users.DeleteUser(r.Context(), &identityv1.DeleteUserRequest{Name: name, Etag: etag})
			return err
		})
}

// ending is a page that asks before something ends for a user, and then does it.
func (p *pages) ending(verb, button, done, text string, do func(r *ui.Request, name, etag string) error) ui.Route {
	t := ui.Parse[confirmView](files, "templates/confirm.html")
	return ui.FormPage(usersPath+"/{user}/"+verb, roles(), t, func(r *ui.Request) (ui.Answer, error) {
		u, err := p.get(r)
		if err != nil {
			return nil, err
		}
		path := userPath(u.GetName())
		if r.Submitted() {
			err := do(r, u.GetName(), r.PostForm.Get("etag"))
			to := path
			if verb == "delete" {
				to = usersPath
			}
			if err == nil {
				return ui.Done(to, "%s %s.", u.GetUsername(), done), nil
			}
			return nil, err
		}
		sessions, err := p.AllLiveSessions(r, `user = "`+u.GetName()+`"`)
		if err != nil {
			return nil, err
		}
		words := []string{text}
		if u.GetName() == r.Viewer.Name {
			words = append(words, "This user is you: you are signed out with it.")
		}
		return t.Page(ui.Head{Title: button + " " + u.GetUsername() + "?", Here: button, Crumbs: userCrumbs(u)}, confirmView{Confirm: ui.Confirm{
			Text: words, Sessions: sessions, Button: button, To: path + "/" + verb, Back: path,
			Fields: []*ui.Field{{Name: "etag", Kind: "hidden", Value: u.GetEtag()}},
		}}), nil
	})
}

// endSignIn ends one of a user's sign-ins.
func (p *pages) endSignIn() ui.Route {
	return ui.Action(usersPath+"/{user}/sign-ins/{id}/end", roles(), func(r *ui.Request) (ui.Answer, error) {
		_, err := p.SignIns.DeleteSignIn(r.Context(), &identityv1.DeleteSignInRequest{Name: pathUser(r) + "/signIns/" + r.PathValue("id")})
		if err != nil && !fault.Is(err, codes.NotFound) { // it may have ended by itself
			return nil, ui.Absent(err)
		}
		return ui.Done(userPath(pathUser(r)), "That sign-in has ended."), nil
	})
}
