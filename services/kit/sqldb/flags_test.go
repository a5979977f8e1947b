package sqldb_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/run"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
)

// TestPasswordIsRefusedOnTheCommandLine gives URLs in every way: a password stands
// where only the owner of the process reads it, and in no error.
func TestPasswordIsRefusedOnTheCommandLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte("postgres://u:secret@h/file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const refusal = "-catalog.db: a password does not belong on the command line or in a file that others can read: " +
		"give the URL in a file of its own, with -catalog.db-file, or in the environment"
	for _, tt := range []struct {
		args, env []string
		url, err  string
	}{
		{url: "sqlite:x.db"},
		{args: []string{"-catalog.db", "postgres://u@h/db"}, url: "postgres://u@h/db"},
		{args: []string{"-catalog.db", "sqlite:/data/a@b.db"}, url: "sqlite:/data/a@b.db"},
		{args: []string{"-catalog.db", "postgres://u:secret@h/db"}, err: refusal},
		{args: []string{"-catalog.db=postgres://u:sec%ret@h/db"}, err: refusal},
		{args: []string{"-catalog.db=postgres://u@h/db?password=secret"}, err: refusal},
		{args: []string{"-catalog.db=postgres://u@h/db?sslpassword=secret"}, err: refusal},
		{args: []string{"-catalog.db=host=h password=secret"}, err: refusal},
		{args: []string{"postgres://u:secret@h/db"}, err: "unexpected argument, which is not shown because it may have a password in it"},
		{env: []string{"TIDEGATE_CATALOG_DB=postgres://u:secret@h/db"}, url: "postgres://u:secret@h/db"},
		{env: []string{"TIDEGATE_CATALOG_DB=postgres://u:secret@h:x/db"}, err: "-catalog.db: not a valid postgres:// URL"},
		{args: []string{"-catalog.db-file", file}, url: "postgres://u:secret@h/file"},
		{args: []string{"-catalog.db-file", file}, env: []string{"TIDEGATE_CATALOG_DB=sqlite:y.db"}, url: "postgres://u:secret@h/file"},
		{args: []string{"-catalog.db-file", file + ".none"}, err: "-catalog.db-file: open " + file + ".none: no such file or directory"},
	} {
		text, path := "sqlite:x.db", ""
		fs := flag.NewFlagSet("tidegate", flag.ContinueOnError)
		sqldb.Flags(fs, "catalog.", &text, &path)
		err := run.Parse("tidegate", fs, tt.args, tt.env)
		var url string
		if err == nil {
			url, err = sqldb.URL("catalog.", text, path)
		}
		if got := fmt.Sprint(err); tt.err != "" && got != tt.err || tt.err == "" && err != nil || url != tt.url || err != nil && strings.Contains(got, "secret") {
			t.Errorf("%q with %q = %q, %v, want %q, %s", tt.args, tt.env, url, err, tt.url, tt.err)
		}
	}
}
