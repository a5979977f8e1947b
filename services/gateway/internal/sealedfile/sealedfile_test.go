package sealedfile

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/tidegatehq/tidegate/services/kit/seal"
)

// TestReseal replaces the master key: the file is opened with the new one alone.
func TestReseal(t *testing.T) {
	dir := t.TempDir()
	create := func(name string) []byte {
		path := filepath.Join(dir, name)
		if _, err := seal.Create(path); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	old, fresh := create("key"), create("new")
	key, err := seal.Load(filepath.Join(dir, "key"))
	if err != nil {
		t.Fatal(err)
	}
	f := &File{Path: filepath.Join(dir, "file"), Key: key, Purpose: "test"}
	if again, err := f.Reseal(); err != nil || again {
		t.Errorf("Reseal without a file = %v, %v, want nothing", again, err)
	}
	if err := f.Write([]byte("routes")); err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{append(fresh, old...), fresh} {
		if err := os.WriteFile(filepath.Join(dir, "key"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		stored := seal.Stored{Service: "test", Reseal: func(context.Context) (int, error) {
			_, err := f.Reseal()
			return 0, err
		}}
		if err := seal.NewKeeper(key, stored, slog.New(slog.DiscardHandler)).Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Read(); err != nil || string(got) != "routes" {
			t.Errorf("Read = %q, %v, want routes", got, err)
		}
	}
}
