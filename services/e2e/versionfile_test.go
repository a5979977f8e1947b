package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// versionFiles gives a version back as it was printed, as YAML and as JSON, with secrets that
// it does not have the values of: nothing changes. Its file is good for another version, too.
func versionFiles(t *testing.T, sh *shell, api, settings string) {
	t.Helper()
	of := api + "/2.0.0"
	sh.run(t, append([]string{"api", "version", "create", api, "2.0.0", "--from", "1.0.0"}, strings.Fields(settings)...)...)
	sh.run(t, "api", "version", "update", of, "--backend-identity", "headers", "--health-check", "/healthz", "--suspend-after", "2", "--backend-dial", "2s")
	file := filepath.Join(t.TempDir(), "version")
	changing := regexp.MustCompile(`(?m)^ *"?(etag|updateTime|createTime|name|version|/?[a-z]*ws[^,]*)"?:.*$|^.*"?wss?://[^ ]*:[0-9]+/spoken/.*$`)
	shown := func(version, format string) string { return sh.run(t, "api", "version", "get", version, "-o", format) }
	alike := func(what, was, is string) {
		t.Helper()
		if diff := cmp.Diff(strings.Split(changing.ReplaceAllString(was, ""), "\n"), strings.Split(changing.ReplaceAllString(is, ""), "\n")); diff != "" {
			t.Errorf("%s (-was +is):\n%s", what, diff)
		}
	}
	for _, format := range []string{"yaml", "json"} {
		was := shown(of, format)
		if err := os.WriteFile(file, []byte(was), 0o600); err != nil {
			t.Fatal(err)
		}
		sh.run(t, "api", "version", "update", of, "-f", file)
		alike("given back as "+format, was, shown(of, format))
		_, stderr, code := sh.try(t, "", "api", "version", "update", of, "-f", file)
		if want := "somebody else changed it first"; code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("a file of before = %d %s, want %q", code, stderr, want)
		}
	}
	was := shown(of, "json")
	_, stderr, code := sh.try(t, was, "api", "version", "create", api, "3.0.0", "--file", "-")
	if want := "--file: -: backend_options.headers[0].secret.value: is required: none is stored"; code != 1 || !strings.Contains(stderr, want) {
		t.Errorf("a new version of a file without secrets = %d %s, want %q", code, stderr, want)
	}
	if _, stderr, code := sh.try(t, was, "api", "version", "create", api, "3.0.0", "--from", "2.0.0", "--file", "-"); code != 0 {
		t.Fatalf("a new version of a file = %d %s", code, stderr)
	}
	alike("a version that is made of the file", was, shown(api+"/3.0.0", "json"))
	_, stderr, code = sh.try(t, "tags: [rough]\nplans: [Gold]\nidle_timeout: 7s\n", "api", "version", "update", of, "-f", "-")
	if now := shown(of, "yaml"); code != 0 || !strings.Contains(now, "- rough") || !strings.Contains(now, "idleTimeout: \"7s\"") || !strings.Contains(now, "maxSessionAge: \"3600s\"") {
		t.Errorf("a part of a version = %d %s, and the version is\n%s", code, stderr, now)
	}
	_, stderr, code = sh.try(t, "max_session_age: 0.5s\n", "api", "version", "update", of, "-f", "-")
	if want := "api version update: --file: -: max_session_age: must be greater than or equal to 1s"; code != 1 || !strings.Contains(stderr, want) {
		t.Errorf("a bad value = %d %s, want %q", code, stderr, want)
	}
	sh.run(t, "api", "version", "delete", of, "--yes")
	sh.run(t, "api", "version", "delete", api+"/3.0.0", "--yes")
}
