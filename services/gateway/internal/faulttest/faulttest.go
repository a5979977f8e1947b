// Package faulttest shows that tests find faults: it plants one after the other into the
// package that is tested, and runs the tests that have to fail of each.
package faulttest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Fault is a fault of a kind that such code has had. It replaces a text of a file, which
// must be there once.
type Fault struct{ Name, File, Text, Fault string }

// Find plants each of faults into the package whose test calls it, by an overlay, and runs
// tests, the names of some tests of that package. Of each fault one of them must fail; that
// the package does not compile, or that something else goes wrong, does not count.
func Find(t *testing.T, faults []Fault, tests ...string) {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	names := "(" + strings.Join(tests, "|") + ")"
	found := regexp.MustCompile(`(?m)^\s*--- FAIL: ` + names + `\b`)
	for _, f := range faults {
		source, err := os.ReadFile(f.File)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), f.Text); n != 1 {
			t.Errorf("%s: the text is in %s %d times, want once", f.Name, f.File, n)
			continue
		}
		with := filepath.Join(t.TempDir(), f.File)
		write(t, with, []byte(strings.Replace(string(source), f.Text, f.Fault, 1)))
		overlay, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(folder, f.File): with}})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "overlay.json")
		write(t, file, overlay)
		run := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-vet=off", "-timeout=2m", "-overlay", file, "-run", "^"+names+"$", ".")
		out, err := run.CombinedOutput()
		if err == nil || !found.Match(out) {
			t.Errorf("%s was not found: %v\n%s", f.Name, err, out)
		}
	}
}

func write(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
