package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
	"google.golang.org/grpc/codes"

	identityv1 "github.com/tidegatehq/tidegate/gen/go/tidegate/identity/v1"
)

// loginCmd signs in.
type loginCmd struct {
	Username     string `short:"u" default:"admin" help:"Name to sign in with."`
	PasswordFile string `placeholder:"FILE" help:"File with the password. Default: a prompt, or standard input if it is not a terminal."`
}

// Run signs in and keeps the sign-in.
func (c *loginCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	password, err := s.secret(ctx, "--password-file", c.PasswordFile, fmt.Sprintf("Password of %s at %s: ", c.Username, cl.address))
	if err != nil {
		return err
	}
	kept, err := cl.store.read()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.global.Timeout)
	defer cancel()
	answer, err := cl.signIns.SignIn(ctx, &identityv1.SignInRequest{
		Username: c.Username, Password: password, DeviceKey: kept.server(cl.address).deviceKey(c.Username),
	})
	if err != nil {
		if st, ok := statusOf(err); ok && st.Code() == codes.Unauthenticated {
			return answered(st, fmt.Errorf("%s, for %s at %s", st.Message(), c.Username, cl.address))
		}
		return err
	}
	err = cl.store.update(func(st *state) error {
		server := st.server(cl.address)
		server.CA, server.CAFound, server.SignIn = cl.trust.file, cl.trust.found, newSignIn(answer)
		server.keepDeviceKey(c.Username, answer.GetDeviceKey())
		st.Current = cl.address
		return nil
	})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(answer.GetUser())
	}
	_, err = fmt.Fprintf(s.Stdout, "Signed in to %s as %s (%s).\n", cl.address, answer.GetUser().GetUsername(), roles(answer.GetUser()))
	return err
}

// roles lists a user's roles.
func roles(p *identityv1.User) string {
	var names []string
	for _, r := range p.GetRoles() {
		names = append(names, word(r, "ROLE_"))
	}
	return strings.Join(names, ", ")
}

// secret returns a secret from a file, from the terminal without showing it, or
// from the first line of the input.
func (s *shell) secret(ctx context.Context, flag, path, prompt string) (string, error) {
	if path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("%s: %w", flag, err)
		}
		if secret := strings.TrimRight(string(text), "\r\n"); secret != "" {
			return secret, nil
		}
		return "", fmt.Errorf("%s: %s is empty", flag, path)
	}
	if f, ok := s.Stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return s.ask(ctx, int(f.Fd()), prompt)
	}
	line, err := s.line(ctx)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if secret := strings.TrimRight(line, "\r\n"); secret != "" {
		return secret, nil
	}
	return "", fmt.Errorf("no password was given: standard input is empty; use %s", flag)
}

// ask prompts for a secret at the terminal without showing it. An interrupt
// restores the terminal.
func (s *shell) ask(ctx context.Context, terminal int, prompt string) (string, error) {
	before, err := term.GetState(terminal)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	fmt.Fprint(s.Stderr, prompt)
	defer fmt.Fprintln(s.Stderr)
	defer s.wait()()
	type answer struct {
		text []byte
		err  error
	}
	answered := make(chan answer, 1)
	go func() { // a read from a terminal ends with the process only
		text, err := term.ReadPassword(terminal)
		answered <- answer{text, err}
	}()
	select {
	case <-ctx.Done():
		return "", errors.Join(errors.New("interrupted"), term.Restore(terminal, before))
	case a := <-answered:
		if a.err != nil {
			return "", fmt.Errorf("read the password: %w", a.err)
		}
		if len(a.text) == 0 {
			return "", errors.New("no password was given")
		}
		return string(a.text), nil
	}
}

// logoutCmd signs out.
type logoutCmd struct{}

// Run ends the sign-in, here and at the server.
func (c *logoutCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	var ended *signIn
	err = cl.store.update(func(st *state) error {
		if server := st.Servers[cl.address]; server != nil {
			ended, server.SignIn = server.SignIn, nil
		}
		return nil
	})
	if err != nil {
		return err
	}
	said := "Nobody was signed in to %s."
	if ended != nil {
		if _, err := cl.signIns.SignOut(ctx, &identityv1.SignOutRequest{RefreshToken: ended.RefreshToken}); err != nil {
			return fmt.Errorf("signed out here, but not at the server: %w", s.explain(err))
		}
		said = "Signed out of %s."
	}
	if s.whole() {
		return s.printValue(map[string]any{"server": cl.address, "signedOut": ended != nil})
	}
	s.note(said, cl.address)
	return nil
}

// whoamiCmd shows who is signed in.
type whoamiCmd struct{}

// Run shows the user.
func (c *whoamiCmd) Run(ctx context.Context, s *shell) error {
	cl, err := s.dial()
	if err != nil {
		return err
	}
	p, err := cl.users.GetUser(ctx, &identityv1.GetUserRequest{Name: "users/me"})
	if err != nil {
		return err
	}
	if s.whole() {
		return s.printWhole(p)
	}
	return s.printUser(p, cl.address)
}
