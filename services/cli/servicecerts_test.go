package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/certs"
)

func TestWriteServices(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	now := time.Now()
	if err := writeServices(dir, []string{"example.com"}, time.Hour, now); err != nil {
		t.Fatal(err)
	}
	before := map[string]string{}
	for _, path := range serviceFiles(dir) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0o600 {
			t.Errorf("mode of %s = %v, want 0600", path, info.Mode())
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		before[path] = string(text)
	}
	if len(before) != 10 {
		t.Errorf("%d files, want 10", len(before))
	}
	ca, err := certs.LoadAuthority(certs.Pair{Cert: []byte(before[filepath.Join(dir, "ca.pem")]), Key: []byte(before[filepath.Join(dir, "ca-key.pem")])})
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range serviceNames() {
		pair := certs.Pair{Cert: []byte(before[filepath.Join(dir, service+".pem")]), Key: []byte(before[filepath.Join(dir, service+"-key.pem")])}
		names := []string{service, "localhost", "127.0.0.1", "example.com"}
		if !ca.Covers(pair, names, now.Add(59*time.Minute)) {
			t.Errorf("the pair of %s is not good for %q", service, names)
		}
	}

	if err := os.Remove(filepath.Join(dir, "ca.pem")); err != nil {
		t.Fatal(err)
	}
	if err := writeServices(dir, nil, time.Hour, now); !errors.Is(err, fs.ErrExist) {
		t.Errorf("writeServices over files = %v, want %v", err, fs.ErrExist)
	}
	if _, err := os.Stat(filepath.Join(dir, "ca.pem")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after a refusal ca.pem: %v, want none", err)
	}
	delete(before, filepath.Join(dir, "ca.pem"))
	for path, want := range before {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s was changed by a refusal (%v)", path, err)
		}
	}
}
