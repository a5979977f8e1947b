package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDatabasesApart starts with an empty database beside one that is used, as after a
// wrong -db or a loss: the log says so, for either of the two. A first start, and one with
// both, say nothing.
func TestDatabasesApart(t *testing.T) {
	const apart = "do not belong together"
	data, away := newData(t), t.TempDir()
	for _, step := range []struct{ lost, says string }{
		{"", ""}, // the first start
		{"catalog", "the catalog's database is new or an older one"},
		{"subscription", "this database is new, or another one"},
		{"", ""}, // both are there again
	} {
		if step.lost != "" {
			move(t, data, away, step.lost)
		}
		s := start(t, data, quick()...)
		eventually(t, func() error {
			_, log := s.output()
			if step.says != "" && (!strings.Contains(log, apart) || !strings.Contains(log, step.says)) {
				return fmt.Errorf("without the database of %q the log does not say %q:\n%s", step.lost, step.says, log)
			}
			return nil
		})
		s.stop()
		s.wait(t)
		if _, log := s.output(); step.says == "" && strings.Contains(log, apart) {
			t.Errorf("with both databases the log says that they %s:\n%s", apart, log)
		}
		if step.lost != "" {
			move(t, data, t.TempDir(), step.lost) // the new one
			move(t, away, data, step.lost)
		}
	}
}

// move moves the database of a service to another folder.
func move(t *testing.T, from, to, service string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(from, service+".db*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("the database of %s is not in %s (%v)", service, from, err)
	}
	for _, file := range files {
		if err := os.Rename(file, filepath.Join(to, filepath.Base(file))); err != nil {
			t.Fatal(err)
		}
	}
}
