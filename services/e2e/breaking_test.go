package e2e

import (
	"os"
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
		t.Skip("buf is not in .bin: make lint builds it")
	}
	c := newCheckout(t, "proto", "buf.yaml", ".ci")
	c.env = append(c.env, "PATH="+bin+":"+os.Getenv("PATH"))

	if out := c.must(".ci/breaking"); !strings.Contains(out, "no gen/v* tag yet") {
		t.Errorf(".ci/breaking without a tag said %q, want that there is none", out)
	}
	c.must("git", "tag", "gen/v0.1.0")
	c.must(".ci/breaking")

	proto := filepath.Join(c.dir, "proto/tidegate/backplane/v1/watch.proto")
	text, err := os.ReadFile(proto)
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(string(text), "string instance = 1", "bytes instance = 1", 1)
	if err := os.WriteFile(proto, []byte(broken), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := c.run(".ci/breaking"); err == nil || !strings.Contains(out, "instance") {
		t.Errorf(".ci/breaking on a changed type said %q with error %v, want a refusal that names the field", out, err)
	}
}
