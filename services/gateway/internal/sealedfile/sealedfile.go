// Package sealedfile keeps what a gateway must know at its next start, when the
// control plane may be away, in sealed files.
package sealedfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/tidegatehq/tidegate/services/kit/seal"
)

// maxSize is the largest file that is read.
const maxSize = 1 << 30

// File is a sealed file. It is safe for concurrent use.
type File struct {
	Path string
	Key  *seal.Key
	// Purpose is authenticated with the file, so that no other sealed file can take
	// its place.
	Purpose string

	mu sync.Mutex // held by who writes
}

// Read returns what was written last. The error is one of the file system, such as
// fs.ErrNotExist, or says that the file cannot be opened.
func (f *File) Read() ([]byte, error) {
	text, err := f.read()
	if err != nil {
		return nil, err
	}
	return f.Key.Open(text, []byte(f.Purpose))
}

func (f *File) read() ([]byte, error) {
	info, err := os.Stat(f.Path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxSize {
		return nil, errors.New("not a sealed file")
	}
	return os.ReadFile(f.Path)
}

// Reseal seals the file with the first key, if it is not, and reports whether it was
// not. A file that does not exist stays away.
func (f *File) Reseal() (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, err := f.read()
	if errors.Is(err, fs.ErrNotExist) || err == nil && !f.Key.Stale(text) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	plain, err := f.Key.Open(text, []byte(f.Purpose))
	if err != nil {
		return false, fmt.Errorf("open %s: %w", f.Path, err)
	}
	return true, f.write(plain)
}

// Write replaces the file atomically.
func (f *File) Write(plain []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.write(plain)
}

func (f *File) write(plain []byte) error {
	dir := filepath.Dir(f.Path)
	temporary, err := os.CreateTemp(dir, filepath.Base(f.Path)+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	_, err = temporary.Write(f.Key.Seal(plain, []byte(f.Purpose)))
	if err == nil {
		err = temporary.Sync()
	}
	if err = errors.Join(err, temporary.Close()); err == nil {
		err = os.Rename(temporary.Name(), f.Path)
	}
	if err != nil {
		os.Remove(temporary.Name())
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename within the folder durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
