package certs_test

import (
	"bytes"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/certs/certtest"
)

// TestFolder: a certificate is chosen by its names, the name itself before a wildcard, and
// what comes, changes and goes is followed, be it good or not.
func TestFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a [folder]*")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ca := certtest.NewCA(t)
	at := func(name string) certs.Files {
		return certs.Files{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key")}
	}
	ca.IssueTo(t, at("chat"), "chat.example.com", "talk.example.com")
	ca.IssueTo(t, at("apps"), "*.apps.example.com")
	var log bytes.Buffer
	f, err := certs.OpenFolder(dir, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	leads := func(name, want string) *x509.Certificate {
		t.Helper()
		cert := f.Get(name)
		switch {
		case cert == nil && want == "":
			return nil
		case cert == nil || cert.Leaf.DNSNames[0] != want:
			t.Errorf("Get(%q) = %v, want that of %q", name, cert, want)
			return nil
		}
		return cert.Leaf
	}
	leads("chat.example.com", "chat.example.com")
	leads("TALK.example.com", "chat.example.com")
	leads("a.apps.example.com", "*.apps.example.com")
	leads("a.b.apps.example.com", "")
	leads("apps.example.com", "")
	leads("127.0.0.1", "")
	leads("", "")

	// What comes.
	ca.IssueTo(t, at("one"), "one.apps.example.com")
	leads("one.apps.example.com", "one.apps.example.com")
	leads("two.apps.example.com", "*.apps.example.com")

	// What comes bit by bit, and is tried again as it changes.
	whole := ca.Issue(t, "new.example.com")
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	write := func(path string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(at("new").Cert, read(whole.Cert))
	leads("new.example.com", "")
	leads("new.example.com", "")
	if n := f.Failed(); n != 1 || strings.Count(log.String(), "cannot be used") != 1 {
		t.Errorf("%d certificates have failed and the log has\n%s\nwant one failure, said once", n, log.String())
	}
	write(at("new").Key, read(whole.Key)[:20])
	leads("new.example.com", "")
	write(at("new").Key, read(whole.Key))
	leads("new.example.com", "new.example.com")
	if n := f.Failed(); n != 0 {
		t.Errorf("%d certificates have failed, want none", n)
	}

	// What changes: for the better, for the worse, for other names.
	before := leads("chat.example.com", "chat.example.com")
	ca.IssueTo(t, at("chat"), "chat.example.com", "more.example.com")
	if after := leads("chat.example.com", "chat.example.com"); after == nil || before.SerialNumber.Cmp(after.SerialNumber) == 0 {
		t.Error("the certificate before is still in use")
	}
	leads("more.example.com", "chat.example.com")
	leads("talk.example.com", "")
	write(at("chat").Cert, []byte("no certificate"))
	leads("chat.example.com", "chat.example.com")
	if n := f.Failed(); n != 1 || !strings.Contains(log.String(), "what they had before stays in use") {
		t.Errorf("%d certificates have failed and the log has\n%s", n, log.String())
	}
	if err := f.Reload(); err == nil || !strings.Contains(err.Error(), at("chat").Cert) {
		t.Errorf("Reload = %v, want an error that names the certificate", err)
	}
	leads("chat.example.com", "chat.example.com")

	// What goes.
	for _, path := range []string{at("one").Cert, at("one").Key, at("chat").Cert, at("chat").Key} {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	leads("one.apps.example.com", "*.apps.example.com")
	leads("chat.example.com", "")
	if err := f.Reload(); err != nil {
		t.Errorf("Reload = %v, want nil", err)
	}
	if err := os.Rename(dir, dir+"2"); err != nil {
		t.Fatal(err)
	}
	leads("a.apps.example.com", "*.apps.example.com")
	if n := f.Failed(); n == 0 {
		t.Error("nobody is told that the folder is gone")
	}
	if err := os.Rename(dir+"2", dir); err != nil {
		t.Fatal(err)
	}
	if n := f.Failed(); n != 0 {
		t.Errorf("%d certificates have failed in the folder that is back", n)
	}
}

func TestFolderMustBeGood(t *testing.T) {
	dir, quiet := t.TempDir(), slog.New(slog.DiscardHandler)
	if _, err := certs.OpenFolder(filepath.Join(dir, "none"), quiet); err == nil || !strings.Contains(err.Error(), "read folder of certificates") {
		t.Errorf("OpenFolder of none = %v", err)
	}
	ca := certtest.NewCA(t)
	ca.IssueTo(t, certs.Files{Cert: filepath.Join(dir, "nameless.crt"), Key: filepath.Join(dir, "nameless.key")}, "127.0.0.2")
	if _, err := certs.OpenFolder(dir, quiet); err == nil || !strings.Contains(err.Error(), "nameless.crt: it has no DNS names") {
		t.Errorf("OpenFolder with a certificate without names = %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "nameless.crt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := certs.OpenFolder(dir, quiet); err == nil || !strings.Contains(err.Error(), "nameless.crt") {
		t.Errorf("OpenFolder with an empty file = %v", err)
	}
}
