package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/seal"
	"github.com/tidegatehq/tidegate/services/kit/sqldb"
	"github.com/tidegatehq/tidegate/services/kit/testdb"
	"github.com/tidegatehq/tidegate/services/standalone"
)

// refusal starts a server that must not start and returns what it says, less
// its log.
func refusal(t *testing.T, data string, args ...string) (said string, code int) {
	t.Helper()
	said, _, code = refusalAndLog(t, data, args...)
	return said, code
}

// refusalAndLog is refusal that returns the log too.
func refusalAndLog(t *testing.T, data string, args ...string) (said, log string, code int) {
	t.Helper()
	s := launch(t, data, func(standalone.Addresses) { t.Error("the server starts, want a refusal") }, args...)
	code = s.wait(t)
	stdout, stderr := s.output()
	if stdout != "" {
		t.Errorf("stdout = %q, want nothing", stdout)
	}
	for line := range strings.Lines(stderr) {
		if strings.HasPrefix(line, "tidegate: ") {
			said += line
			continue
		}
		log += line
		if !strings.HasPrefix(line, "time=") {
			t.Errorf("a line that is neither log nor error: %q", line)
		}
	}
	return said, log, code
}

// files returns the contents of a folder's files.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[e.Name()] = string(text)
	}
	return all
}

// TestTakenPorts starts on ports that somebody has: one line names the flag,
// and nothing is left behind.
func TestTakenPorts(t *testing.T) {
	t.Parallel()
	busy := occupied(t)
	for _, flag := range []string{"-https", "-grpc", "-ws", "-wss", "-ops", "-sample-listen"} {
		data := newData(t)
		said, code := refusal(t, data, flag, busy)
		if want := fmt.Sprintf("tidegate: %s: %s is taken by another program; give another\n", flag, busy); said != want || code != 1 {
			t.Errorf("%s taken: %q, %d, want %q, 1", flag, said, code, want)
		}
		if _, err := os.Stat(data); !os.IsNotExist(err) {
			t.Errorf("%s taken: the data folder is left: %v", flag, err)
		}
	}
	also := occupied(t)
	said, code := refusal(t, newData(t), "-grpc", busy, "-wss", also)
	if want := fmt.Sprintf("tidegate: other programs have taken -grpc %s, -wss %s; give others\n", busy, also); said != want || code != 1 {
		t.Errorf("two taken: %q, %d, want %q, 1", said, code, want)
	}
	said, code = refusal(t, newData(t), "-no-sample", "-ws", "192.0.2.1:0")
	if want := "tidegate: -ws: 192.0.2.1:0 is not an address of this machine\n"; said != want || code != 1 {
		t.Errorf("-ws on somebody else's address: %q, %d, want %q, 1", said, code, want)
	}
}

// TestBadFolders starts on data folders that are of no use.
func TestBadFolders(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for data, want := range map[string]string{
		file:                     "-data: " + file + " is not a folder",
		filepath.Join(file, "x"): "-data: make the data folder: mkdir " + file + "/x: not a directory",
	} {
		said, code := refusal(t, data)
		if said != "tidegate: "+want+"\n" || code != 1 {
			t.Errorf("-data %s: %q, %d, want %q, 1", data, said, code, want)
		}
	}
}

// TestReadOnlyFolder starts on a folder that cannot be written. The
// superuser can write anywhere, so the test steps down where it is one.
func TestReadOnlyFolder(t *testing.T) {
	t.Parallel()
	// Another user cannot go into t.TempDir().
	parent, err := os.MkdirTemp("", "tidegate-read-only") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(parent) })
	program := buildTidegate(t, parent)
	data := filepath.Join(parent, "data")
	if err := os.Mkdir(data, 0o500); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(within(t), program, append([]string{"serve", "-data", data}, freePorts()...)...)
	cmd.Dir = parent
	if os.Geteuid() == 0 {
		const nobody = 65534
		if err := os.Chown(data, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(parent, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.CombinedOutput()
	want := "tidegate: -data: " + data + " cannot be written: permission denied\n"
	if string(out) != want || cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("serve = %v, %s, want %s and 1", err, out, want)
	}
}

// TestTwoServers starts a second server on the folder of a first.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	data := newData(t)
	s := start(t, data, append(quick(), "-no-sample")...)
	said, code := refusal(t, data)
	if want := "tidegate: -data: " + data + " is in use by another tidegate server\n"; said != want || code != 1 {
		t.Errorf("the second server: %q, %d, want %q, 1", said, code, want)
	}
	s.admin(t) // the first is none the worse
}

// TestBadDatabases starts on databases that are damaged, newer, another
// service's or gone: one line names the flag and the file, it is all that is
// said, and the data is left as it is.
func TestBadDatabases(t *testing.T) {
	t.Parallel()
	data := newData(t)
	s := start(t, data, append(quick(), "-no-sample")...)
	s.stop()
	s.wait(t)
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, data string)
		args  []string
		want  string // DATA stands for the folder, in args too
	}{
		{
			"catalog damaged", func(t *testing.T, data string) { overwrite(t, filepath.Join(data, "catalog.db")) }, nil,
			"-data: catalog: open database DATA/catalog.db: the file is damaged or not a database",
		},
		{
			"subscription damaged", func(t *testing.T, data string) { overwrite(t, filepath.Join(data, "subscription.db")) }, nil,
			"-data: subscription: open database DATA/subscription.db: the file is damaged or not a database",
		},
		{
			"catalog newer", func(t *testing.T, data string) { makeNewer(t, filepath.Join(data, "catalog.db"), "catalog") }, nil,
			"-data: catalog: the catalog schema of this database is version 999 and this build knows up to N: start a newer build",
		},
		{
			"subscription newer", func(t *testing.T, data string) { makeNewer(t, filepath.Join(data, "subscription.db"), "change") }, nil,
			"-data: subscription: the change schema of this database is version 999 and this build knows up to N: start a newer build",
		},
		{
			"of an older release", func(t *testing.T, data string) {
				execute(t, filepath.Join(data, "subscription.db"), `CREATE TABLE goose_db_version (version_id BIGINT NOT NULL)`)
			}, nil,
			"-data: subscription: this database is from an older release and cannot be upgraded: " +
				"move the data folder (on Postgres, the schema) away and start with an empty one",
		},
		{
			"each other's", func(*testing.T, string) {}, []string{"-catalog.db", "sqlite:DATA/subscription.db", "-subscription.db", "sqlite:DATA/catalog.db"},
			"-catalog.db: this database belongs to the subscription service",
		},
		{
			"catalog's for both, by another name", func(t *testing.T, data string) {
				if err := os.Symlink("catalog.db", filepath.Join(data, "x.db")); err != nil {
					t.Fatal(err)
				}
			}, []string{"-subscription.db", "sqlite:DATA/x.db"},
			"-subscription.db: this database belongs to the catalog service",
		},
		{
			"elsewhere, a folder", func(*testing.T, string) {}, []string{"-catalog.db", "sqlite:/"},
			"-catalog.db: open database /: it is a folder, not a file",
		},
		{
			"elsewhere, no Postgres", func(t *testing.T, data string) {
				if err := os.WriteFile(filepath.Join(data, "url"), []byte("postgres://tidegate:secret@127.0.0.1:1/x\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}, []string{"-subscription.db-file", "DATA/url"},
			"-subscription.db-file: open database at 127.0.0.1:1: cannot connect: connection refused",
		},
		{
			"master key gone", func(t *testing.T, data string) { remove(t, filepath.Join(data, "master-key")) }, nil,
			"-data: DATA/master-key is gone, and what is stored cannot be read without it: put it back",
		},
		{
			"authority's key gone", func(t *testing.T, data string) { remove(t, filepath.Join(data, "ca-key.pem")) }, nil,
			"-data: DATA/ca-key.pem is gone: put it back, or remove DATA/ca.pem too for a new authority",
		},
	} {
		for how, more := range map[string][]string{"": nil, ", no sample": {"-no-sample"}} {
			t.Run(c.name+how, func(t *testing.T) {
				t.Parallel()
				copied := filepath.Join(t.TempDir(), "data")
				if err := os.CopyFS(copied, os.DirFS(data)); err != nil {
					t.Fatal(err)
				}
				keepPrivate(t, copied)
				c.spoil(t, copied)
				before := files(t, copied)
				args := strings.Split(strings.ReplaceAll(strings.Join(append(more, c.args...), " "), "DATA", copied), " ")
				said, log, code := refusalAndLog(t, copied, slices.DeleteFunc(args, func(a string) bool { return a == "" })...)
				said = regexp.MustCompile(`knows up to \d+`).ReplaceAllString(said, "knows up to N")
				if want := "tidegate: " + strings.ReplaceAll(c.want, "DATA", copied) + "\n"; said != want || code != 1 {
					t.Errorf("%q, %d\nwant %q, 1", said, code, want)
				}
				if log != "" {
					t.Errorf("the refusal is not all that is said, but\n%s", log)
				}
				if after := files(t, copied); !maps.Equal(after, before) {
					t.Errorf("the folder had %q and now has %q, or other contents", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
				}
			})
		}
	}
}

// TestAnotherIssuer starts with another issuer, or another master key, than at
// the first start: that is one line, before anything is started.
func TestAnotherIssuer(t *testing.T) {
	t.Parallel()
	data := newData(t)
	s := start(t, data, append(quick(), "-no-sample")...)
	s.stop()
	s.wait(t)
	want := "tidegate: -subscription.issuer: the issuer was fixed at the first start as " + s.Portal + " and cannot become https://other.example.com\n"
	for _, more := range [][]string{nil, {"-no-sample"}} {
		said, log, code := refusalAndLog(t, data, append(more, "-subscription.issuer", "https://other.example.com")...)
		if said != want || log != "" || code != 1 {
			t.Errorf("%q: said %q and logged %q, %d\nwant %q, 1", more, said, log, code, want)
		}
	}
	key := filepath.Join(data, "master-key")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Create(key); err != nil {
		t.Fatal(err)
	}
	want = "tidegate: -subscription.master-key-file: " + key + " does not have the master key that this database was made with\n"
	if said, log, code := refusalAndLog(t, data); said != want || log != "" || code != 1 {
		t.Errorf("said %q and logged %q, %d\nwant %q, 1", said, log, code, want)
	}
}

// TestForeignPostgres gives each service the Postgres database of the other.
func TestForeignPostgres(t *testing.T) {
	t.Parallel()
	one, two := testdb.PostgresURL(t), testdb.PostgresURL(t)
	data := newData(t)
	s := start(t, data, append(quick(), "-no-sample", "-catalog.db", one, "-subscription.db", two)...)
	s.stop()
	s.wait(t)
	for _, c := range []struct{ catalog, subscription, want string }{
		{two, one, "tidegate: -catalog.db: this database belongs to the subscription service\n"},
		{one, one + "&application_name=x", "tidegate: -subscription.db: is the database of -catalog.db, and each service needs its own\n"},
	} {
		said, log, _ := refusalAndLog(t, data, "-no-sample", "-catalog.db", c.catalog, "-subscription.db", c.subscription)
		if said != c.want || log != "" {
			t.Errorf("said %q and logged %q, want %q", said, log, c.want)
		}
	}
}

// keepPrivate gives the files of a copied folder their modes back.
func keepPrivate(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.Chmod(filepath.Join(dir, e.Name()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func overwrite(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, bytes.Repeat([]byte("not a database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// makeNewer makes a part of a database one of a later build.
func makeNewer(t *testing.T, path, part string) {
	t.Helper()
	execute(t, path, `INSERT INTO `+part+`_schema_version (version_id, is_applied) VALUES (999, 1)`)
}

// execute runs a statement on a database.
func execute(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}
