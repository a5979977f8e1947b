package folder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "data")
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode = %v, %v, want 0700", info.Mode(), err)
	}
	if _, err := Open(path); err == nil || err.Error() != path+" is in use by another tidegate server" {
		t.Errorf("second Open = %v, want in use", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("an empty folder stays behind: %v", err)
	}

	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if f, err = Open(path); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("mode of a folder that was there = %v, %v, want 0755 as before", info.Mode(), err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("a folder that was there is gone: %v", err)
	}
}

func TestOpenRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	locked := filepath.Join(t.TempDir(), "locked")
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{
		file:                  file + " is not a folder",
		file + "/data":        "make the data folder: mkdir " + file + "/data: not a directory",
		"/dev/null/data/more": "make the data folder: mkdir /dev/null/data/more: not a directory",
	}
	if os.Geteuid() != 0 { // root may write anywhere
		cases[filepath.Join(locked, "data")] = "make the data folder: mkdir " + locked + "/data: permission denied"
	}
	for path, want := range cases {
		if f, err := Open(path); err == nil || err.Error() != want {
			t.Errorf("Open(%q) = %v, %v, want %q", path, f, err, want)
		}
	}
}

func TestSecrets(t *testing.T) {
	f, err := Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Secrets("key", "password", "installed"); err != nil {
		t.Fatal(err)
	}
	before := map[string]string{}
	for _, name := range []string{"key", "password"} {
		info, err := os.Stat(f.Path(name))
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v, %v, want mode 0600", name, info, err)
		}
		text, err := f.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		before[name] = string(text)
	}
	if len(before["password"]) < 20 {
		t.Errorf("password %q is short", before["password"])
	}
	if err := f.Secrets("key", "password", "installed"); err != nil {
		t.Fatal(err)
	}
	for name, want := range before {
		if text, err := f.Read(name); err != nil || string(text) != want {
			t.Errorf("%s was changed by the second call", name)
		}
	}
	if err := f.Write("installed", nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(f.Path("password")); err != nil {
		t.Fatal(err)
	}
	if err := f.Secrets("key", "password", "installed"); err != nil || f.Has("password") {
		t.Errorf("Secrets without the password that was used = %v, want none made", err)
	}
	if err := os.Remove(f.Path("key")); err != nil {
		t.Fatal(err)
	}
	if err := f.Secrets("key", "password", "installed"); err == nil || !strings.Contains(err.Error(), "is gone") || f.Has("key") {
		t.Errorf("Secrets without the key that was used = %v, want a refusal", err)
	}
}

func TestCertificates(t *testing.T) {
	f, err := Open(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	now := time.Now()
	read := func(name string) string {
		t.Helper()
		text, err := f.Read(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	renewed := func(names []string, now time.Time) bool {
		t.Helper()
		before := ""
		if f.Has(ServerCert) {
			before = read(ServerCert)
		}
		if err := f.Certificates(names, now); err != nil {
			t.Fatal(err)
		}
		return read(ServerCert) != before
	}
	local := []string{"localhost", "127.0.0.1"}
	if !renewed(local, now) {
		t.Error("no pair was made")
	}
	ca := read(CACert)
	for _, c := range []struct {
		name  string
		names []string
		after time.Duration
		want  bool
	}{
		{"at once", local, 0, false},
		{"after 59 days", local, 59 * 24 * time.Hour, false},
		{"after 61 days", local, 61 * 24 * time.Hour, true},
		{"with another name", append(local, "example.com"), 61 * 24 * time.Hour, true},
	} {
		if got := renewed(c.names, now.Add(c.after)); got != c.want {
			t.Errorf("%s: renewed = %v, want %v", c.name, got, c.want)
		}
	}
	if read(CACert) != ca {
		t.Error("the authority was made anew")
	}
	if err := os.Remove(f.Path(CAKey)); err != nil {
		t.Fatal(err)
	}
	if err := f.Certificates(local, now); err == nil || !strings.Contains(err.Error(), CAKey+" is gone") {
		t.Errorf("Certificates without the authority's key = %v, want a refusal", err)
	}
}
