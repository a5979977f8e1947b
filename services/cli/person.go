package cli

import (
	"context"
	"strings"

	subscriptionv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/subscription/v1"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// personCmds are the commands about people.
type personCmds struct {
	Create   personCreateCmd   `cmd:"" help:"Add a person."`
	List     personListCmd     `cmd:"" help:"List people."`
	Get      personGetCmd      `cmd:"" help:"Show a person."`
	Roles    personRolesCmd    `cmd:"" help:"Give a person other roles."`
	Password personPasswordCmd `cmd:"" help:"Change a password."`
	Delete   personDeleteCmd   `cmd:"" help:"Remove a person with all that is theirs; live sessions of it end."`
}

// roleValues turns roles as people write them into those of the protocol.
func roleValues(names []string) ([]subscriptionv1.Person_Role, error) {
	var values []subscriptionv1.Person_Role
	for _, name := range names {
		value, ok := subscriptionv1.Person_Role_value["ROLE_"+strings.ToUpper(name)]
		if !ok || value == 0 {
			return nil, usagef("--role: %q is not admin, creator, publisher or subscriber", name)
		}
		values = append(values, subscriptionv1.Person_Role(value))
	}
	return values, nil
}

func (s *shell) printPerson(p *subscriptionv1.Person, address string) error {
	fields := [][2]string{{"Person", p.GetUsername()}, {"Name", p.GetName()}, {"Roles", roles(p)}}
	if p.GetDisplayName() != "" {
		fields = append(fields, [2]string{"Called", p.GetDisplayName()})
	}
	if address != "" {
		fields = append(fields, [2]string{"Server", address})
	}
	return s.printFields(fields...)
}

// personCreateCmd adds a person.
type personCreateCmd struct {
	Username     string   `arg:"" help:"Name to sign in with."`
	Role         []string `required:"" placeholder:"ROLE" help:"admin, creator, publisher or subscriber; can be repeated."`
	DisplayName  string   `placeholder:"NAME" help:"Name for others to read."`
	PasswordFile string   `placeholder:"FILE" help:"File with the password. Default: it is asked for, or read from the input where that is no terminal."`
	NoPassword   bool     `help:"Give no password yet: the person cannot sign in until an administrator gives one."`
}

// Run adds the person.
func (c *personCreateCmd) Run(ctx context.Context, s *shell) error {
	roles, err := roleValues(c.Role)
	if err != nil {
		return err
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	var password string
	if !c.NoPassword {
		if password, err = s.secret(ctx, "--password-file", c.PasswordFile, "Password of "+c.Username+": "); err != nil {
			return err
		}
	}
	p, err := cl.people.CreatePerson(ctx, &subscriptionv1.CreatePersonRequest{
		Person:   &subscriptionv1.Person{Username: c.Username, DisplayName: c.DisplayName, Roles: roles},
		Password: password,
	})
	if err != nil {
		return err
	}
	if s.json() {
		return s.printJSON(p)
	}
	return s.printPerson(p, "")
}

// personListCmd lists people.
type personListCmd struct{}

// Run lists the people.
func (c *personListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	list := &subscriptionv1.ListPeopleResponse{}
	err = everyPage(func(token string) (string, error) {
		page, err := cl.people.ListPeople(ctx, &subscriptionv1.ListPeopleRequest{PageSize: pageSize, PageToken: token})
		list.People = append(list.People, page.GetPeople()...)
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	if s.json() {
		return s.printJSON(list)
	}
	var rows [][]string
	for _, p := range list.GetPeople() {
		rows = append(rows, []string{p.GetUsername(), p.GetDisplayName(), roles(p), p.GetName()})
	}
	return s.printTable([]string{"PERSON", "CALLED", "ROLES", "NAME"}, rows)
}

// personGetCmd shows a person.
type personGetCmd struct {
	Username string `arg:"" help:"The person's username, people/…, or me."`
}

// Run shows the person.
func (c *personGetCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	p, err := cl.person(ctx, c.Username)
	if err != nil {
		return err
	}
	if s.json() {
		return s.printJSON(p)
	}
	return s.printPerson(p, "")
}

// personRolesCmd changes a person's roles.
type personRolesCmd struct {
	Username string   `arg:"" help:"The person's username, or people/…."`
	Role     []string `required:"" placeholder:"ROLE" help:"admin, creator, publisher or subscriber, instead of those now; can be repeated."`
}

// Run changes the roles.
func (c *personRolesCmd) Run(ctx context.Context, s *shell) error {
	roles, err := roleValues(c.Role)
	if err != nil {
		return err
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	p, err := cl.person(ctx, c.Username)
	if err != nil {
		return err
	}
	p, err = cl.people.UpdatePerson(ctx, &subscriptionv1.UpdatePersonRequest{
		Person:     &subscriptionv1.Person{Name: p.GetName(), Roles: roles, Etag: p.GetEtag()},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"roles"}},
	})
	if err != nil {
		return err
	}
	if s.json() {
		return s.printJSON(p)
	}
	return s.printPerson(p, "")
}

// personPasswordCmd changes a password.
type personPasswordCmd struct {
	Username        string `arg:"" default:"me" help:"The person's username (${default})."`
	CurrentFile     string `placeholder:"FILE" help:"File with the current password; needed for one's own. Default: it is asked for."`
	NewPasswordFile string `name:"new-file" placeholder:"FILE" help:"File with the new password. Default: it is asked for."`
}

// Run changes the password.
func (c *personPasswordCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	p, err := cl.person(ctx, c.Username)
	if err != nil {
		return err
	}
	me, err := cl.person(ctx, "me")
	if err != nil {
		return err
	}
	var current string
	if p.GetName() == me.GetName() {
		if current, err = s.secret(ctx, "--current-file", c.CurrentFile, "Current password: "); err != nil {
			return err
		}
	}
	next, err := s.secret(ctx, "--new-file", c.NewPasswordFile, "New password of "+p.GetUsername()+": ")
	if err != nil {
		return err
	}
	if _, err := cl.people.ChangePassword(ctx, &subscriptionv1.ChangePasswordRequest{
		Name: p.GetName(), CurrentPassword: current, NewPassword: next,
	}); err != nil {
		return err
	}
	s.note("The password of %s is changed; other sign-ins have ended.", p.GetUsername())
	return nil
}

// personDeleteCmd removes a person.
type personDeleteCmd struct {
	Username string `arg:"" help:"The person's username, or people/…."`
}

// Run removes the person.
func (c *personDeleteCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	p, err := cl.person(ctx, c.Username)
	if err != nil {
		return err
	}
	if _, err := cl.people.DeletePerson(ctx, &subscriptionv1.DeletePersonRequest{Name: p.GetName(), Etag: p.GetEtag()}); err != nil {
		return err
	}
	return s.deleted(p.GetName(), p.GetUsername())
}
