package cli

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/certs"
)

// contents reads the files of a folder.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[entry.Name()] = string(text)
	}
	return all
}

// TestRenew replaces certificates and keys by others of the same authority, with the
// names of before and one more.
func TestRenew(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "certs")
	c := command{dir: t.TempDir()}
	if _, stderr, code := c.run(t, "certs", dir, "--host", "one.example.com", "--host", "192.0.2.1", "--days", "10"); code != 0 {
		t.Fatal(stderr)
	}
	before := contents(t, dir)
	// A service may read its key as a member of a group, and its owner may keep it elsewhere.
	if err := errors.Join(os.Chmod(filepath.Join(dir, "gateway-key.pem"), 0o640), os.Remove(filepath.Join(dir, "portal-key.pem"))); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := c.run(t, "certs", "--renew", dir, "--host", "two.example.com")
	if code != 0 || strings.Count(stdout, "\n") != 8 {
		t.Fatalf("certs --renew = %q, %q, %d, want 8 files", stdout, stderr, code)
	}
	after := contents(t, dir)
	if !slices.Equal(slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before))) {
		t.Errorf("files = %q, want those of before", slices.Sorted(maps.Keys(after)))
	}
	for name := range before {
		if isAuthority := name == "ca.pem" || name == "ca-key.pem"; isAuthority != (before[name] == after[name]) {
			t.Errorf("%s has changed: %v, want %v", name, !isAuthority, isAuthority)
		}
	}
	ca, err := certs.LoadAuthority(certs.Pair{Cert: []byte(after["ca.pem"]), Key: []byte(after["ca-key.pem"])})
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range serviceNames() {
		pair := certs.Pair{Cert: []byte(after[service+".pem"]), Key: []byte(after[service+"-key.pem"])}
		names := []string{service, "localhost", "127.0.0.1", "::1", "one.example.com", "192.0.2.1", "two.example.com"}
		if !ca.Covers(pair, names, time.Now().Add(364*24*time.Hour)) {
			t.Errorf("the pair of %s is not good for %q for a year", service, names)
		}
		both, err := tls.X509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		if want := "The certificates are valid until " + both.Leaf.NotAfter.Local().Format(time.DateOnly) + ".\n"; stderr != want {
			t.Errorf("certs --renew says %q, want %q", stderr, want)
		}
		if both.Leaf.DNSNames[0] != service || len(both.Leaf.ExtKeyUsage) != 2 {
			t.Errorf("the certificate of %s is first for %s and has %d uses, want %s, 2", service, both.Leaf.DNSNames[0], len(both.Leaf.ExtKeyUsage), service)
		}
		mode := map[string]fs.FileMode{"gateway": 0o640}[service]
		if mode == 0 {
			mode = 0o600
		}
		if info, err := os.Stat(filepath.Join(dir, service+"-key.pem")); err != nil || info.Mode() != mode {
			t.Errorf("mode of the key of %s = %v, %v, want %v", service, info.Mode(), err, mode)
		}
	}
}

// TestRenewRefuses changes nothing where it cannot renew everything.
func TestRenewRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil func(dir string) error
		args  []string
		want  string // DIR stands for the folder
		code  int
	}{
		"no folder":          {func(dir string) error { return os.RemoveAll(dir) }, nil, "DIR/ca", 1},
		"no authority's key": {func(dir string) error { return os.Remove(filepath.Join(dir, "ca-key.pem")) }, nil, "DIR/ca-key.pem is not there; certificates are renewed where ca.pem and ca-key.pem are kept", 1},
		"no certificate":     {func(dir string) error { return os.Remove(filepath.Join(dir, "portal.pem")) }, nil, "read DIR/portal.pem: no such file or directory", 1},
		"not a certificate":  {func(dir string) error { return os.WriteFile(filepath.Join(dir, "portal.pem"), []byte("x"), 0o600) }, nil, "DIR/portal.pem: renew a certificate: there is none in the file", 1},
		"another authority": {func(dir string) error {
			_, pair, err := certs.NewAuthority("another", time.Now())
			return errors.Join(err, os.WriteFile(filepath.Join(dir, "ca.pem"), pair.Cert, 0o600), os.WriteFile(filepath.Join(dir, "ca-key.pem"), pair.Key, 0o600))
		}, nil, "DIR/catalog.pem: renew a certificate: the authority has not issued it", 1},
		"an authority without its key": {func(dir string) error {
			_, pair, err := certs.NewAuthority("another", time.Now())
			return errors.Join(err, os.WriteFile(filepath.Join(dir, "ca-key.pem"), pair.Key, 0o600))
		}, nil, "read the authority: ", 1},
		"the master key too": {func(string) error { return nil }, []string{"--master-key"}, "--master-key: --renew makes none", 2},
		"if missing":         {func(string) error { return nil }, []string{"--if-missing"}, "--if-missing and --renew can't be used together", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "certs")
			if err := errors.Join(writeServices(dir, nil, time.Hour, time.Now()), tt.spoil(dir)); err != nil {
				t.Fatal(err)
			}
			var before map[string]string
			if name != "no folder" {
				before = contents(t, dir)
			}
			_, stderr, code := command{dir: t.TempDir()}.run(t, append([]string{"certs", "--renew", dir}, tt.args...)...)
			if want := strings.ReplaceAll(tt.want, "DIR", dir); code != tt.code || !strings.Contains(stderr, want) {
				t.Errorf("certs --renew = %q, %d, want %q, %d", stderr, code, want, tt.code)
			}
			if name != "no folder" && !maps.Equal(before, contents(t, dir)) {
				t.Error("a refusal has changed files")
			}
		})
	}
}

// TestRenewEndsWithTheAuthority renews under an authority that ends soon, or has ended.
func TestRenewEndsWithTheAuthority(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "certs")
	made := time.Now()
	if err := writeServices(dir, nil, time.Hour, made); err != nil {
		t.Fatal(err)
	}
	end := made.AddDate(0, 0, 3650).UTC().Truncate(time.Second)
	if _, expires, err := renewServices(dir, nil, 365*24*time.Hour, end.Add(-time.Hour)); err != nil || !expires.Equal(end) {
		t.Errorf("renewServices an hour before the authority's end = %v, %v, want %v", expires, err, end)
	}
	before := contents(t, dir)
	_, _, err := renewServices(dir, nil, time.Hour, end.Add(time.Second))
	if want := "the authority has expired on " + end.Format(time.DateOnly); err == nil || !strings.Contains(err.Error(), want) || !maps.Equal(before, contents(t, dir)) {
		t.Errorf("renewServices after it = %v, want %q, and nothing changed", err, want)
	}
}
