package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// selfSignedLife is long: a client that accepts a self-signed certificate at all
// has pinned it, or does not check it.
const selfSignedLife = 10 * 365 * 24 * time.Hour

// SelfSigned returns the files NAME.crt and NAME.key in dir, with a self-signed
// certificate for this machine's name and for loopback. They are made where
// there are none, and made anew when the certificate has expired.
func SelfSigned(dir, name string, now time.Time) (Files, error) {
	files := Files{Cert: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key")}
	existing, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	switch {
	case err == nil && now.Before(existing.Leaf.NotAfter):
		return files, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return Files{}, fmt.Errorf("read self-signed certificate %s: %w", files.Cert, err)
	}
	leaf := Leaf{Names: []string{"localhost", "127.0.0.1", "::1"}, Life: selfSignedLife}
	if host, err := os.Hostname(); err == nil && host != "localhost" {
		leaf.Names = append(leaf.Names, host)
	}
	pair, err := sign(leaf.template(now), nil)
	if err != nil {
		return Files{}, fmt.Errorf("make self-signed certificate: %w", err)
	}
	err = os.MkdirAll(dir, 0o700)
	if err == nil {
		err = os.WriteFile(files.Key, pair.Key, 0o600)
	}
	if err == nil {
		err = os.WriteFile(files.Cert, pair.Cert, 0o644)
	}
	if err != nil {
		return Files{}, fmt.Errorf("keep self-signed certificate: %w", err)
	}
	return files, nil
}
