package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestIssue(t *testing.T) {
	now := time.Now()
	ca, pair, err := NewAuthority("test", now)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pair.Cert) {
		t.Fatal("the authority's file has no certificate")
	}
	names := []string{"gateway", "localhost", "127.0.0.1", "::1"}
	leaf, err := ca.Issue(Leaf{Names: names, Life: 24 * time.Hour, Client: true}, now)
	if err != nil {
		t.Fatal(err)
	}
	both, err := tls.X509KeyPair(leaf.Cert, leaf.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			opts := x509.VerifyOptions{DNSName: name, Roots: pool, KeyUsages: []x509.ExtKeyUsage{usage}}
			if _, err := both.Leaf.Verify(opts); err != nil {
				t.Errorf("Verify(%q, usage %d) = %v, want nil", name, usage, err)
			}
		}
	}
	if got := both.Leaf.DNSNames; !slices.Equal(got, []string{"gateway", "localhost"}) {
		t.Errorf("DNS names = %q, want gateway first", got)
	}
}

func TestCovers(t *testing.T) {
	now := time.Now()
	ca, _, err := NewAuthority("one", now)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := NewAuthority("other", now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(Leaf{Names: []string{"localhost", "127.0.0.1"}, Life: time.Hour}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		ca    *Authority
		names []string
		until time.Time
		want  bool
	}{
		{"its own", ca, []string{"localhost", "127.0.0.1"}, now.Add(59 * time.Minute), true},
		{"too long", ca, []string{"localhost"}, now.Add(61 * time.Minute), false},
		{"another name", ca, []string{"localhost", "example.com"}, now, false},
		{"another authority", other, []string{"localhost"}, now, false},
	} {
		if got := c.ca.Covers(pair, c.names, c.until); got != c.want {
			t.Errorf("%s: Covers(%q, %v) = %v, want %v", c.name, c.names, c.until, got, c.want)
		}
	}
	if ca.Covers(Pair{Cert: []byte("no"), Key: []byte("no")}, nil, now) {
		t.Error("Covers(nonsense) = true, want false")
	}
}

func TestWriteServices(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	now := time.Now()
	if err := WriteServices(dir, []string{"example.com"}, time.Hour, now); err != nil {
		t.Fatal(err)
	}
	before := map[string]string{}
	for _, path := range ServiceFiles(dir) {
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
	ca, err := LoadAuthority(Pair{Cert: []byte(before[filepath.Join(dir, "ca.pem")]), Key: []byte(before[filepath.Join(dir, "ca-key.pem")])})
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range Services() {
		pair := Pair{Cert: []byte(before[filepath.Join(dir, service+".pem")]), Key: []byte(before[filepath.Join(dir, service+"-key.pem")])}
		names := []string{service, "localhost", "127.0.0.1", "example.com"}
		if !ca.Covers(pair, names, now.Add(59*time.Minute)) {
			t.Errorf("the pair of %s is not good for %q", service, names)
		}
	}

	if err := os.Remove(filepath.Join(dir, "ca.pem")); err != nil {
		t.Fatal(err)
	}
	if err := WriteServices(dir, nil, time.Hour, now); !errors.Is(err, fs.ErrExist) {
		t.Errorf("WriteServices over files = %v, want %v", err, fs.ErrExist)
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
