package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// untracked returns the files below a folder that git would show as new, if the folder
// were a checkout with this tree's .gitignore.
func untracked(t *testing.T, dir string) []string {
	t.Helper()
	need(t, "git")
	ignore, err := os.ReadFile(filepath.Join(root, ".gitignore"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), ignore, 0o600); err != nil {
		t.Fatal(err)
	}
	repository := t.TempDir()
	git := func(args ...string) string {
		// What this machine ignores everywhere counts for nothing.
		cmd := exec.Command("git", append([]string{"-c", "core.excludesFile=/dev/null"}, args...)...)
		cmd.Env = environ("GIT_DIR="+repository, "GIT_WORK_TREE="+dir, "GIT_CONFIG_NOSYSTEM=1")
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
		return string(out)
	}
	git("init", "--quiet", "--template=")
	return strings.Fields(git("ls-files", "--others", "--exclude-standard"))
}

// leavesNothingNew checks that what the commands of a document wrote, secrets among it,
// is not what git would show next, and be told to add: before are the files that were
// there already.
func (p *place) leavesNothingNew(t *testing.T, before []string) {
	t.Helper()
	for _, file := range untracked(t, p.dir) {
		if !slices.Contains(before, file) {
			t.Errorf("after the commands git shows the new file %s; it belongs into .gitignore", file)
		}
	}
}

// TestSecretsOfOtherCommandsAreIgnored is for the files of commands that TestDocuments
// does not run. It also shows that what is not ignored is found.
func TestSecretsOfOtherCommandsAreIgnored(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"ca.pem", "admin-password", "new-password", "subscription-db-url", "a-new-secret"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte("secret"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := untracked(t, dir), []string{".gitignore", "a-new-secret"}; !slices.Equal(got, want) {
		t.Errorf("git shows %q as new, want %q", got, want)
	}
}
