package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/certs"
)

// serviceNames returns the services that writeServices makes certificates for.
func serviceNames() []string { return []string{"catalog", "subscription", "gateway", "portal"} }

// serviceFiles returns the paths of the files that writeServices writes in dir.
func serviceFiles(dir string) []string {
	var paths []string
	for _, name := range append([]string{"ca"}, serviceNames()...) {
		paths = append(paths, filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem"))
	}
	return paths
}

// writeServices creates dir with an authority, and a certificate and key for each
// service: ca.pem, ca-key.pem, catalog.pem, catalog-key.pem and so on, all
// with mode 0600. A service's certificate has the service's name as its first
// DNS name, then localhost, 127.0.0.1, ::1 and hosts. If any of the files
// exists, it writes none.
func writeServices(dir string, hosts []string, life time.Duration, now time.Time) error {
	ca, pair, err := certs.NewAuthority("Tidegate services", now)
	if err != nil {
		return err
	}
	contents := [][]byte{pair.Cert, pair.Key}
	for _, service := range serviceNames() {
		leaf := certs.Leaf{Names: append([]string{service, "localhost", "127.0.0.1", "::1"}, hosts...), Life: life, Client: true}
		pair, err := ca.Issue(leaf, now)
		if err != nil {
			return err
		}
		contents = append(contents, pair.Cert, pair.Key)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	paths := serviceFiles(dir)
	for _, path := range paths {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			if err == nil {
				err = fs.ErrExist
			}
			return fmt.Errorf("write %s: %w; nothing was written", path, err)
		}
	}
	for i, path := range paths {
		if err := create(path, contents[i]); err != nil {
			for _, made := range paths[:i] {
				os.Remove(made)
			}
			return err
		}
	}
	return nil
}

// create writes a new file that only its owner can read.
func create(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Unwrap(err))
	}
	if _, err := f.Write(content); err != nil {
		f.Close()
		os.Remove(path)
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := f.Close(); err != nil {
		os.Remove(path)
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
