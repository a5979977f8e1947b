package seal_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/seal"
)

func TestSealAndOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	made, err := seal.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode = %v, %v, want 0600", info.Mode(), err)
	}
	loaded, err := seal.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, plain := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("long "), 1000)} {
		sealed := made.Seal(plain, []byte("signing-key/1"))
		got, err := loaded.Open(sealed, []byte("signing-key/1"))
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("Open(Seal(%d bytes)) = %d bytes, %v", len(plain), len(got), err)
		}
		if bytes.Equal(sealed, made.Seal(plain, []byte("signing-key/1"))) {
			t.Error("the same is sealed twice to the same bytes")
		}
		if made.Stale(sealed) {
			t.Error("Stale of what was just sealed = true")
		}
		if _, err := loaded.Open(sealed, []byte("signing-key/2")); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("Open under another context = %v, want %v", err, seal.ErrOpen)
		}
		if _, err := seal.New().Open(sealed, []byte("signing-key/1")); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("Open with another key = %v, want %v", err, seal.ErrOpen)
		}
	}
	sealed := made.Seal([]byte("secret"), nil)
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := made.Open(changed, nil); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("Open with byte %d changed = %v, want %v", i, err, seal.ErrOpen)
		}
		if _, err := made.Open(sealed[:i], nil); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("Open of the first %d bytes = %v, want %v", i, err, seal.ErrOpen)
		}
	}
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	read := func(name string) string {
		path := filepath.Join(dir, name)
		if _, err := seal.Create(path); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	older, newer := read("old"), read("new")
	old, err := seal.Load(filepath.Join(dir, "old"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "both")
	if err := os.WriteFile(path, []byte("\n"+newer+"\r\n"+older+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	both, err := seal.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	sealed := old.Seal([]byte("x"), nil)
	if got, err := both.Open(sealed, nil); err != nil || string(got) != "x" || !both.Stale(sealed) {
		t.Errorf("Open of an old seal = %q, %v, stale %v, want x, stale", got, err, both.Stale(sealed))
	}
	if fresh := both.Seal([]byte("y"), nil); both.Stale(fresh) {
		t.Error("the second key seals")
	} else if _, err := old.Open(fresh, nil); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("the old key opens a new seal: %v", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	good := "tidegate-master-key-v1:" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	for name, tt := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"others read":  {good, 0o644, "others can read it: chmod 600 it"},
		"group writes": {good, 0o660, "its group can do more than read it: chmod 640 it"},
		"empty":        {"\n\n", 0o600, "is empty"},
		"no prefix":    {"hunter2", 0o600, "line 1: it must begin with tidegate-master-key-v1:"},
		"short":        {"tidegate-master-key-v1:aHVudGVyMg==", 0o600, "line 1: it must be 32 bytes in base64"},
		"second wrong": {good + "\ntidegate-master-key-v1:hunter2", 0o600, "line 2: it must be 32 bytes in base64"},
	} {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tt.mode); err != nil {
			t.Fatal(err)
		}
		_, err := seal.Load(path)
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: Load = %v, want %q and nothing of the key", name, err, tt.want)
		}
	}
	if _, err := seal.Load(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of no file = %v, want %v", err, fs.ErrNotExist)
	}
	if _, err := seal.Load(t.TempDir()); err == nil {
		t.Error("Load of a folder = nil, want an error")
	}
}

func TestCreateKeepsWhatThereIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	first, err := seal.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Create(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a file = %v, want %v", err, fs.ErrExist)
	}
	second, err := seal.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := second.Open(first.Seal([]byte("x"), nil), nil); err != nil {
		t.Errorf("Open with the key that is in the file = %v, want that it is the first", err)
	}
}
