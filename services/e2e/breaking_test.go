package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBreakingCheck feeds the check of the protos a released copy and changed
// ones: the public keeps its names, the backplane its wire format.
func TestBreakingCheck(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(root, ".bin")
	if _, err := os.Stat(filepath.Join(bin, "buf")); err != nil {
		t.Skip("buf is not in .bin: make lint puts it there")
	}
	c := newCheckout(t, "proto", "buf.yaml", ".ci")
	c.env = append(c.env, "PATH="+bin+":"+os.Getenv("PATH"))

	if out := c.must(".ci/breaking"); !strings.Contains(out, "no gen/v* tag yet") {
		t.Errorf(".ci/breaking without a tag said %q, want that there is none", out)
	}
	c.must("git", "tag", "gen/v0.1.0")
	c.must(".ci/breaking")

	for _, tt := range []struct{ name, file, old, new, refusal string }{
		{"a type on the backplane", "backplane/v1/watch.proto", "string instance = 1", "bytes instance = 1", ""},
		{"a number on the backplane", "backplane/v1/watch.proto", "string instance = 1", "fixed64 instance = 1", "instance"},
		{"a name on the backplane", "backplane/v1/watch.proto", "string instance = 1", "string instance_name = 1", ""},
		{"a public type", "catalog/v1/api.proto", "string context = 3", "bytes context = 3", "context"},
		{"a public name", "catalog/v1/api.proto", "string context = 3", "string base_path = 3", "context"},
	} {
		path := filepath.Join(c.dir, "proto/tidegate", tt.file)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(string(text), tt.old, tt.new, 1)
		if changed == string(text) {
			t.Fatalf("%s has no %q", tt.file, tt.old)
		}
		if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := c.run(".ci/breaking")
		if (err != nil) != (tt.refusal != "") || !strings.Contains(out, tt.refusal) {
			t.Errorf(".ci/breaking on %s changed from %q to %q said %q with error %v, want a refusal: %t, that names %q",
				tt.name, tt.old, tt.new, out, err, tt.refusal != "", tt.refusal)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
