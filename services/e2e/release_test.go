package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// checkout is a repository of its own that scripts are tried in.
type checkout struct {
	t   *testing.T
	dir string
	env []string
}

func newCheckout(t *testing.T, files ...string) *checkout {
	t.Helper()
	c := &checkout{t: t, dir: t.TempDir(), env: append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=test", "GIT_AUTHOR_EMAIL=test@example.com", "GIT_COMMITTER_NAME=test", "GIT_COMMITTER_EMAIL=test@example.com")}
	for _, file := range files {
		to := filepath.Join(c.dir, filepath.Dir(file))
		if err := os.MkdirAll(to, 0o700); err != nil {
			t.Fatal(err)
		}
		c.must("cp", "-r", filepath.Join(c.root(), file), to)
	}
	c.must("git", "init", "-q")
	c.commit()
	return c
}

func (c *checkout) root() string {
	c.t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		c.t.Fatal(err)
	}
	return root
}

func (c *checkout) run(name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (c *checkout) must(name string, args ...string) string {
	c.t.Helper()
	out, err := c.run(name, args...)
	if err != nil {
		c.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return out
}

func (c *checkout) commit() {
	c.t.Helper()
	c.must("git", "add", ".")
	c.must("git", "commit", "-qm", "files")
}

// refuse runs the release of a version that must fail, and leave no tag.
func (c *checkout) refuse(version, text string) {
	c.t.Helper()
	before := c.must("git", "tag")
	if out, err := c.run(".ci/release", version); err == nil || !strings.Contains(out, text) {
		c.t.Errorf(".ci/release %q said %q with error %v, want a refusal with %q", version, out, err, text)
	}
	if after := c.must("git", "tag"); after != before {
		c.t.Errorf(".ci/release %q left the tags %q, there were %q", version, after, before)
	}
}

// TestRelease makes a release in a repository of its own, and builds what it
// requires from the tags alone.
func TestRelease(t *testing.T) {
	c := newCheckout(t, ".ci", "LICENSE", "gen", "services/go.mod", "services/go.sum")
	for _, version := range []string{"", "0.1.0", "v1.0", "v01.0.0", "v1.0.0-01", "v1.0.0+build", "v2.0.0", "v1.0.0 "} {
		c.refuse(version, "the version must be as v0.1.0")
	}
	notes := filepath.Join(c.dir, "notes")
	if err := os.WriteFile(notes, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.refuse("v0.1.0", "the tree has changes")
	c.must("rm", notes)

	head := c.must("git", "rev-parse", "HEAD")
	if out := c.must(".ci/release", "v0.1.0"); !strings.Contains(out, "\n    git push origin gen/v0.1.0 services/v0.1.0 v0.1.0\n") {
		t.Errorf(".ci/release said %q, want what to push", out)
	}
	if now, state := c.must("git", "rev-parse", "HEAD"), c.must("git", "status", "--porcelain"); now != head || state != "" {
		t.Errorf("the checkout is at %s with %q, want %s and no changes", now, state, head)
	}
	for tag, want := range map[string]string{"gen/v0.1.0^{}": head, "v0.1.0^{}^": head, "services/v0.1.0^{}": c.must("git", "rev-parse", "v0.1.0^{}")} {
		if got := c.must("git", "rev-parse", tag); got != want {
			t.Errorf("%s = %s, want %s", tag, got, want)
		}
	}
	if sdk := c.must("git", "show", "v0.1.0:gen/ts/package.json"); !strings.Contains(sdk, `"version": "0.1.0"`) {
		t.Errorf("the SDK for TypeScript is released as\n%s\nwant the version 0.1.0", sdk)
	}
	c.buildsReleased("v0.1.0")
	c.refuse("v0.1.0", "the tag gen/v0.1.0 exists")

	c.must("rm", "gen/go.mod")
	c.commit()
	c.refuse("v0.2.0-rc.1", "gen/v0.2.0-rc.1 is no module")
}

// buildsReleased builds the SDK that the services of a release require, from its
// tag and against its sums.
func (c *checkout) buildsReleased(version string) {
	c.t.Helper()
	const module = "github.com/tidegatehq/tidegate"
	released := &checkout{t: c.t, dir: c.t.TempDir(), env: append(c.env, "GOWORK=off", "GOFLAGS=-mod=readonly -modcacherw", "GOPROXY=off",
		"GOPRIVATE="+module, "GOMODCACHE="+c.t.TempDir(),
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.file://"+c.dir+".insteadOf", "GIT_CONFIG_VALUE_0=https://"+module)}
	released.must("git", "clone", "-q", "--branch", version, c.dir, "tree")
	released.dir = filepath.Join(released.dir, "tree/services")
	released.must("go", "build", module+"/gen")
	if got, want := released.must("go", "list", "-m", "-f", "{{.Version}} {{.Replace}}", module+"/gen"), version+" <nil>"; got != want {
		c.t.Errorf("the services of %s require %s, want %s", version, got, want)
	}
}
