package cli

import (
	"context"
	"path"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
)

// signInCmds are the commands about sign-ins.
type signInCmds struct {
	List signInListCmd `cmd:"" help:"List the sign-ins of a user."`
	End  signInEndCmd  `cmd:"" help:"End a sign-in, or all of a user but the one that you use."`
}

// signInListCmd lists sign-ins.
type signInListCmd struct {
	Username string `arg:"" default:"me" help:"The user's username, or users/… (${default}). Only administrators see those of others."`
}

// Run lists the sign-ins.
func (c *signInListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	all, err := cl.signInsOf(ctx, c.Username)
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(&identityv1.ListSignInsResponse{SignIns: all})
	}
	var rows [][]string
	for _, in := range all {
		current := ""
		if in.GetCurrent() {
			current = "this one"
		}
		rows = append(rows, []string{
			path.Base(in.GetName()), when(in.GetCreateTime()), when(in.GetRefreshTime()), when(in.GetExpireTime()), in.GetClientAddress(), current,
		})
	}
	return s.printTable([]string{"SIGN-IN", "BEGAN", "REFRESHED", "ENDS", "FROM", ""}, rows)
}

// signInsOf returns the sign-ins of a user.
func (c *client) signInsOf(ctx context.Context, username string) ([]*identityv1.SignIn, error) {
	p, err := c.user(ctx, username)
	if err != nil {
		return nil, err
	}
	var all []*identityv1.SignIn
	err = everyPage(func(token string) (string, error) {
		page, err := c.signIns.ListSignIns(ctx, &identityv1.ListSignInsRequest{Parent: p.GetName(), PageSize: pageSize, PageToken: token})
		all = append(all, page.GetSignIns()...)
		return page.GetNextPageToken(), err
	})
	return all, err
}

// signInEndCmd ends sign-ins.
type signInEndCmd struct {
	SignIn string `arg:"" optional:"" placeholder:"SIGN-IN" help:"The sign-in, as the list has it."`
	User   string `default:"me" placeholder:"USERNAME" help:"Whose it is (${default}). Only administrators end those of others."`
	All    bool   `help:"End all sign-ins of the user but the one that you use."`

	yesFlag `embed:""`
}

// Run ends the sign-ins.
func (c *signInEndCmd) Run(ctx context.Context, s *shell) error {
	if (c.SignIn == "") != c.All {
		return usagef("SIGN-IN or --all: one of them is needed")
	}
	cl, err := s.dial()
	if err != nil {
		return err
	}
	all, err := cl.signInsOf(ctx, c.User)
	if err != nil {
		return err
	}
	var ending []*identityv1.SignIn
	for _, in := range all {
		if c.All && !in.GetCurrent() || !c.All && path.Base(in.GetName()) == path.Base(c.SignIn) {
			ending = append(ending, in)
		}
	}
	if len(ending) == 0 && !c.All {
		return usagef("SIGN-IN: %q is none of the user's sign-ins; tidegate sign-in list shows them", c.SignIn)
	}
	does := "Ends " + called(number(len(ending), nil, "sign-in", "sign-ins"), "no sign-in")
	if err := s.confirm(ctx, c.Yes, does, func() []string { return nil }); err != nil {
		return err
	}
	ended := []string{}
	for _, in := range ending {
		if _, err := cl.signIns.DeleteSignIn(ctx, &identityv1.DeleteSignInRequest{Name: in.GetName()}); err != nil {
			return err
		}
		ended = append(ended, in.GetName())
	}
	if s.whole() {
		return s.printValue(map[string][]string{"ended": ended})
	}
	fields := make([][2]string, 0, len(ended))
	for _, name := range ended {
		fields = append(fields, [2]string{"Ended", path.Base(name)})
	}
	return s.printFields(fields...)
}
