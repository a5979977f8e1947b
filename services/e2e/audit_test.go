package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestAudit runs the audit with a govulncheck that answers as the real one does.
func TestAudit(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		says string
		code string
		want string
		fail bool
	}{
		"nothing known":   {"No vulnerabilities found.", "0", "audit: gen: nothing known\naudit: services: nothing known\n", false},
		"vulnerable":      {"Vulnerability #1: GO-2026-0001", "3", "Vulnerability #1: GO-2026-0001\nVulnerability #1: GO-2026-0001\naudit: vulnerable: gen services\n", true},
		"no database":     {"govulncheck: fetching vulnerabilities: no such host", "1", "audit: nothing was checked: the database https://db.example cannot be reached from here\n", false},
		"another failure": {"govulncheck: no such package", "1", "govulncheck: no such package\n", true},
	} {
		program := filepath.Join(t.TempDir(), "govulncheck")
		script := "#!/bin/sh\necho '" + tt.says + "'\nexit " + tt.code + "\n"
		if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(within(t), "../../.ci/audit", program)
		cmd.Env = append(os.Environ(), "GOVULNDB=https://db.example")
		out, err := cmd.CombinedOutput()
		if string(out) != tt.want || (err != nil) != tt.fail {
			t.Errorf("%s: %v\n%swant a failure %v and\n%s", name, err, out, tt.fail, tt.want)
		}
	}
}

// TestImagesArePinned reads which images ours begins with, and which run beside it.
func TestImagesArePinned(t *testing.T) {
	t.Parallel()
	pinned := regexp.MustCompile(`@sha256:[0-9a-f]{64}( AS \w+)?$`)
	found := 0
	for _, file := range []string{"Dockerfile", "compose.yaml"} {
		text, err := os.ReadFile(filepath.Join("../../deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?m)^(?:FROM| *image:) (.*)$`).FindAllStringSubmatch(string(text), -1) {
			if m[1] == "scratch" || strings.HasPrefix(m[1], "${IMAGE:-tidegate:") {
				continue
			}
			if found++; !pinned.MatchString(m[1]) {
				t.Errorf("deploy/%s uses the image %q, want a digest: deploy/pin writes it", file, m[1])
			}
		}
	}
	if found != 2 {
		t.Errorf("deploy has %d images of others, want that of Go and that of Postgres", found)
	}
}
