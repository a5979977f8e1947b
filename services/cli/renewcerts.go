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

// renewServices replaces the services' certificates and keys in dir by new ones of the
// same authority, whose key is in dir, for the same names and for hosts. It returns the
// paths of what it has replaced, and when the first of it expires. A replaced file keeps
// its mode and its owner. Everything is written beside the files before the first of them
// is replaced, so that a refusal changes none.
func renewServices(dir string, hosts []string, life time.Duration, now time.Time) (paths []string, expires time.Time, err error) {
	ca, err := readAuthority(dir)
	if err != nil {
		return nil, time.Time{}, err
	}
	temporary := map[string]string{} // by path
	defer func() {
		for _, path := range temporary {
			os.Remove(path) // those that took their places are not there
		}
	}()
	for _, service := range serviceNames() {
		cert, key := filepath.Join(dir, service+".pem"), filepath.Join(dir, service+"-key.pem")
		old, err := os.ReadFile(cert)
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("read %s: %w", cert, errors.Unwrap(err))
		}
		pair, err := ca.Renew(old, hosts, life, now)
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("%s: %w", cert, err)
		}
		paths = append(paths, key, cert)
		for path, content := range map[string][]byte{cert: pair.Cert, key: pair.Key} {
			if temporary[path], err = writeBeside(path, cert, content); err != nil {
				return nil, time.Time{}, err
			}
		}
	}
	for _, path := range paths {
		if err := os.Rename(temporary[path], path); err != nil {
			return nil, time.Time{}, fmt.Errorf("replace %s: %w", path, err)
		}
	}
	expires = now.Add(life)
	if ca.Expires().Before(expires) {
		expires = ca.Expires()
	}
	return paths, expires, nil
}

// readAuthority reads the authority whose certificate and key are in dir.
func readAuthority(dir string) (*certs.Authority, error) {
	var pair certs.Pair
	for name, content := range map[string]*[]byte{"ca.pem": &pair.Cert, "ca-key.pem": &pair.Key} {
		var err error
		*content, err = os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is not there; certificates are renewed where ca.pem and ca-key.pem are kept", filepath.Join(dir, name))
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", filepath.Join(dir, name), errors.Unwrap(err))
		}
	}
	return certs.LoadAuthority(pair)
}

// writeBeside writes what is to take the place of the file at path to a new file in the
// same folder, and returns its path. It has the mode and the owner of that file, or, where
// there is none, is its owner's only and belongs to the owner of like.
func writeBeside(path, like string, content []byte) (string, error) {
	mode := fs.FileMode(0o600)
	info, err := os.Stat(path)
	if err == nil {
		mode = info.Mode().Perm()
	} else if info, err = os.Stat(like); err != nil {
		return "", fmt.Errorf("read %s: %w", like, errors.Unwrap(err))
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp") // mode 0600
	if err != nil {
		return "", fmt.Errorf("write beside %s: %w", path, errors.Unwrap(err))
	}
	_, err = f.Write(content)
	err = errors.Join(err, keepOwner(f.Name(), info), f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		os.Remove(f.Name())
		return "", fmt.Errorf("write beside %s: %w", path, err)
	}
	return f.Name(), nil
}
