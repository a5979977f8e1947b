package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAdministratorIsRecovered sets the administrator's password in the database while
// the server runs: the sign-in from before ends at every service, and the new password
// signs in. The password can be given, or be made.
func TestAdministratorIsRecovered(t *testing.T) {
	t.Parallel()
	s := onSQLite(t)
	data := filepath.Dir(s.PasswordFile)
	before, after := s.newShell(t), s.newShell(t)
	before.run(t, "login", "--password-file", s.PasswordFile)

	before.says(t, []string{"Recovered  admin", "Password"}, "admin", "recover", "--data", data)
	// The catalog hears of it.
	eventually(t, func() error {
		if _, stderr, code := before.try(t, "", "api", "list"); code == 0 || !strings.Contains(stderr, "the sign-in has ended") {
			return fmt.Errorf("api list with the old sign-in = %d, %q", code, stderr)
		}
		return nil
	})
	if _, _, code := after.try(t, "", "login", "--password-file", s.PasswordFile); code == 0 {
		t.Error("the old password still signs in")
	}

	if _, stderr, code := after.try(t, "another long password\n", "admin", "recover", "--data", data, "--password", "-"); code != 0 {
		t.Fatalf("admin recover --password - = %d, %q", code, stderr)
	}
	if _, stderr, code := after.try(t, "another long password\n", "login"); code != 0 {
		t.Fatalf("login with the password that was given = %d, %q", code, stderr)
	}

	made := filepath.Join(t.TempDir(), "password")
	after.says(t, []string{"in " + made}, "admin", "recover", "--data", data, "--write-to", made)
	after.run(t, "login", "--password-file", made)
	if info, err := os.Stat(made); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of the password is %v, %v, want it for its owner only", info, err)
	}

	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"nobody", "--data", data}, `there is no user "nobody"; administrators are admin`},
		{[]string{"--data", t.TempDir()}, "--data: there is no file "},
		{[]string{"--db", "sqlite:" + filepath.Join(data, "catalog.db")}, "this database belongs to the catalog service"},
		{[]string{"--db", "postgres://me:secret@127.0.0.1/x"}, "--db: a password does not belong on the command line"},
		{[]string{"--data", data, "--password", "plainly given password"}, "--password: a secret does not belong on the command line"},
		{[]string{"--data", data, "--write-to", made}, "--write-to: open " + made},
	} {
		_, stderr, code := after.try(t, "", append([]string{"admin", "recover"}, c.args...)...)
		if code == 0 || !strings.Contains(stderr, c.want) || strings.Contains(stderr, "secret@") {
			t.Errorf("tidegate admin recover %q = %d, %q, want %q", c.args, code, stderr, c.want)
		}
	}
	after.run(t, "whoami") // what was refused has changed nothing
}
