package cli

import (
	"context"
	"errors"
	"strings"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// userCmds are the commands about users.
type userCmds struct {
	Create   userCreateCmd   `cmd:"" help:"Add a user."`
	SignUp   userSignUpCmd   `cmd:"" help:"Sign up as a new user, where the server lets anybody."`
	Policy   userPolicyCmd   `cmd:"" name:"sign-up-policy" help:"Show whether anybody may sign up."`
	Approve  userApproveCmd  `cmd:"" help:"Approve a user who has signed up. To refuse one, delete the user."`
	List     userListCmd     `cmd:"" help:"List users."`
	Get      userGetCmd      `cmd:"" help:"Show a user."`
	Roles    userRolesCmd    `cmd:"" help:"Replace a user's roles."`
	Password userPasswordCmd `cmd:"" help:"Change a password."`
	Suspend  userSuspendCmd  `cmd:"" help:"Suspend a user: sign-ins end, and live sessions of the user's applications."`
	Restore  userRestoreCmd  `cmd:"" help:"Restore a suspended user."`
	Unlock   userUnlockCmd   `cmd:"" help:"Lift what failed sign-ins of a user have locked."`
	Delete   userDeleteCmd   `cmd:"" help:"Delete a user with its applications and subscriptions; their live sessions end."`
}

// roleValues turns roles as users write them into those of the protocol.
func roleValues(names []string) ([]identityv1.User_Role, error) {
	var values []identityv1.User_Role
	for _, name := range names {
		value, ok := identityv1.User_Role_value["ROLE_"+strings.ToUpper(name)]
		if !ok || value == 0 {
			return nil, usagef("--role: %q is not admin, creator, publisher or subscriber", name)
		}
		values = append(values, identityv1.User_Role(value))
	}
	return values, nil
}

func (s *shell) printUser(p *identityv1.User, address string) error {
	fields := [][2]string{{"User", p.GetUsername()}, {"Name", p.GetName()}, {"Roles", roles(p)}}
	if p.GetDisplayName() != "" {
		fields = append(fields, [2]string{"Called", p.GetDisplayName()})
	}
	if p.GetState() != identityv1.User_STATE_ACTIVE {
		fields = append(fields, [2]string{"State", userState(p)})
	}
	if address != "" {
		fields = append(fields, [2]string{"Server", address})
	}
	return s.printFields(append(fields, s.along()...)...)
}

// userCreateCmd adds a user.
type userCreateCmd struct {
	Username     string   `arg:"" help:"Name to sign in with."`
	Role         []string `required:"" placeholder:"ROLE" help:"Role: admin, creator, publisher or subscriber; can be repeated."`
	DisplayName  string   `placeholder:"NAME" help:"Name for others to read."`
	PasswordFile string   `placeholder:"FILE" help:"File with the password. Default: a prompt, or standard input if it is not a terminal."`
	NoPassword   bool     `help:"Set no password: the user cannot sign in until an administrator sets one."`
}

// Run adds the user.
func (c *userCreateCmd) Run(ctx context.Context, s *shell) error {
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
	p, err := cl.users.CreateUser(ctx, &identityv1.CreateUserRequest{
		User:     &identityv1.User{Username: c.Username, DisplayName: c.DisplayName, Roles: roles},
		Password: password,
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(p)
	}
	return s.printUser(p, "")
}

// userSignUpCmd signs up.
type userSignUpCmd struct {
	Username     string `arg:"" help:"Name to sign in with."`
	DisplayName  string `placeholder:"NAME" help:"Name for others to read."`
	PasswordFile string `placeholder:"FILE" help:"File with the password. Default: a prompt, or standard input if it is not a terminal."`
}

// Run signs up.
func (c *userSignUpCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	password, err := s.secret(ctx, "--password-file", c.PasswordFile, "Password for "+c.Username+" at "+cl.address+": ")
	if err != nil {
		return err
	}
	p, err := cl.users.SignUp(ctx, &identityv1.SignUpRequest{Username: c.Username, Password: password, DisplayName: c.DisplayName})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(p)
	}
	if p.GetState() == identityv1.User_STATE_PENDING {
		s.note("An administrator has to approve %s first.", p.GetUsername())
	} else {
		s.note("Sign in with: tidegate login --username %s", p.GetUsername())
	}
	return s.printUser(p, "")
}

// userPolicyCmd shows whether anybody may sign up.
type userPolicyCmd struct{}

// Run asks the server.
func (userPolicyCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	policy, err := cl.users.GetSignUpPolicy(ctx, &identityv1.GetSignUpPolicyRequest{})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(policy)
	}
	return s.printFields([2]string{"Sign-up", policyWords(policy.GetPolicy())})
}

// policyWords says who may sign up.
func policyWords(p identityv1.SignUpPolicy_Policy) string {
	switch p {
	case identityv1.SignUpPolicy_POLICY_OFF:
		return "off: administrators add users"
	case identityv1.SignUpPolicy_POLICY_OPEN:
		return "open: anybody signs up, and is let in at once"
	case identityv1.SignUpPolicy_POLICY_APPROVAL:
		return "approval: anybody signs up, and is let in when an administrator approves"
	}
	return word(p, "POLICY_")
}

// userApproveCmd approves a user who has signed up.
type userApproveCmd struct {
	Username string `arg:"" help:"The user's username, or users/…."`
}

// Run approves the user.
func (c *userApproveCmd) Run(ctx context.Context, s *shell) error {
	return s.changeUser(ctx, c.Username, func(cl *client, p *identityv1.User) (*identityv1.User, error) {
		return cl.users.ApproveUser(ctx, &identityv1.ApproveUserRequest{Name: p.GetName(), Etag: p.GetEtag()})
	})
}

// userListCmd lists users.
type userListCmd struct {
	State string `placeholder:"STATE" help:"Only those who are active, suspended or pending: have signed up and wait for approval."`
	Role  string `placeholder:"ROLE" help:"Only those with this role: admin, creator, publisher or subscriber."`
	Query string `placeholder:"TEXT" help:"Only those with this in the username or display name."`
	Order string `enum:"oldest,newest,username,username-desc" default:"oldest" placeholder:"ORDER" help:"Order: oldest (first), newest, username or username-desc. Default: oldest."`
}

// request returns the request for the list.
func (c *userListCmd) request() *identityv1.ListUsersRequest {
	var terms []string
	if c.State != "" {
		terms = append(terms, filter("state", strings.ToUpper(c.State)))
	}
	if c.Role != "" {
		terms = append(terms, filter("role", strings.ToUpper(c.Role)))
	}
	return &identityv1.ListUsersRequest{PageSize: pageSize, Filter: strings.Join(terms, " AND "), Query: c.Query, OrderBy: orderBy(c.Order)}
}

// Run lists the users.
func (c *userListCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	list, req := &identityv1.ListUsersResponse{}, c.request()
	err = everyPage(func(token string) (string, error) {
		req.PageToken = token
		page, err := cl.users.ListUsers(ctx, req)
		list.Users = append(list.Users, page.GetUsers()...)
		return page.GetNextPageToken(), err
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(list)
	}
	var rows [][]string
	for _, p := range list.GetUsers() {
		rows = append(rows, []string{p.GetUsername(), p.GetDisplayName(), roles(p), userState(p), p.GetName()})
	}
	return s.printTable([]string{"USER", "CALLED", "ROLES", "STATE", "NAME"}, rows)
}

// userGetCmd shows a user.
type userGetCmd struct {
	Username string `arg:"" help:"The user's username, users/…, or me."`
}

// Run shows the user.
func (c *userGetCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	p, err := cl.user(ctx, c.Username)
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(p)
	}
	return s.printUser(p, "")
}

// userRolesCmd changes a user's roles.
type userRolesCmd struct {
	Username string   `arg:"" help:"The user's username, or users/…."`
	Role     []string `required:"" placeholder:"ROLE" help:"New role: admin, creator, publisher or subscriber; can be repeated. Replaces all roles."`
}

// Run changes the roles.
func (c *userRolesCmd) Run(ctx context.Context, s *shell) error {
	roles, err := roleValues(c.Role)
	if err != nil {
		return err
	}
	return s.changeUser(ctx, c.Username, func(cl *client, p *identityv1.User) (*identityv1.User, error) {
		return cl.users.UpdateUser(ctx, &identityv1.UpdateUserRequest{
			User:       &identityv1.User{Name: p.GetName(), Roles: roles, Etag: p.GetEtag()},
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"roles"}},
		})
	})
}

// userPasswordCmd changes a password.
type userPasswordCmd struct {
	Username        string `arg:"" default:"me" help:"The user's username (${default})."`
	CurrentFile     string `placeholder:"FILE" help:"File with the current password; needed to change your own. Default: a prompt."`
	NewPasswordFile string `name:"new-file" placeholder:"FILE" help:"File with the new password. Default: a prompt."`
}

// Run changes the password.
func (c *userPasswordCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	p, err := cl.user(ctx, c.Username)
	if err != nil {
		return err
	}
	me, err := cl.user(ctx, "me")
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
	if _, err := cl.users.ChangePassword(ctx, &identityv1.ChangePasswordRequest{
		Name: p.GetName(), CurrentPassword: current, NewPassword: next,
	}); err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(p)
	}
	s.note("The password of %s is changed; other sign-ins have ended.", p.GetUsername())
	return nil
}

// userState returns the state of a user as users read it.
func userState(p *identityv1.User) string {
	return strings.ToLower(strings.TrimPrefix(p.GetState().String(), "STATE_"))
}

// userSuspendCmd suspends a user.
type userSuspendCmd struct {
	Username string `arg:"" help:"The user's username, or users/…."`

	yesFlag `embed:""`
}

// Run suspends the user.
func (c *userSuspendCmd) Run(ctx context.Context, s *shell) error {
	return s.changeUser(ctx, c.Username, func(cl *client, p *identityv1.User) (*identityv1.User, error) {
		if p.GetState() != identityv1.User_STATE_SUSPENDED {
			err := s.confirm(ctx, c.Yes, "Suspends the user "+p.GetUsername(), func() []string {
				signIns, err := cl.signInsOf(ctx, p.GetName())
				return []string{number(len(signIns), err, "sign-in", "sign-ins"), cl.liveSessions(ctx, filter("user", p.GetName()))}
			})
			if err != nil {
				return nil, err
			}
		}
		return cl.users.SuspendUser(ctx, &identityv1.SuspendUserRequest{Name: p.GetName(), Etag: p.GetEtag()})
	})
}

// userRestoreCmd restores a suspended user.
type userRestoreCmd struct {
	Username string `arg:"" help:"The user's username, or users/…."`
}

// Run restores the user.
func (c *userRestoreCmd) Run(ctx context.Context, s *shell) error {
	return s.changeUser(ctx, c.Username, func(cl *client, p *identityv1.User) (*identityv1.User, error) {
		return cl.users.RestoreUser(ctx, &identityv1.RestoreUserRequest{Name: p.GetName(), Etag: p.GetEtag()})
	})
}

// userUnlockCmd lets a user sign in again after failed sign-ins.
type userUnlockCmd struct {
	Username string `arg:"" help:"The user's username, or users/…."`
}

// Run unlocks the user.
func (c *userUnlockCmd) Run(ctx context.Context, s *shell) error {
	return s.changeUser(ctx, c.Username, func(cl *client, p *identityv1.User) (*identityv1.User, error) {
		return cl.users.UnlockUser(ctx, &identityv1.UnlockUserRequest{Name: p.GetName()})
	})
}

// changeUser changes a user as change does, and prints the result.
func (s *shell) changeUser(ctx context.Context, username string, change func(*client, *identityv1.User) (*identityv1.User, error)) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	p, err := cl.user(ctx, username)
	if err != nil {
		return err
	}
	if p, err = change(cl, p); err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(p)
	}
	return s.printUser(p, "")
}

// userDeleteCmd deletes a user.
type userDeleteCmd struct {
	Username string `arg:"" help:"The user's username, or users/…."`

	yesFlag `embed:""`
}

// Run deletes the user.
func (c *userDeleteCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	p, err := cl.user(ctx, c.Username)
	if err != nil {
		return err
	}
	if err := s.confirm(ctx, c.Yes, "Deletes the user "+p.GetUsername(), func() []string { return cl.belongings(ctx, p) }); err != nil {
		return err
	}
	if _, err := cl.users.DeleteUser(ctx, &identityv1.DeleteUserRequest{Name: p.GetName(), Etag: p.GetEtag()}); err != nil {
		return err
	}
	return s.deleted(p.GetName(), p.GetUsername())
}

// belongings are what is deleted with a user, and what is not.
func (c *client) belongings(ctx context.Context, p *identityv1.User) []string {
	apps, err := c.applications(ctx, filter("owner", p.GetName()))
	subs := 0
	for _, app := range apps {
		of, failed := c.subscriptions(ctx, filter("application", app.GetName()))
		subs, err = subs+len(of), errors.Join(err, failed)
	}
	return []string{
		number(len(apps), err, "application", "applications"), number(subs, err, "subscription", "subscriptions"),
		c.liveSessions(ctx, filter("user", p.GetName())),
	}
}
