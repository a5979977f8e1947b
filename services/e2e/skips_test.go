package e2e

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSkips gives the check for skipped tests what go test says of a module with
// one that is skipped, and of one without.
func TestSkips(t *testing.T) {
	const passes = "func TestPasses(t *testing.T) { t.Log(`\"Action\":\"skip\",\"Package\":\"p\",\"Test\":\"T\"`) }\n"
	const skips = "func TestOuter(t *testing.T) { t.Run(`inner`, func(t *testing.T) { t.Skip(`why`) }) }\n"
	for tests, want := range map[string]string{
		passes:         "",
		passes + skips: "skipped, where every test must run:\n    example.com/module/tested TestOuter/inner",
	} {
		c := &checkout{t: t, dir: t.TempDir(), env: append(os.Environ(), "GOWORK=off")}
		script := filepath.Join(c.root(), ".ci/skips")
		for name, text := range map[string]string{
			"go.mod": "module example.com/module\n", "code.go": "package module\n",
			"tested/tested_test.go": "package tested\n\nimport \"testing\"\n\n" + tests,
		} {
			path := filepath.Join(c.dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		events := c.must("go", "test", "-json", "./...")
		if err := os.WriteFile(filepath.Join(c.dir, "events"), []byte(events), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := c.run(script, "events"); out != want || (err != nil) != (want != "") {
			t.Errorf(".ci/skips said %q with error %v, want %q of\n%s", out, err, want, events)
		}
	}
}
