package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	// hardened is a row of docs/hardening.md: what holds, and its tests.
	hardened = regexp.MustCompile(`(?m)^\| (?:(\d+) \| )?(.+?) \|(.*)\|$`)
	// inFolder is one folder's tests in such a row.
	inFolder = regexp.MustCompile("^`([a-z0-9/-]+)`: ((?:(?:Test|Fuzz)[A-Za-z0-9]+(?:, )?)+)$")
)

// TestHardening looks for the tests that docs/hardening.md names, which are there
// as long as what they show holds: every kind of fault has one.
func TestHardening(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "hardening.md"))
	if err != nil {
		t.Fatal(err)
	}
	numbered := 0
	for _, row := range hardened.FindAllStringSubmatch(string(text), -1) {
		number, what, tests := row[1], row[2], strings.TrimSpace(row[3])
		if strings.HasPrefix(what, "---") || tests == "tests" {
			continue
		}
		if number != "" {
			numbered++
			if number != fmt.Sprint(numbered) {
				t.Errorf("row %s stands where %d should", number, numbered)
			}
		}
		for folder := range strings.SplitSeq(tests, "; ") {
			m := inFolder.FindStringSubmatch(folder)
			if m == nil {
				t.Errorf("%s %s: %q is not a folder of services with its tests, such as `kit/certs`: TestA, TestB", number, what, folder)
				continue
			}
			for name := range strings.SplitSeq(m[2], ", ") {
				if !defined(t, m[1], name) {
					t.Errorf("%s %s: there is no %s in services/%s", number, what, name, m[1])
				}
			}
		}
	}
	if numbered < 29 {
		t.Errorf("there are %d numbered rows, want 29 or more", numbered)
	}
}

// defined reports whether a folder of services has a test.
func defined(t *testing.T, folder, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "services", folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+name+"(") {
			return true
		}
	}
	return false
}
