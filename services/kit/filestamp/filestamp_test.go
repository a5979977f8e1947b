package filestamp_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tidegatehq/tidegate/services/kit/filestamp"
)

// TestSame changes a file in each way in which files are replaced.
func TestSame(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	of := func() filestamp.Stamp {
		t.Helper()
		s, err := filestamp.Of(path)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	then := time.Now().Add(-time.Hour)
	write := func(path, text string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600), os.Chtimes(path, then, then)); err != nil {
			t.Fatal(err)
		}
	}
	link := func(target, path string) {
		t.Helper()
		if err := errors.Join(os.Symlink(target, path+".new"), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "1/key"), "one")
	link("1", filepath.Join(dir, "data"))
	link("data/key", path)
	last := of()
	if !last.Same(of()) {
		t.Error("a file that nobody touched has changed")
	}
	for _, step := range []struct {
		what   string
		change func()
	}{
		{"a link to another folder, as Kubernetes replaces secrets", func() {
			write(filepath.Join(dir, "2/key"), "two")
			link("2", filepath.Join(dir, "data"))
		}},
		{"another size", func() { write(filepath.Join(dir, "2/key"), "three") }},
		{"another time", func() {
			then = then.Add(time.Second)
			write(filepath.Join(dir, "2/key"), "seven")
		}},
		{"a rename", func() {
			write(path+".new", "eight")
			if err := os.Rename(path+".new", path); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		step.change()
		now := of()
		if last.Same(now) {
			t.Errorf("after %s the file has not changed", step.what)
		}
		last = now
	}
	if last.Same(filestamp.Stamp{}) || !(filestamp.Stamp{}).Same(filestamp.Stamp{}) {
		t.Error("no file is the same as a file, or not as no file")
	}
	if _, err := filestamp.Of(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Of(no file) = %v, want %v", err, fs.ErrNotExist)
	}
}
