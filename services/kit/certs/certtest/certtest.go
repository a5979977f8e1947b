// Package certtest makes certificate authorities and certificates for tests.
package certtest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/certs"
)

// CA is a certificate authority.
type CA struct {
	// File is the PEM file of its certificate.
	File string

	authority *certs.Authority
}

// NewCA makes an authority whose file goes away with the test.
func NewCA(t testing.TB) *CA {
	t.Helper()
	authority, pair, err := certs.NewAuthority("test CA", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	ca := &CA{File: filepath.Join(t.TempDir(), "ca.pem"), authority: authority}
	write(t, ca.File, pair.Cert)
	return ca
}

// Issue makes a certificate for DNS names, the first of which is the service's,
// and for loopback. Cert and Key are new files, CA is that of the authority.
func (ca *CA) Issue(t testing.TB, names ...string) certs.Files {
	t.Helper()
	dir := t.TempDir()
	files := certs.Files{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem"), CA: ca.File}
	ca.IssueTo(t, files, names...)
	return files
}

// IssueTo makes a certificate like Issue and writes it over the files.
func (ca *CA) IssueTo(t testing.TB, files certs.Files, names ...string) {
	t.Helper()
	leaf := certs.Leaf{Names: append(names, "127.0.0.1", "::1"), Life: time.Hour, Client: true}
	pair, err := ca.authority.Issue(leaf, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	write(t, files.Cert, pair.Cert)
	write(t, files.Key, pair.Key)
}

func write(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
