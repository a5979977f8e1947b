package standalone_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBreakingCheck feeds the check of the protos a released copy and a broken
// one: it must pass the first and refuse the second.
func TestBreakingCheck(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(root, ".bin")
	if _, err := os.Stat(filepath.Join(bin, "buf")); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("buf is not in .bin: make lint builds it")
		}
		t.Skip("buf is not in .bin: make lint builds it")
	}
	repo := t.TempDir()
	run := func(name string, args ...string) (string, error) {
		cmd := exec.Command(name, args...)
		cmd.Dir = repo
		cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"),
			"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	must := func(name string, args ...string) string {
		t.Helper()
		out, err := run(name, args...)
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return out
	}
	must("cp", "-r", filepath.Join(root, "proto"), filepath.Join(root, "buf.yaml"), filepath.Join(root, ".ci"), repo)
	must("git", "init", "-q")
	must("git", "add", ".")
	must("git", "-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "-qm", "protos")

	if out := must(".ci/breaking"); !strings.Contains(out, "no gen/v* tag yet") {
		t.Errorf(".ci/breaking without a tag said %q, want that there is none", out)
	}
	must("git", "tag", "gen/v0.1.0")
	must(".ci/breaking")

	proto := filepath.Join(repo, "proto/tidegate/watch/v1/watch.proto")
	text, err := os.ReadFile(proto)
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(string(text), "string instance = 1", "bytes instance = 1", 1)
	if err := os.WriteFile(proto, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := run(".ci/breaking"); err == nil || !strings.Contains(out, "instance") {
		t.Errorf(".ci/breaking on a changed type said %q with error %v, want a refusal that names the field", out, err)
	}
}
