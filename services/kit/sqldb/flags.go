package sqldb

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// Flags registers -db and -db-file, with prefix before their names: the URL of a
// database, or a file that has it. Their defaults are what text and file hold.
func Flags(fs *flag.FlagSet, prefix string, text, file *string) {
	fs.Var(&address{text: text, file: "-" + prefix + "db-file"}, prefix+"db",
		"database `url`, postgres://… or sqlite:PATH; one with a password is refused on the command line and in a file that others can read")
	fs.StringVar(file, prefix+"db-file", *file, "`file` with the database's URL, which then takes the place of -"+prefix+"db")
}

// address is the value of -db.
type address struct {
	text *string
	file string // the flag that names a file instead
}

// String returns the URL.
func (a *address) String() string {
	if a.text == nil {
		return ""
	}
	return *a.text
}

// Set sets the URL.
func (a *address) Set(text string) error {
	*a.text = text
	return nil
}

// CheckPublic refuses a URL with a password.
func (a *address) CheckPublic(text string) error {
	if !hasPassword(text) {
		return nil
	}
	return fmt.Errorf("a password does not belong on the command line or in a file that others can read: give the URL in a file of its own, with %s, or in the environment", a.file)
}

// hasPassword reports whether a URL, or what was to be one, has a password in it.
func hasPassword(text string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return strings.Contains(text, "@") || strings.Contains(text, "password")
	}
	_, there := u.User.Password()
	return there || strings.Contains(text, "password=")
}

// URL returns the URL of a database: what stands in file if there is one, otherwise
// text. Its error names the flag of Flags, with prefix, and shows no password.
func URL(prefix, text, file string) (string, error) {
	name := prefix + "db"
	if file != "" {
		name += "-file"
		read, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("-%s: %w", name, err)
		}
		text = strings.TrimSpace(string(read))
	}
	if err := CheckURL(text); err != nil {
		return "", fmt.Errorf("-%s: %w", name, err)
	}
	return text, nil
}
