package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strings"
)

// adminCmds are the commands for whoever has the database.
type adminCmds struct {
	Recover adminRecoverCmd `cmd:"" help:"Let an administrator sign in again when none can: set a new password, give the role admin, restore the user and end the user's sign-ins. Works on the database, whether the server runs or not."`
}

// Recovery says whose access to recover, and in which database.
type Recovery struct {
	// Data is the data folder of a server on SQLite. DB, or the content of the file
	// DBFile, is the URL of the subscription service's database elsewhere.
	Data, DB, DBFile string
	// Username is whose, and Password the user's new password.
	Username, Password string
}

// newPassword is the variable that may have the password for admin recover.
const newPassword = "TIDEGATE_NEW_PASSWORD"

// adminRecoverCmd recovers the access of an administrator.
type adminRecoverCmd struct {
	Username string `arg:"" default:"admin" help:"Username of the administrator (${default})."`
	Data     string `default:"./tidegate-data" placeholder:"FOLDER" help:"The server's data folder (${default})."`
	DB       string `name:"db" placeholder:"URL" help:"Database of the subscription service instead: sqlite:PATH, or postgres://… without a password."`
	DBFile   string `name:"db-file" placeholder:"FILE" help:"File with that URL, which may have a password."`
	Password string `placeholder:"@FILE" help:"The new password: @FILE, or - for a line of standard input ($$TIDEGATE_NEW_PASSWORD). Default: one is made."`
	WriteTo  string `placeholder:"FILE" help:"New file for a password that is made. Default: it is printed."`
}

// Run recovers the access.
func (c *adminRecoverCmd) Run(ctx context.Context, s *shell) error {
	if s.Recover == nil {
		return fmt.Errorf("the database can be reached on Linux and macOS only, and this is %s", runtime.GOOS)
	}
	if c.DB != "" && c.DBFile != "" {
		return usagef("--db, --db-file: give one of them")
	}
	if hasPassword(c.DB) {
		return usagef("--db: a password does not belong on the command line, where every user of this machine can read it: give the URL in a file, with --db-file")
	}
	given := c.Password
	if given == "" {
		given = s.env(newPassword)
	}
	password, err := s.given(ctx, "--password", given, newPassword)
	if err != nil {
		return err
	}
	made := password == ""
	if !made && c.WriteTo != "" {
		return usagef("--write-to: is for a password that is made, and one is given")
	}
	if made {
		password = rand.Text()
	}
	if err := c.recover(ctx, s, password); err != nil {
		return err
	}
	if s.whole() {
		result := map[string]string{"recovered": c.Username}
		if c.WriteTo != "" {
			result["passwordFile"] = c.WriteTo
		} else if made {
			result["password"] = password
		}
		return s.printValue(result)
	}
	fields := [][2]string{{"Recovered", c.Username}}
	switch {
	case c.WriteTo != "":
		fields = append(fields, [2]string{"Password", "in " + c.WriteTo})
	case made:
		fields = append(fields, [2]string{"Password", password})
	}
	return s.printFields(fields...)
}

// recover recovers the access with a password, which it writes to a new file first if
// it is to: one that is set and cannot be written down is lost.
func (c *adminRecoverCmd) recover(ctx context.Context, s *shell, password string) error {
	if c.WriteTo != "" {
		if err := writeNew(c.WriteTo, password+"\n"); err != nil {
			return fmt.Errorf("--write-to: %w", err)
		}
	}
	err := s.Recover(ctx, Recovery{Data: c.Data, DB: c.DB, DBFile: c.DBFile, Username: c.Username, Password: password})
	if err != nil && c.WriteTo != "" {
		return errors.Join(err, os.Remove(c.WriteTo))
	}
	return err
}

// writeNew writes a file that does not exist yet, for its owner only.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// hasPassword reports whether a URL has a password in it.
func hasPassword(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return strings.Contains(text, "@")
	}
	_, there := u.User.Password()
	return there || u.Query().Has("password")
}
