package listener

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSelfSigned(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	now := time.Now()
	cert, key, err := SelfSigned(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v, want mode 0600", info.Mode(), err)
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(pair.Leaf)
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("Verify(%s) = %v", name, err)
		}
	}
	before, _ := os.ReadFile(cert)
	if _, _, err := SelfSigned(dir, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(cert); !bytes.Equal(before, after) {
		t.Errorf("the pair was made again, want the one that is there")
	}
	if _, _, err := SelfSigned(dir, now.Add(2*selfSignedLife)); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(cert); bytes.Equal(before, after) {
		t.Errorf("the expired pair is still there, want a new one")
	}
	if err := os.WriteFile(cert, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := SelfSigned(dir, now); err == nil {
		t.Errorf("SelfSigned with a damaged file = nil, want an error")
	}
}

func TestCertificatesAreReloaded(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	cert, key, err := SelfSigned(first, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert2, key2, err := SelfSigned(second, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c := &certificates{cert: cert, key: key, log: slog.New(slog.DiscardHandler), now: func() time.Time { return now }}
	if err := c.load(); err != nil {
		t.Fatal(err)
	}
	loaded := c.get()
	move := func(from, to string) {
		t.Helper()
		now = now.Add(2 * recheck)
		content, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(to, now, now); err != nil {
			t.Fatal(err)
		}
	}
	move(cert2, cert)
	if c.get() != loaded {
		t.Errorf("a certificate without its key was taken, want the pair before")
	}
	move(key2, key)
	reloaded := c.get()
	if want, err := tls.LoadX509KeyPair(cert2, key2); err != nil || !reloaded.Leaf.Equal(want.Leaf) {
		t.Errorf("the new pair is not in service: %v", err)
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * recheck)
	if c.get() != reloaded {
		t.Errorf("the pair is gone with its file, want it in service")
	}
}
