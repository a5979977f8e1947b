// Package folder is the standalone server's data folder: the lock that keeps a second
// server out, and the keys, certificates and passwords that are made at the first
// start. It does not touch the files of the services in it.
package folder

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/gofrs/flock"

	"github.com/tidegatehq/tidegate/services/kit/certs"
	"github.com/tidegatehq/tidegate/services/kit/seal"
)

const (
	// pairLife is how long the server's certificate is valid.
	pairLife = 90 * 24 * time.Hour
	// renewBefore is how long before its expiry it is renewed.
	renewBefore = 30 * 24 * time.Hour
)

// Folder is a data folder, locked until Close.
type Folder struct {
	path string
	lock *flock.Flock // on the folder itself, so that it needs no file
	made bool         // by Open
}

// Open creates the folder if it does not exist, for its owner only, and locks it. An
// existing folder keeps its mode; every file in it is for its owner only.
func Open(path string) (*Folder, error) {
	f := &Folder{path: path, lock: flock.New(path, flock.SetFlag(os.O_RDONLY))}
	err := os.Mkdir(path, 0o700)
	switch {
	case err == nil:
		f.made = true
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, fmt.Errorf("make the data folder: %w", err)
		}
		f.made = true
	case !errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	if err := f.take(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// take locks the folder and checks that it is writable.
func (f *Folder) take() error {
	info, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("open the data folder: %w", err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", f.path)
	}
	locked, err := f.lock.TryLock()
	if err != nil {
		return fmt.Errorf("lock the data folder: %w", err)
	}
	if !locked {
		return fmt.Errorf("%s is in use by another tidegate server", f.path)
	}
	probe, err := os.CreateTemp(f.path, "probe-*.tmp")
	if err != nil {
		return fmt.Errorf("%s cannot be written: %w", f.path, errors.Unwrap(err))
	}
	probe.Close()
	return os.Remove(probe.Name())
}

// Close unlocks the folder. It removes a folder that Open created and that is still
// empty.
func (f *Folder) Close() error {
	if f.made {
		_ = os.Remove(f.path) // fails if it is not empty
	}
	return f.lock.Close()
}

// Path returns the path of a file in the folder.
func (f *Folder) Path(name string) string { return filepath.Join(f.path, name) }

// Has reports whether there is such a file.
func (f *Folder) Has(name string) bool {
	_, err := os.Lstat(f.Path(name))
	return err == nil
}

// Read returns the contents of a file.
func (f *Folder) Read(name string) ([]byte, error) { return os.ReadFile(f.Path(name)) }

// Write replaces a file as a whole; only its owner can read it.
func (f *Folder) Write(name string, content []byte) error {
	tmp, err := os.CreateTemp(f.path, name+"-*.tmp") // mode 0600
	if err != nil {
		return fmt.Errorf("write %s: %w", f.Path(name), errors.Unwrap(err))
	}
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Sync()
	}
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), f.Path(name))
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("write %s: %w", f.Path(name), err)
	}
	return nil
}

// Secrets makes the master key and the first administrator's password. The file
// installed says that an earlier start has done so. Then a missing key is an error,
// because what is stored cannot be read without it; a missing password is not,
// because it is no longer needed.
func (f *Folder) Secrets(masterKey, password, installed string) error {
	if f.Has(installed) {
		if !f.Has(masterKey) {
			return fmt.Errorf("%s is gone, and what is stored cannot be read without it: put it back", f.Path(masterKey))
		}
		return nil
	}
	if !f.Has(masterKey) {
		if _, err := seal.Create(f.Path(masterKey)); err != nil {
			return err
		}
	}
	if f.Has(password) {
		return nil
	}
	return f.Write(password, []byte(rand.Text()+"\n"))
}

// Names of the files with the authority, and with the server's certificate and key.
const (
	CACert     = "ca.pem"
	CAKey      = "ca-key.pem"
	ServerCert = "server.pem"
	ServerKey  = "server-key.pem"
)

// Certificates makes the authority if it does not exist. It makes the server's
// certificate and key if they do not exist, or are not valid for all the names and for
// another month.
func (f *Folder) Certificates(names []string, now time.Time) error {
	authority, err := f.authority(now)
	if err != nil {
		return err
	}
	cert, err1 := f.Read(ServerCert)
	key, err2 := f.Read(ServerKey)
	if errors.Join(err1, err2) == nil && authority.Covers(certs.Pair{Cert: cert, Key: key}, names, now.Add(renewBefore)) {
		return nil
	}
	pair, err := authority.Issue(certs.Leaf{Names: names, Life: pairLife}, now)
	if err != nil {
		return err
	}
	// A reader between the two writes gets a key that does not match, and keeps the
	// certificate that it has.
	if err := f.Write(ServerKey, pair.Key); err != nil {
		return err
	}
	return f.Write(ServerCert, pair.Cert)
}

// authority returns the folder's authority.
func (f *Folder) authority(now time.Time) (*certs.Authority, error) {
	cert, err1 := f.Read(CACert)
	key, err2 := f.Read(CAKey)
	switch {
	case err1 == nil && err2 == nil:
		authority, err := certs.LoadAuthority(certs.Pair{Cert: cert, Key: key})
		if err != nil {
			return nil, fmt.Errorf("%s and %s: %w", f.Path(CACert), f.Path(CAKey), err)
		}
		return authority, nil
	case errors.Is(err1, fs.ErrNotExist): // the key is written first, and is useless alone
	case errors.Is(err2, fs.ErrNotExist):
		return nil, fmt.Errorf("%s is gone: put it back, or remove %s too for a new authority", f.Path(CAKey), f.Path(CACert))
	default:
		return nil, fmt.Errorf("read the authority: %w", errors.Join(err1, err2))
	}
	authority, pair, err := certs.NewAuthority("Tidegate standalone", now)
	if err != nil {
		return nil, err
	}
	if err := f.Write(CAKey, pair.Key); err != nil {
		return nil, err
	}
	return authority, f.Write(CACert, pair.Cert)
}
