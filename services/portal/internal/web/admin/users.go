package admin

import (
	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"github.com/tidegatehq/tidegate/services/portal/internal/web/ui"
)

// usersPath is the address of the list of users.
const usersPath = "/admin/users"

// pending is the filter for those who have signed up and wait.
const pending = `state = "PENDING"`

// usersView is the list of users.
type usersView struct {
	Filters *ui.Filters
	// Pending are those who wait for approval, on the first page of the whole list.
	Pending []userRow
	// Waiting says that more wait.
	Waiting bool
	Users   []userRow
	More    string
	Empty   ui.Empty
}

// userRow is a user in a list.
type userRow struct {
	*identityv1.User
	Path, Words string
	Badge       ui.Badge
}

// row returns a user as lists show it.
func row(u *identityv1.User) userRow {
	return userRow{User: u, Path: userPath(u.GetName()), Words: roleWords(u), Badge: userBadge(u)}
}

// users lists users, first those who wait for approval.
func (p *pages) users() ui.Route {
	t := ui.Parse[usersView](files, "templates/users.html")
	return ui.Page(usersPath, roles(), t, func(r *ui.Request) (ui.Answer, error) {
		v := usersView{Filters: userFilters(r)}
		list, err := p.Users.ListUsers(r.Context(), &identityv1.ListUsersRequest{
			Filter: v.Filters.Terms("state", "role"), Query: v.Filters.Get("query"), OrderBy: v.Filters.Get("order_by"), PageToken: r.FormValue("page"),
		})
		if err != nil {
			if err := v.Filters.Explain(err); err != nil {
				return nil, err
			}
		}
		for _, u := range list.GetUsers() {
			v.Users = append(v.Users, row(u))
		}
		v.More = r.Next(list.GetNextPageToken())
		v.Empty = ui.Empty{Title: "Nobody found", Text: "No user has all of this.", Action: &ui.Link{Text: "Show all users", To: usersPath}}
		if !v.Filters.Any() && r.FormValue("page") == "" {
			waiting, err := p.Users.ListUsers(r.Context(), &identityv1.ListUsersRequest{Filter: pending})
			if err != nil {
				return nil, err
			}
			for _, u := range waiting.GetUsers() {
				v.Pending = append(v.Pending, row(u))
			}
			v.Waiting = waiting.GetNextPageToken() != ""
		}
		h := head("Users", "Users", "Who can sign in, and what they may do.")
		h.Status = v.Filters.Status()
		return t.Page(h, v), nil
	})
}

// userFilters restrict the list of users.
func userFilters(r *ui.Request) *ui.Filters {
	states := []ui.Option{{Value: "", Text: "All"}, {Value: "ACTIVE", Text: "Active"}, {Value: "SUSPENDED", Text: "Suspended"}, {Value: "PENDING", Text: "Waiting for approval"}}
	byRole := []ui.Option{{Value: "", Text: "All"}}
	for _, o := range roleOptions() {
		byRole = append(byRole, ui.Option{Value: o.Value, Text: o.Text})
	}
	orders := []ui.Option{{Value: "", Text: "Oldest first"}, {Value: "create_time desc", Text: "Newest first"}, {Value: "username", Text: "Username"}, {Value: "username desc", Text: "Username, from Z"}}
	return ui.NewFilters(r,
		ui.Field{Name: "query", Label: "Name", Kind: "search", Max: 100, Paths: []string{"query"}},
		ui.Field{Name: "state", Label: "State", Kind: "select", Options: states},
		ui.Field{Name: "role", Label: "Role", Kind: "select", Options: byRole},
		ui.Field{Name: "order_by", Label: "Order", Kind: "select", Options: orders, Paths: []string{"order_by"}},
	)
}

// formView is a page that is one form.
type formView struct {
	Form *ui.Form
	// Text says before the form what happens.
	Text []string
	// Button sends it to To; Back leads away.
	Button, To, Back string
}

// newUser adds a user.
func (p *pages) newUser() ui.Route {
	t := ui.Parse[formView](files, "templates/form.html")
	return ui.FormPage(usersPath+"/new", roles(), t, func(r *ui.Request) (ui.Answer, error) {
		form := ui.NewForm(r,
			ui.Field{Name: "username", Label: "Username", Required: true, Max: 64, Focus: !r.Submitted(), Hint: "What the user signs in with.", Paths: []string{"user.username"}},
			ui.Field{Name: "display_name", Label: "Display name", Max: 100, Hint: "For others to read. May be empty.", Paths: []string{"user.display_name"}},
			ui.Field{Name: "roles", Label: "Roles", Kind: "choices", Required: true, Options: roleOptions(), Paths: []string{"user.roles"}},
			ui.Field{Name: "password", Label: "Password", Kind: "password", Max: 128, Autocomplete: "new-password",
				Hint: "12 to 128 characters. Empty for none yet: the user cannot sign in until you set one.", Paths: []string{"password"}},
			ui.RequestID(),
		)
		if r.Submitted() && form.Complete() {
			u, err := p.Users.CreateUser(r.Context(), &identityv1.CreateUserRequest{
				User:     &identityv1.User{Username: form.Get("username"), DisplayName: form.Get("display_name"), Roles: chosenRoles(form)},
				Password: form.Get("password"), RequestId: form.Get("request_id"),
			})
			if err == nil {
				return ui.Done(userPath(u.GetName()), "%s is added.", u.GetUsername()), nil
			}
			if err := form.Explain(err); err != nil {
				return nil, err
			}
		}
		h := ui.Head{Title: "Add user", Status: form.Status(), Crumbs: userCrumbs()}
		return t.Page(h, formView{Form: form, Button: "Add user", To: usersPath + "/new", Back: usersPath}), nil
	})
}
