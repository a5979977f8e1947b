package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestSelfSigned(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	now := time.Now()
	files, err := SelfSigned(dir, "server", now)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(files.Key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file: %v, %v, want mode 0600", info.Mode(), err)
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
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
	before, _ := os.ReadFile(files.Cert)
	if _, err := SelfSigned(dir, "server", now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(files.Cert); !bytes.Equal(before, after) {
		t.Errorf("the pair was made again, want the one that is there")
	}
	if _, err := SelfSigned(dir, "server", now.Add(2*selfSignedLife)); err != nil {
		t.Fatal(err)
	}
	if after, _ := os.ReadFile(files.Cert); bytes.Equal(before, after) {
		t.Errorf("the expired pair is still there, want a new one")
	}
	if err := os.WriteFile(files.Cert, []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := SelfSigned(dir, "server", now); err == nil {
		t.Errorf("SelfSigned with a damaged file = nil, want an error")
	}
}
